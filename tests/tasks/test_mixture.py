"""Several tasks as one: proportions, scoring and labels."""

import pytest

from whet import registry
from whet.config import load_config
from whet.errors import ConfigError
from whet.interfaces import Task
from whet.types import Score, Turn

PARTS = {
    "sums": {"task": {"name": "arithmetic", "num_train": 90, "num_test": 30}, "weight": 3},
    "copies": {"task": {"name": "echo", "num_train": 90, "num_test": 30}, "weight": 1},
}


@pytest.fixture
def mixture() -> Task:
    return registry.build("tasks", {"name": "mixture", "parts": PARTS})


def test_every_stretch_holds_the_parts_in_their_proportions(mixture: Task) -> None:
    parts = [e.tags["part"] for e in mixture.examples("train")]
    for n in range(1, len(parts) + 1):
        assert abs(parts[:n].count("sums") - 0.75 * n) <= 1


def test_it_ends_with_the_part_that_runs_out_first(mixture: Task) -> None:
    parts = [e.tags["part"] for e in mixture.examples("train")]
    assert (parts.count("sums"), parts.count("copies")) == (90, 30)


def test_each_part_keeps_its_own_order_tags_and_ids(mixture: Task) -> None:
    sums = registry.build("tasks", PARTS["sums"]["task"]).examples("test")
    mine = [e for e in mixture.examples("test") if e.tags["part"] == "sums"]
    assert [e.prompt for e in mine] == [e.prompt for e in sums[: len(mine)]]
    assert mine[0].id == f"sums/{sums[0].id}"
    assert dict(mine[0].tags) == {**sums[0].tags, "part": "sums"}


def test_each_part_scores_by_its_own_verifier(mixture: Task) -> None:
    by_part = {e.tags["part"]: e for e in mixture.examples("test")}
    sums, copies = by_part["sums"], by_part["copies"]
    assert mixture.score(sums, f"It is {sums.answer}.").value == 1.0
    assert mixture.score(copies, f"It is {copies.answer}.").value == 0.0
    assert mixture.score(copies, copies.answer).value == 1.0


def test_a_part_with_turns_plays_them_and_the_others_have_one() -> None:
    game = {"name": "guess_number", "num_train": 9, "num_test": 3}
    task = registry.build("tasks", {"name": "mixture", "parts": {**PARTS, "games": {"task": game}}})
    by_part = {e.tags["part"]: e for e in task.examples("train")}
    assert task.has_turns
    assert {part: task.turn_rules(e).max_turns for part, e in by_part.items()} == {
        "sums": 1,
        "copies": 1,
        "games": 3,
    }
    sums = by_part["sums"]
    assert task.start(sums, 0).step(sums.answer) == Turn(done=True, score=Score(value=1.0))
    assert task.start(by_part["games"], 0).step("?") == Turn(observation="?", detail="no_answer")
    assert "higher" in task.observed_texts()


def test_a_verifier_of_a_part_is_kept() -> None:
    parts = {"a": {"task": {"name": "arithmetic", "verifier": {"name": "numeric", "right": 5.0}}}}
    task = registry.build("tasks", {"name": "mixture", "parts": parts})
    example = task.examples("test")[0]
    assert task.score(example, example.answer).value == 5.0


def test_a_part_without_a_verifier_is_named_when_the_config_is_read(tmp_path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "answer": "b"}\n')
    parts = {**PARTS, "mine": {"task": {"name": "jsonl", "path": str(tmp_path / "rows.jsonl")}}}
    settings = {"max_steps": 1, "task": {"name": "mixture", "parts": parts}, "policy": "from_scratch"}
    with pytest.raises(ConfigError, match="part mine of the mixture: a jsonl task needs a verifier"):
        load_config([settings])
    assert not load_config([settings, {"stage": "sft"}]).task.is_scored


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"a": {"task": "arithmetic", "weight": 0}},
        {"a": {"task": "no_such_task"}},
        {"a": {"task": {"name": "mixture", "parts": {"b": {"task": "echo"}}}}},
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        registry.build("tasks", {"name": "mixture", "parts": parts})


def test_parts_that_share_questions_do_not_leak_them_into_the_test_split() -> None:
    parts = {
        "small": {"task": {"name": "arithmetic", "max_operand": 30, "num_train": 400, "num_test": 100}},
        "large": {"task": {"name": "arithmetic", "max_operand": 60}},
    }
    mixture = registry.build("tasks", {"name": "mixture", "parts": parts})
    train, test = ({e.prompt for e in mixture.examples(split)} for split in ("train", "test"))
    assert train and test and not train & test
