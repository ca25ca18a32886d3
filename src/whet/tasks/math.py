"""Competition mathematics with worked solutions (Hendrycks et al. 2021, arXiv 2103.03874), from files of its form."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from whet.errors import DataError
from whet.interfaces import Split, Task, Verifier
from whet.tasks._files import read_rows, stem_of
from whet.tasks._rows import Row
from whet.tasks._split import split_by_question
from whet.text.tags import boxed
from whet.types import Example
from whet.verifiers.math_expression import MathExpression

_log = logging.getLogger(__name__)
_INSTRUCTIONS = {
    "tags": "Reason between <think> and </think>, then give the final answer between <answer> and </answer>.",
    "hash": "Reason step by step, then give the final answer on a last line that begins with ####.",
    "boxed": "Reason step by step, then give the final answer in \\boxed{}.",
}
_ENDINGS = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")


class Math(Task):
    """Problems whose answer is a formula, a number or a word. Tags: `level` (1 to 5) and `type`, the subject."""

    path: Path
    """A folder with a file of each split (`train.jsonl`, `test.json`, ...), or one file, of which a hash of each
    problem keeps `test_frac` for testing. Rows have `problem`, and `answer` or a `solution` that boxes it."""
    test_frac: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Share of the problems of a single file that is kept for testing."""
    skip_unanswered: bool = False
    """Leave out rows without an answer, and say how many; otherwise they are an error that names them."""
    format: Literal["tags", "hash", "boxed"] = "boxed"
    """How the answer is marked: `<think>...</think><answer>...</answer>`, `#### 18` or `\\boxed{18}`."""
    prompt_format: str = Field(default="{instruction}\nProblem: {problem}\nSolution:")
    """A model without instruction following needs only `Problem: {problem}\\nSolution:`."""

    @field_validator("prompt_format")
    @classmethod
    def _has_the_problem(cls, value: str) -> str:
        if "{problem}" not in value:
            raise ValueError("expected a text with {problem}, such as 'Problem: {problem}\\nSolution:'")
        return value

    def load(self, split: Split) -> Sequence[Example]:
        """The split in the order of the file. Raises `DataError` for rows without an answer and an empty side."""
        if self.path.is_dir():
            return self._examples(self._file_of(split), f"math/{split}")
        if not self._parts[split]:
            raise DataError(
                f"no row of {self.path} is on the {split} side of the split by test_frac {self.test_frac}: change it, "
                "or give a folder with a file of each split"
            )
        return self._parts[split]

    def default_verifier(self) -> Verifier:
        """`math_expression`: the value of the marked answer."""
        return _VERIFIER

    @cached_property
    def _parts(self) -> dict[Split, tuple[Example, ...]]:
        return split_by_question(self._examples(self.path, stem_of(self.path)), self.test_frac)

    def _file_of(self, split: Split) -> Path:
        files = [self.path / f"{split}{ending}" for ending in _ENDINGS]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise DataError(
                f"{self.path} has no file of the split {split}; expected {', '.join(f.name for f in files)}. A path "
                "that is one file is divided by test_frac"
            )
        return found

    def _examples(self, file: Path, stem: str) -> tuple[Example, ...]:
        """The answered rows, each with an id by its place among all."""
        rows = [(row, _answer_of(row)) for row in read_rows(file)]
        unanswered = [row for row, answer in rows if not answer]
        if unanswered:
            self._without_answer(unanswered, len(rows))
        return tuple(self._example(row, a, f"{stem}/{n}") for n, (row, a) in enumerate(rows) if a)

    def _without_answer(self, rows: Sequence[Row], total: int) -> None:
        places = ", ".join(row.where.rpartition(" ")[2] for row in rows[:8]) + (
            ", ..." if len(rows) > 8 else ""
        )
        if not self.skip_unanswered:
            raise DataError(
                f"{rows[0].where}: expected an answer, in 'answer' or boxed in 'solution', found none, "
                f"as in {len(rows)} of {total} rows ({places}). task.skip_unanswered=true leaves them out"
            )
        _log.warning("left out %d of %d rows without an answer: %s", len(rows), total, places)

    def _example(self, row: Row, answer: str, example_id: str) -> Example:
        problem = row.text("problem")
        prompt = self.prompt_format.replace("{instruction}", _INSTRUCTIONS[self.format])
        solution = _text(row, "solution")
        return Example(
            id=example_id,
            prompt=prompt.replace("{problem}", problem),
            answer=answer,
            demonstration=self._demonstration(solution, answer),
            tags=_tags(row),
            columns={"question": problem, **row.fields},
        )

    def _demonstration(self, solution: str, answer: str) -> str:
        if self.format == "tags":
            return f" <think>{solution}</think>\n<answer>{answer}</answer>"
        if self.format == "hash":
            return f" {solution}\n#### {answer}"
        if boxed(solution) == answer:
            return f" {solution}"
        return f" {solution}\nThe answer is $\\boxed{{{answer}}}$.".replace(" \n", " ")


def _answer_of(row: Row) -> str:
    """The field `answer`, else the last box of the solution; empty where there is neither."""
    return _text(row, "answer") or (boxed(_text(row, "solution")) or "").strip()


def _text(row: Row, field: str) -> str:
    """A field that may be missing or null."""
    return row.text(field).strip() if row.has(field) and row.value(field) is not None else ""


def _tags(row: Row) -> dict[str, str]:
    level = re.search(r"\d+", _text(row, "level") or _text(row, "difficulty"))
    tags = {"level": level.group() if level else "", "type": _text(row, "type") or _text(row, "subject")}
    return {name: value for name, value in tags.items() if value}


_VERIFIER = MathExpression(name="math_expression")
