"""Examples from any file or Hub data set: say which fields hold what, and how completions are scored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field

from whet.errors import ConfigError, DataError
from whet.interfaces import Split, Task, Verifier
from whet.tasks._conversation import Message, asked_and_answered, completion_of, turns_of
from whet.tasks._files import ending_of, read_rows, stem_of
from whet.tasks._hub import NAME, hub_rows
from whet.tasks._rows import Row
from whet.tasks._split import split_by_question
from whet.types import Example


class Jsonl(Task):
    """Rows of a file (.jsonl, .json, .csv, .tsv, also with .gz; .parquet), or of a Hub data set `owner/name:config`.

    A field may hold text, or a conversation: a list of messages, whose last answer by the assistant is the
    demonstration. Without a `test_path` a hash of each question decides its side of the split. A reward may ask for
    every field of the row by name, and for `question`: the prompt without its format.
    """

    path: Path
    test_path: Path | None = None
    hub_split: str = "train"
    """The split of `path`, when it is a Hub data set."""
    hub_test_split: str = "test"
    """The split of `test_path`, when it is a Hub data set."""
    test_frac: float = Field(default=0.1, gt=0.0, le=1.0)
    """Share of the questions kept for testing when there is no `test_path`; 1 keeps every row, in the file's order."""
    prompt: str = "prompt"
    """The field with the prompt; rows without `prompt` may have `messages`. `a.b` is the field b inside a."""
    prompt_format: str = "{prompt}"
    """Text around the prompt, or around the last message of a conversation."""
    answer: str | None = "answer"
    """The field with what the verifier compares with; null when nothing is compared."""
    demonstration: str | None = None
    """The field with a completion worth imitating, for supervised stages; a row where it is null has none."""
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
            "a jsonl task needs a verifier, for instance task.verifier=numeric, task.verifier=exact or "
            "task.verifier=./my_reward.py:score"
        )

    @cached_property
    def _splits(self) -> dict[Split, tuple[Example, ...]]:
        examples = self._examples(self.path, self.hub_split)
        if self.test_path is None:
            return split_by_question(examples, self.test_frac)
        return {"train": examples, "test": self._examples(self.test_path, self.hub_test_split)}

    def _examples(self, path: Path, split: str) -> tuple[Example, ...]:
        seen: dict[str, str] = {}
        examples = []
        name = path.as_posix()
        is_file = path.exists() or ending_of(path) or not NAME.fullmatch(name)
        rows, stem = (
            (read_rows(path), stem_of(path)) if is_file else (hub_rows(name, split), f"{name}/{split}")
        )
        for row in rows:
            example = self._example(row, stem)
            if example.id in seen:
                raise DataError(f"{row.where}: the id {example.id!r} is also that of {seen[example.id]}")
            seen[example.id] = row.where
            examples.append(example)
        return tuple(examples)

    def _example(self, row: Row, stem: str) -> Example:
        line = row.where.rpartition(" ")[2]
        question, messages, answered = self._question(row)
        last = messages[-1]["content"] if messages else question
        prompt = self.prompt_format.replace("{prompt}", last)
        return Example(
            id=row.text(self.id, "task.id") if self.id else f"{stem}/{line}",
            prompt=prompt,
            answer=self._answer(row),
            demonstration=self._demonstration(row) if self.demonstration else answered,
            messages=(*messages[:-1], {"role": "user", "content": prompt}) if messages else (),
            tags={tag: row.text(tag, "task.tags") for tag in self.tags},
            columns={"question": question, **row.fields},
        )

    def _question(self, row: Row) -> tuple[str, tuple[Message, ...], str | None]:
        """The question, the conversation that ends with it (if it is one), and the answer that the data has to it."""
        field = self.prompt
        if field == "prompt" and not row.has(field) and row.has("messages"):
            field = "messages"  # text in it is no conversation, such as JSON in a cell of a table
        elif not isinstance(row.value(field, "task.prompt"), list):
            return row.text(field), (), None
        messages, answered = asked_and_answered(row, field)
        if answered is not None and self.demonstration:
            raise DataError(
                f"{row.where}: {field!r} ends with the assistant's answer, and task.demonstration names another: "
                "keep one of them"
            )
        return turns_of(messages), messages, answered

    def _answer(self, row: Row) -> str:
        """Empty where there is none to name, or nothing that would compare it."""
        if self.answer is None or not (row.has(self.answer) or self.is_scored):
            return ""
        try:
            return row.text(self.answer, "task.answer")
        except DataError as error:
            raise DataError(f"{error} (task.answer=null if no answer is compared)") from None

    def _demonstration(self, row: Row) -> str | None:
        assert self.demonstration is not None
        value = row.value(self.demonstration, "task.demonstration")
        if isinstance(value, list):
            return completion_of(row, self.demonstration)
        return None if value is None else row.text(self.demonstration)
