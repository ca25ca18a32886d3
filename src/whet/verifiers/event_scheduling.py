"""How good a schedule of given events is, as the task `event_scheduling` asks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence

from pydantic import Field, model_validator

from whet.errors import DataError
from whet.interfaces import Verifier
from whet.text.schedules import (
    Event,
    NoSchedule,
    best_schedule,
    is_event,
    minute,
    read_schedule,
    weighted_minutes,
)
from whet.types import Example, Score


class EventScheduling(Verifier):
    """Shares for the form, for real events, for their order, and for weighted minutes against the best schedule's.

    A completion gives one `<schedule>` of `<event>`s with `<name>`, `<start>` and `<end>`. A share counts when those
    before it do: only a schedule of real events, each once, in order and without overlap, is measured at the optimum.
    The row has `events` (`[name, start, end]` each) and `priority_events` (names, whose minutes count twice).
    """

    format: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Of a schedule that can be read and is not empty."""
    events: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Of events that are all given ones, name and times as they are written, none of them twice."""
    order: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Of events in the order of their start without overlap. What is left to 1 is for the minutes."""

    @model_validator(mode="after")
    def _leave_something(self) -> EventScheduling:
        if self.format + self.events + self.order >= 1:
            raise ValueError("expected format + events + order < 1, so that a better schedule is worth more")
        return self

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """0 to 1, with the parts `format`, `events`, `order` and `optimality`.

        Details `no_schedule`, `several_schedules`, `malformed`, `empty`, `unknown_event`, `repeated_event`,
        `wrong_order`, `overlap` and `not_best`. Raises `DataError` for a row without events.
        """
        given, priorities = events_of(example)
        try:
            schedule = read_schedule(text)
        except NoSchedule as reason:
            return self._scored(0, 0.0, str(reason))
        if detail := _not_given(schedule, given):
            return self._scored(1, 0.0, detail)
        if detail := _not_in_order(schedule):
            return self._scored(2, 0.0, detail)
        best = weighted_minutes(best_schedule(given, priorities), priorities)
        share = weighted_minutes(schedule, priorities) / best
        return self._scored(3, share, "" if share == 1 else "not_best")

    def _scored(self, passed: int, optimality: float, detail: str) -> Score:
        """The first `passed` shares, and this much of the last."""
        shares = {"format": self.format, "events": self.events, "order": self.order}
        parts = {name: share if n < passed else 0.0 for n, (name, share) in enumerate(shares.items())}
        parts["optimality"] = optimality * (1 - math.fsum(shares.values()))
        return Score(value=round(math.fsum(parts.values()), 12), parts=parts, detail=detail)


def events_of(example: Example | None) -> tuple[tuple[Event, ...], frozenset[str]]:
    """The events of a row and the names of its priority events; raises `DataError` when they are not there."""
    if example is None:
        raise DataError("event_scheduling scores a schedule of the events of an example: give the example")
    given, priorities = (example.columns.get(field) for field in ("events", "priority_events"))
    if not isinstance(given, list | tuple) or not given or not all(map(is_event, given)):
        raise DataError(
            f"event_scheduling: expected a list of [name, 'HH:MM', 'HH:MM'] in the field 'events' of {example.id}, "
            f"each with an end after its start; found {given!r:.200}"
        )
    events = tuple(Event(*event) for event in given)
    names = {event.name for event in events}
    if not isinstance(priorities, list | tuple) or not all(p in names for p in priorities):
        raise DataError(
            f"event_scheduling: expected names of events in the field 'priority_events' of {example.id}, found "
            f"{priorities!r:.200}"
        )
    if len(set(events)) < len(events):
        raise DataError(f"event_scheduling: expected different events in {example.id}, found one twice")
    return events, frozenset(priorities)


def _not_given(schedule: Sequence[Event], given: Collection[Event]) -> str:
    if not set(schedule) <= set(given):
        return "unknown_event"
    return "repeated_event" if len(set(schedule)) < len(schedule) else ""


def _not_in_order(schedule: Sequence[Event]) -> str:
    pairs = list(itertools.pairwise(schedule))
    if any(minute(b.start) < minute(a.start) for a, b in pairs):
        return "wrong_order"
    return "overlap" if any(minute(b.start) < minute(a.end) for a, b in pairs) else ""
