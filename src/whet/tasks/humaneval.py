"""HumanEval (Chen et al. 2021, arXiv 2107.03374): 164 functions to complete, each with tests."""

from __future__ import annotations

from typing import ClassVar

from whet.tasks._code import INSTRUCTION, CodeTask, fenced
from whet.tasks._rows import Row
from whet.types import Example


class Humaneval(CodeTask):
    """The signature and docstring of a function; the answer is the whole program, helpers of the prompt included.

    A file has `task_id`, `prompt`, `entry_point`, `canonical_solution` and `test`, as the published one.
    """

    hub_name: ClassVar[str] = "openai/openai_humaneval"

    prompt_format: str = f"{INSTRUCTION} Complete this one:\n\n```python\n{{prompt}}```\n"

    def example(self, row: Row) -> Example:
        """The program's own tests, called with the function that the completion defines."""
        prompt, name = row.text("prompt"), row.text("entry_point")
        program = prompt + row.text("canonical_solution")
        return Example(
            id=row.text("task_id"),
            prompt=self.prompt_format.replace("{prompt}", prompt),
            answer=program,
            demonstration=fenced(program),
            columns={
                **row.fields,
                "tests": f"{row.text('test')}\ncheck({name})",
                "setup": prompt,  # a docstring is a body, so that helpers of the prompt are there for the tests
                "names": [name],
            },
        )
