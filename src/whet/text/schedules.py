"""Schedules: events in a row of data and in a completion, and the best schedule of given events."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from whet.text.tags import tagged

PRIORITY_WEIGHT = 2

_TIME = re.compile(r"[0-9]{2}:[0-5][0-9]")  # past midnight the hours go on, as 24:30 does in the public data
_EVENT = re.compile(
    r"\s{0,9}<event>\s{0,9}<name>([^<>\n]{1,500})</name>\s{0,9}<start>([0-9]{2}:[0-9]{2})</start>\s{0,9}"
    r"<end>([0-9]{2}:[0-9]{2})</end>\s{0,9}</event>\s{0,9}"
)


class Event(NamedTuple):
    """Its name and its times as `HH:MM`, as they are written."""

    name: str
    start: str
    end: str

    @property
    def minutes(self) -> int:
        """How long it lasts."""
        return minute(self.end) - minute(self.start)


class NoSchedule(Exception):
    """The text holds none; the message is one word that says why, as `Score.detail` has it."""


def is_event(value: object) -> bool:
    """Whether a value of JSON is `[name, start, end]` with an end after the start."""
    if not (isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(v, str) for v in value)):
        return False
    name, start, end = value
    is_plain = name == name.strip() and not re.search(r"[<>\n]", name) and 0 < len(name) <= 500
    return bool(is_plain and _TIME.fullmatch(start) and _TIME.fullmatch(end) and minute(start) < minute(end))


def minute(time: str) -> int:
    """The minutes of `HH:MM` since midnight."""
    return int(time[:2]) * 60 + int(time[3:])


def weighted_minutes(events: Iterable[Event], priorities: Collection[str]) -> int:
    """Minutes of the events, those of priority events twice."""
    return sum(e.minutes * (PRIORITY_WEIGHT if e.name in priorities else 1) for e in events)


def best_schedule(events: Sequence[Event], priorities: Collection[str]) -> tuple[Event, ...]:
    """Events without overlap with the most weighted minutes, in order; one may begin when another ends.

    Weighted interval scheduling (Kleinberg and Tardos, Algorithm Design, section 6.1): with the events by their end,
    `best(n) = max(best(n - 1), weight_n + best(the events that end before n begins))`.
    """
    by_end = sorted(events, key=lambda e: (minute(e.end), minute(e.start), e.name))
    ends = [minute(e.end) for e in by_end]
    best: list[tuple[int, tuple[Event, ...]]] = [(0, ())]
    for n, event in enumerate(by_end):
        before, chosen = best[bisect_right(ends, minute(event.start), hi=n)]
        with_it = before + weighted_minutes([event], priorities)
        best.append(max(best[n], (with_it, (*chosen, event)), key=lambda found: found[0]))
    return best[-1][1]


def written(events: Iterable[Event]) -> str:
    """The events as a completion gives them."""
    lines = (
        f"<event>\n<name>{e.name}</name>\n<start>{e.start}</start>\n<end>{e.end}</end>\n</event>\n"
        for e in events
    )
    return f"<schedule>\n{''.join(lines)}</schedule>"


def read_schedule(text: str) -> tuple[Event, ...]:
    """The events of the one `<schedule>` behind the last `</think>`, as they are written.

    Raises `NoSchedule`: no_schedule, several_schedules, malformed (something else than events in it) or empty.
    """
    answer = text.rpartition("</think>")[2]
    found = tagged(answer, "schedule")
    if len(found) != 1:
        raise NoSchedule("several_schedules" if found else "no_schedule")
    if not found[0].strip():
        raise NoSchedule("empty")
    events, end = [], 0
    while match := _EVENT.match(found[0], end):
        events.append(Event(*match.groups()))
        end = match.end()
    if end < len(found[0]):
        raise NoSchedule("malformed")
    return tuple(events)
