"""Grade-school word problems with worked solutions (Cobbe et al. 2021, arXiv 2110.14168): 7,473 train, 1,319 test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from whet.errors import DataError
from whet.interfaces import Split, Task, Verifier
from whet.tasks._files import read_rows
from whet.tasks._hub import hub_rows
from whet.tasks._rows import Row
from whet.types import Example
from whet.verifiers.numeric import Numeric

_INSTRUCTIONS = {
    "tags": "Reason between <think> and </think>, then give the final number between <answer> and </answer>.",
    "hash": "Reason step by step, then give the final number on a last line that begins with ####.",
    "boxed": "Reason step by step, then give the final number in \\boxed{}.",
}
_DEMONSTRATIONS = {
    "tags": " <think>{reasoning}</think>\n<answer>{answer}</answer>",
    "hash": " {reasoning}\n#### {answer}",
    "boxed": " {reasoning}\nThe answer is \\boxed{{{answer}}}.",
}


class Gsm8k(Task):
    """Questions with a whole number as the answer. Tag: `steps`, the lines of the worked solution (8+ from 8 on)."""

    path: Path | None = None
    """A folder with train.jsonl and test.jsonl, or one file that serves whichever split is asked for; its rows have
    `question` and `answer`. Default: the Hub's data set."""
    hub_name: str = "openai/gsm8k"
    hub_config: str = "main"
    format: Literal["tags", "hash", "boxed"] = "hash"
    """How the answer is marked: `<think>...</think><answer>...</answer>`, `#### 18` or `\\boxed{18}`."""
    prompt_format: str = Field(default="{instruction}\nQuestion: {question}\nAnswer:")
    """A model without instruction following needs only `Question: {question}\\nAnswer:`."""
    calculator_marks: bool = False
    """Keep the marks `<<16-3=13>>` in the demonstrations."""

    @field_validator("prompt_format")
    @classmethod
    def _has_the_question(cls, value: str) -> str:
        if "{question}" not in value:
            raise ValueError("expected a text with {question}, such as 'Question: {question}\\nAnswer:'")
        return value

    def load(self, split: Split) -> Sequence[Example]:
        """The split in the order of the file."""
        name = f"{self.hub_name}:{self.hub_config}"
        rows = hub_rows(name, split) if self.path is None else self._file_rows(split)
        return [self._example(row, f"gsm8k/{split}/{n}") for n, row in enumerate(rows)]

    def default_verifier(self) -> Verifier:
        """`numeric`: the marked or last number."""
        return _VERIFIER

    def _file_rows(self, split: Split) -> Sequence[Row]:
        assert self.path is not None
        return read_rows(self.path / f"{split}.jsonl" if self.path.is_dir() else self.path)

    def _example(self, row: Row, example_id: str) -> Example:
        question, solution = row.text("question"), row.text("answer")
        reasoning, marker, answer = solution.rpartition("####")
        if not marker:
            raise DataError(
                f"{row.where}: expected a solution that ends in '#### answer', found {solution[-80:]!r}"
            )
        reasoning, answer = reasoning.strip(), answer.strip()
        shown = reasoning if self.calculator_marks else re.sub(r"<<[^<>]*>>", "", reasoning)
        steps = len(reasoning.splitlines())
        return Example(
            id=example_id,
            prompt=self._prompt(question),
            answer=answer.replace(",", ""),
            demonstration=_DEMONSTRATIONS[self.format].format(reasoning=shown, answer=answer),
            tags={"steps": str(steps) if steps < 8 else "8+"},
            columns=dict(row.fields),
        )

    def _prompt(self, question: str) -> str:
        text = self.prompt_format.replace("{instruction}", _INSTRUCTIONS[self.format])
        return text.replace("{question}", question)


_VERIFIER = Numeric(name="numeric")
