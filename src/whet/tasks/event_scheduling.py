"""Choosing events for a day without overlap: weighted interval scheduling, with rows from files or from the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator

from whet.errors import DataError
from whet.interfaces import Split, Task, Verifier
from whet.tasks._files import read_rows
from whet.tasks._hub import hub_rows
from whet.tasks._rows import Row
from whet.text.schedules import best_schedule, weighted_minutes, written
from whet.types import Example
from whet.verifiers.event_scheduling import EventScheduling as Judge
from whet.verifiers.event_scheduling import events_of

_INSTRUCTION = """Make a schedule of the events below. The minutes of its events count, those of priority events twice,
and the more the better. Events must not overlap; one may begin when another ends. Write them in the order of their
start, with names and times exactly as given:
<schedule>
<event>
<name>NAME</name>
<start>HH:MM</start>
<end>HH:MM</end>
</event>
</schedule>"""


class EventScheduling(Task):
    """Events with times, some of them with priority; a schedule with the most weighted minutes is asked for.

    Tag: `events` (how many). The default is the Hub's data set anakin87/events-scheduling (500 train, 100 test).
    """

    path: Path | None = None
    """A folder with one file train.jsonl or NAME.train.jsonl and one for test, or one file that serves whichever split
    is asked for; rows have `events`, `[name, start, end]` each, and `priority_events`, names. Default: the Hub's."""
    hub_name: str = "anakin87/events-scheduling"
    prompt_format: str = Field(default="{instruction}\n\n{question}\n")
    """Text around the lists of events and priorities."""

    @field_validator("prompt_format")
    @classmethod
    def _has_the_question(cls, value: str) -> str:
        if "{question}" not in value:
            raise ValueError("expected a text with {question}, such as '{instruction}\\n\\n{question}\\n'")
        return value

    def load(self, split: Split) -> Sequence[Example]:
        """The split in the order of the file. The demonstration is a best schedule.

        Raises `DataError` for a row whose `optimal_score` is not what the best schedule has.
        """
        rows = hub_rows(self.hub_name, split) if self.path is None else read_rows(_file(self.path, split))
        return [self._example(row, f"event_scheduling/{split}/{n}") for n, row in enumerate(rows)]

    def default_verifier(self) -> Verifier:
        """`event_scheduling`."""
        return _VERIFIER

    def _example(self, row: Row, example_id: str) -> Example:
        columns = dict(row.fields)
        try:
            events, priorities = events_of(Example(id=row.where, prompt="", columns=columns))
        except DataError as error:
            raise DataError(f"{row.where}: {error}") from None
        best = best_schedule(events, priorities)
        _agrees(row, weighted_minutes(best, priorities))
        listed = "\n".join(f"- {e.name} ({e.start} - {e.end})" for e in events)
        question = f"Events:\n{listed}\n\nPriorities:\n" + "\n".join(
            f"- {name}" for name in row.value("priority_events")
        )
        prompt = self.prompt_format.replace("{instruction}", _INSTRUCTION).replace("{question}", question)
        return Example(
            id=example_id,
            prompt=prompt,
            answer=written(best),
            demonstration=written(best),
            tags={"events": str(len(events))},
            columns={**columns, "question": question},
        )


def _file(path: Path, split: Split) -> Path:
    if not path.is_dir():
        return path
    found = sorted({*path.glob(f"{split}.jsonl"), *path.glob(f"*.{split}.jsonl")})
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise DataError(f"{path}: expected one file {split}.jsonl or NAME.{split}.jsonl, found {names}")
    return found[0]


def _agrees(row: Row, best: int) -> None:
    stated = row.value("optimal_score") if row.has("optimal_score") else None
    if stated is not None and stated != best:
        raise DataError(
            f"{row.where}: expected the optimal_score {best}, of the best schedule, found {stated!r}; mend it, or "
            "leave the field out"
        )


_VERIFIER = Judge(name="event_scheduling")
