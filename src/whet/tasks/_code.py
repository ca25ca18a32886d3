"""Data sets of programs with tests: a file is the `test` split, in its order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from whet.interfaces import Split, Task, Verifier
from whet.tasks._files import read_rows
from whet.tasks._hub import hub_rows
from whet.tasks._rows import Row
from whet.types import Example
from whet.verifiers.code_tests import CodeTests

INSTRUCTION = "Write a whole Python program in one fenced block (```python)."


class CodeTask(Task):
    """Rows of a file, .gz too, or of the Hub; the answer is the first fenced Python block, a whole program."""

    hub_name: ClassVar[str]
    hub_splits: ClassVar[tuple[Split, ...]] = ("test",)
    path: Path | None = None
    """The file with the test rows. Default: the Hub's data set."""
    train_path: Path | None = None
    """The file with the rows to train on; without one there is nothing to train on."""

    @abstractmethod
    def example(self, row: Row) -> Example:
        """One row."""

    def load(self, split: Split) -> Sequence[Example]:
        """The split in the order of the file."""
        path = self.path if split == "test" else self.train_path
        if path is None and (split not in self.hub_splits or self.path is not None):
            return ()
        rows = hub_rows(self.hub_name, split) if path is None else read_rows(path)
        return [self.example(row) for row in rows]

    def default_verifier(self) -> Verifier:
        """`code_tests`: the program passes every test, in the sandbox."""
        return _VERIFIER


def fenced(program: str) -> str:
    """A program as a completion writes it."""
    return f"```python\n{program.strip()}\n```"


_VERIFIER = CodeTests(name="code_tests")
