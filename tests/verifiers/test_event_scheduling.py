"""What a schedule is worth: nothing that breaks a rule is measured at the best one."""

import pytest
from pydantic import ValidationError

from whet.errors import DataError
from whet.text.schedules import Event, written
from whet.types import Example
from whet.verifiers.event_scheduling import EventScheduling

TALK = Event("Talk", "09:00", "10:00")
LUNCH = Event("Lunch", "09:30", "11:00")  # overlaps the talk
WALK = Event("Walk", "11:00", "11:30")  # begins when lunch ends
SHOW = Event("Show", "20:00", "20:30")
EVENTS = [TALK, LUNCH, WALK, SHOW]
# With the talk: 2 * 60 + 30 + 30 = 180; with lunch: 90 + 30 + 30 = 150.
ROW = Example(
    id="row/3", prompt="p", columns={"events": [list(e) for e in EVENTS], "priority_events": ["Talk"]}
)


def verdict(*events: Event, row: Example = ROW) -> tuple[float, str]:
    score = EventScheduling().score(written(events), "", row)
    assert score.status == "ok"
    return pytest.approx(score.value), score.detail


def test_a_best_schedule_is_worth_one() -> None:
    score = EventScheduling().score(written([TALK, WALK, SHOW]), "", ROW)
    assert (score.value, score.detail) == (1.0, "")
    assert score.parts == pytest.approx({"format": 0.1, "events": 0.1, "order": 0.1, "optimality": 0.7})


@pytest.mark.parametrize(
    ("events", "minutes"),
    [
        ([LUNCH, WALK, SHOW], 150),
        ([TALK, SHOW], 150),
        ([TALK], 120),
        ([SHOW], 30),
    ],
)
def test_a_sound_schedule_is_worth_its_share_of_the_best_ones_minutes(
    events: list[Event], minutes: int
) -> None:
    assert verdict(*events) == (0.3 + 0.7 * minutes / 180, "not_best")


@pytest.mark.parametrize(
    ("events", "value", "detail"),
    [
        ([TALK, WALK, SHOW, Event("Party", "21:00", "22:00")], 0.1, "unknown_event"),
        ([TALK, WALK, SHOW._replace(end="23:59")], 0.1, "unknown_event"),
        ([TALK._replace(name="talk")], 0.1, "unknown_event"),
        ([TALK._replace(name="Talk ")], 0.1, "unknown_event"),
        ([TALK._replace(name="Тalk")], 0.1, "unknown_event"),  # a Cyrillic T
        ([TALK._replace(start="08:00")], 0.1, "unknown_event"),
        ([TALK, WALK, SHOW, SHOW], 0.1, "repeated_event"),
        ([TALK, TALK], 0.1, "repeated_event"),
        ([SHOW, WALK, TALK], 0.2, "wrong_order"),
        ([TALK, SHOW, WALK], 0.2, "wrong_order"),
        (EVENTS, 0.2, "overlap"),  # everything
        ([TALK, LUNCH], 0.2, "overlap"),
    ],
)
def test_a_schedule_that_breaks_a_rule_gets_nothing_for_its_minutes(
    events: list[Event], value: float, detail: str
) -> None:
    assert verdict(*events) == (value, detail)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "no_schedule"),
        ("<schedule></schedule>", "empty"),
        ("<schedule>Talk, Walk, Show</schedule>", "malformed"),
        (written([TALK]) + written([TALK, WALK, SHOW]), "several_schedules"),
        (written([TALK]).replace("09:00", "9:00"), "malformed"),
        (written([TALK]).replace("09:00", "٠٩:٠٠"), "malformed"),
    ],
)
def test_what_cannot_be_read_is_worth_nothing(text: str, detail: str) -> None:
    score = EventScheduling().score(text, "", ROW)
    assert (score.value, score.status, score.detail) == (0.0, "ok", detail)


def test_two_events_with_one_name_are_told_apart_by_their_times() -> None:
    columns = {"events": [["Run", "07:00", "08:00"], ["Run", "18:00", "19:00"]], "priority_events": ["Run"]}
    row = Example(id="1", prompt="p", columns=columns)
    assert verdict(Event("Run", "07:00", "08:00"), Event("Run", "18:00", "19:00"), row=row) == (1.0, "")


def test_the_shares_are_settings() -> None:
    verifier = EventScheduling(format=0.0, events=0.0, order=0.5)
    assert verifier.score(written([TALK]), "", ROW).value == pytest.approx(0.5 + 0.5 * 120 / 180)
    assert verifier.score(written([TALK, LUNCH]), "", ROW).value == 0.0


def test_shares_that_leave_nothing_for_the_minutes_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected format"):
        EventScheduling(format=0.5, events=0.3, order=0.2)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "in the field 'events' of row/3"),
        ({"events": [], "priority_events": []}, "in the field 'events' of row/3"),
        ({"events": [["a", "9:00", "10:00"]], "priority_events": []}, "in the field 'events' of row/3"),
        ({"events": [list(TALK)]}, "in the field 'priority_events' of row/3"),
        ({"events": [list(TALK)], "priority_events": ["Walk"]}, "in the field 'priority_events' of row/3"),
        ({"events": [list(TALK)] * 2, "priority_events": []}, "different events in row/3"),
    ],
)
def test_a_row_without_events_is_an_error_of_the_data(columns: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        EventScheduling().score("", "", Example(id="row/3", prompt="p", columns=columns))
