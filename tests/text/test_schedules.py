"""The best schedule against enumeration, and what is read as a schedule."""

import itertools
import random
import time

import pytest

from whet.text.schedules import (
    Event,
    NoSchedule,
    best_schedule,
    is_event,
    read_schedule,
    weighted_minutes,
    written,
)

SHOW = Event("Show", "09:00", "10:30")


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def random_events(rng: random.Random) -> list[Event]:
    spans = [sorted(rng.sample(range(0, 1441, 15), 2)) for _ in range(rng.randint(1, 8))]
    return [Event(f"E{n}", clock(start), clock(end)) for n, (start, end) in enumerate(spans)]


def best_by_enumeration(events: list[Event], priorities: set[str]) -> int:
    """Over all sets of events without a minute that two of them share."""
    best = 0
    for chosen in itertools.product([False, True], repeat=len(events)):
        taken = [e for e, is_in in zip(events, chosen, strict=True) if is_in]
        spans = [
            range(int(e.start[:2]) * 60 + int(e.start[3:]), int(e.end[:2]) * 60 + int(e.end[3:]))
            for e in taken
        ]
        if len({m for span in spans for m in span}) == sum(map(len, spans)):
            best = max(
                best,
                sum(len(s) * (2 if e.name in priorities else 1) for s, e in zip(spans, taken, strict=True)),
            )
    return best


def test_the_best_schedule_is_the_best_of_all() -> None:
    rng = random.Random(0)
    for _ in range(60):
        events = random_events(rng)
        priorities = {e.name for e in events if rng.random() < 0.3}
        found = best_schedule(events, priorities)
        assert weighted_minutes(found, priorities) == best_by_enumeration(events, priorities)


def test_the_best_schedule_is_in_order_without_overlap() -> None:
    rng = random.Random(1)
    for _ in range(60):
        found = best_schedule(random_events(rng), ())
        assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_one_event_may_begin_when_another_ends() -> None:
    events = [Event("a", "09:00", "10:00"), Event("b", "10:00", "11:00")]
    assert best_schedule(events, ()) == tuple(events)


def test_minutes_of_priority_events_count_twice() -> None:
    assert weighted_minutes([SHOW, Event("b", "12:00", "12:15")], {"Show"}) == 195  # 2 * 90 + 15


def test_what_is_written_is_read_again() -> None:
    events = (SHOW, Event("Meeting at café", "23:00", "24:00"))
    assert read_schedule(f"<think>hm</think>\n{written(events)}\nDone.") == events


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_schedule"),
        ("<schedule>", "no_schedule"),
        ("Show 09:00 - 10:30", "no_schedule"),
        (f"<think>{written([SHOW])}</think>", "no_schedule"),
        (written([SHOW]) * 2, "several_schedules"),
        ("<schedule></schedule>", "empty"),
        ("<schedule>\n</schedule>", "empty"),
        ("<schedule>Show</schedule>", "malformed"),
        (written([SHOW]).replace("</event>", ""), "malformed"),
        (written([SHOW]).replace("</event>", "</event>,"), "malformed"),
        (written([SHOW]).replace("09:00", "9:00"), "malformed"),
        (written([SHOW]).replace("09:00", "09:00:00"), "malformed"),
        (written([SHOW]).replace("09:00", "09.00"), "malformed"),
        (written([SHOW]).replace("09:00", "9 am"), "malformed"),
        (written([SHOW]).replace("09:00", "0٩:00"), "malformed"),
        (written([SHOW]).replace("09:00", "０９:00"), "malformed"),
        (written([SHOW]).replace("09:00", "HH:MM"), "malformed"),
        (written([SHOW]).replace("<name>Show</name>", "<name></name>"), "malformed"),
        (
            written([SHOW]).replace("<name>Show</name>\n<start>09:00</start>", "<start>09:00</start>"),
            "malformed",
        ),
    ],
)
def test_what_is_no_schedule_says_why(text: str, reason: str) -> None:
    with pytest.raises(NoSchedule, match=f"^{reason}$"):
        read_schedule(text)


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        (["Show", "09:00", "10:30"], True),
        (["Show", "22:00", "24:59"], True),
        (["Show", "10:30", "09:00"], False),
        (["Show", "09:00", "09:00"], False),
        (["Show", "9:00", "10:30"], False),
        (["Show", "09:00", "10:60"], False),
        (["", "09:00", "10:30"], False),
        (["<b>", "09:00", "10:30"], False),
        (["Show", "09:00"], False),
        (["Show", 9, 10], False),
        ("abc", False),
    ],
)
def test_an_event_of_the_data_has_a_name_and_two_times_of_a_day(value: object, is_one: bool) -> None:
    assert is_event(value) is is_one


@pytest.mark.parametrize("piece", ["<schedule>", "</schedule>", "<event>", "<name>", " ", written([SHOW])])
def test_a_hostile_text_costs_no_square(piece: str) -> None:
    start = time.process_time()
    for text in (piece * 20_000, f"<schedule>{piece * 20_000}</schedule>"):
        with pytest.raises(NoSchedule):
            read_schedule(text)
    assert time.process_time() - start < 2.0
