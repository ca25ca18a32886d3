"""Examples from any JSONL file: say which fields hold what, and how completions are scored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field

from whet.errors import ConfigError, DataError
from whet.interfaces import Split, Task, Verifier
from whet.tasks._rows import Row, read_rows
from whet.text.questions import normalise_question, split_position
from whet.types import Example


class Jsonl(Task):
    """One JSON object per line. Without a `test_path` a hash of each question decides its side of the split.

    Fields that no setting names are the example's columns, which a verifier function may ask for, beside `question`
    (the prompt without its format).
    """

    path: Path
    test_path: Path | None = None
    test_frac: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Share of the questions kept for testing when there is no `test_path`."""
    prompt: str = "prompt"
    """The field with the prompt."""
    prompt_format: str = "{prompt}"
    """Text around the prompt."""
    answer: str = "answer"
    """The field with what the verifier compares with."""
    demonstration: str | None = None
    """The field with a completion worth imitating, for the warm start."""
    id: str | None = None
    """The field with a unique id; default: file name and line."""
    tags: tuple[str, ...] = ()
    """Fields by which evaluation reports its results."""

    def load(self, split: Split) -> Sequence[Example]:
        """The split in the order of the file; raises `DataError` when it has no row."""
        if not self._splits[split]:
            raise DataError(
                f"no row of {self.path} is on the {split} side of the split by test_frac {self.test_frac}: change it, "
                "or name a test_path"
            )
        return self._splits[split]

    def default_verifier(self) -> Verifier:
        """None: raises `ConfigError`, since a file does not say how its answers are compared."""
        raise ConfigError(
            "a jsonl task needs a verifier, for instance task.verifier=numeric or task.verifier=exact"
        )

    @cached_property
    def _splits(self) -> dict[Split, tuple[Example, ...]]:
        examples = self._examples(self.path)
        if self.test_path is not None:
            return {"train": examples, "test": self._examples(self.test_path)}
        is_test = [split_position(normalise_question(e.prompt)) < self.test_frac for e in examples]
        return {
            "train": tuple(e for e, test in zip(examples, is_test, strict=True) if not test),
            "test": tuple(e for e, test in zip(examples, is_test, strict=True) if test),
        }

    def _examples(self, path: Path) -> tuple[Example, ...]:
        seen: dict[str, str] = {}
        examples = []
        for row in read_rows(path):
            example = self._example(row, path.stem)
            if example.id in seen:
                raise DataError(f"{row.where}: the id {example.id!r} is also that of {seen[example.id]}")
            seen[example.id] = row.where
            examples.append(example)
        return tuple(examples)

    def _example(self, row: Row, stem: str) -> Example:
        line = row.where.rpartition(" ")[2]
        question = row.text(self.prompt)
        named = {self.prompt, self.answer, self.demonstration, self.id}
        return Example(
            id=row.text(self.id) if self.id else f"{stem}/{line}",
            prompt=self.prompt_format.replace("{prompt}", question),
            answer=row.text(self.answer),
            demonstration=row.text(self.demonstration) if self.demonstration else None,
            tags={tag: row.text(tag) for tag in self.tags},
            columns={"question": question, **{k: v for k, v in row.fields.items() if k not in named}},
        )
