"""Schedules from files: the prompt, the best schedule and what a row must have."""

import json
from pathlib import Path

import pytest

from whet.errors import DataError
from whet.tasks.event_scheduling import EventScheduling
from whet.text.schedules import best_schedule, weighted_minutes
from whet.verifiers.event_scheduling import events_of

FOLDER = Path(__file__).parents[1] / "fixtures" / "event_scheduling"
ROW = {"events": [["a", "09:00", "10:00"], ["b", "09:30", "11:00"]], "priority_events": ["a"]}


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_best_schedule_has_the_minutes_that_the_data_states(split) -> None:
    for example in EventScheduling(path=FOLDER).examples(split):
        events, priorities = events_of(example)
        assert (
            weighted_minutes(best_schedule(events, priorities), priorities)
            == example.columns["optimal_score"]
        )


def test_the_question_is_written_as_in_the_data() -> None:
    for example in EventScheduling(path=FOLDER).examples("train"):
        assert example.columns["question"] == example.columns["prompt"]
        assert example.columns["question"] in example.prompt


def test_the_demonstration_is_a_best_schedule() -> None:
    assert EventScheduling(path=FOLDER).examples("test")[0].demonstration == (
        "<schedule>\n"
        "<event>\n<name>The Killers concert</name>\n<start>00:22</start>\n<end>00:37</end>\n</event>\n"
        "<event>\n<name>Sum 41 concert</name>\n<start>02:19</start>\n<end>03:04</end>\n</event>\n"
        "<event>\n<name>Jam session</name>\n<start>07:47</start>\n<end>09:17</end>\n</event>\n"
        "<event>\n<name>Korean BBQ food trucks</name>\n<start>12:42</start>\n<end>14:42</end>\n</event>\n"
        "<event>\n<name>David Bowie tribute concert</name>\n<start>17:31</start>\n<end>18:16</end>\n</event>\n"
        "</schedule>"
    )


def test_files_may_carry_a_name_before_the_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"mine.{split}.jsonl").write_text(json.dumps(ROW))
    assert [e.id for e in EventScheduling(path=tmp_path).examples("test")] == ["event_scheduling/test/0"]


def test_a_folder_with_no_file_or_two_for_a_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected one file train.jsonl or NAME.train.jsonl, found none"):
        EventScheduling(path=tmp_path).examples("train")
    for name in ("a.train.jsonl", "train.jsonl"):
        (tmp_path / name).write_text(json.dumps(ROW))
    with pytest.raises(DataError, match=r"found a\.train\.jsonl, train\.jsonl"):
        EventScheduling(path=tmp_path).examples("train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimal_score": 121}, "line 1: expected the optimal_score 120, of the best schedule, found 121"),
        ({"events": "a"}, "rows.jsonl, line 1.*in the field 'events'"),
        ({"priority_events": None}, "in the field 'priority_events'"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**ROW, **change}))
    with pytest.raises(DataError, match=message):
        EventScheduling(path=path).examples("train")
