"""MBPP (Austin et al. 2021, arXiv 2108.07732): 974 small functions described in a sentence, three tests each."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from whet.errors import DataError
from whet.interfaces import Split
from whet.sandbox._names import defined_names
from whet.tasks._code import INSTRUCTION, CodeTask, fenced
from whet.tasks._rows import Row
from whet.types import Example


class Mbpp(CodeTask):
    """A sentence and one of the tests, which names the function; all tests decide.

    A file has `task_id`, `text`, `code`, `test_list` and `test_setup_code`, as the published one.
    """

    hub_name: ClassVar[str] = "google-research-datasets/mbpp"
    hub_splits: ClassVar[tuple[Split, ...]] = ("train", "test")

    shown_tests: int = Field(default=1, ge=0)
    """How many tests the prompt shows. A program that only knows the shown ones passes them; the others tell."""
    prompt_format: str = f"{INSTRUCTION} {{text}}\nIt must pass tests such as:\n{{tests}}\n"

    def example(self, row: Row) -> Example:
        """The tests as they are; names that the reference defines are the program's."""
        program = row.text("code").replace("\r\n", "\n")
        tests = row.value("test_list")
        if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
            raise DataError(f"{row.where}: expected a list of tests in 'test_list', found {tests!r:.80}")
        try:
            names = sorted(defined_names(program))
        except SyntaxError as error:
            raise DataError(f"{row.where}: the reference in 'code' is no Python: {error}") from None
        prompt = self.prompt_format.replace("{tests}", "\n".join(tests[: self.shown_tests]))
        return Example(
            id=f"mbpp/{row.text('task_id')}",
            prompt=prompt.replace("{text}", row.text("text")),
            answer=program,
            demonstration=fenced(program),
            columns={**row.fields, "tests": tests, "setup": row.text("test_setup_code"), "names": names},
        )
