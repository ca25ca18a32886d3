"""Evaluating checkpoints: the run's own settings go to one place, others to places of their own."""

import json

import pytest

from whet.errors import ConfigError, DataError, RunError
from whet.evals.checkpoint import Evaluation, evaluate_checkpoint
from whet.evals.evaluate import plain_name
from whet.runs import reader
from whet.runs.directory import RunDirectory
from whet.tasks.arithmetic import Arithmetic

MINE = """
from whet.tasks.arithmetic import Arithmetic


class Sums(Arithmetic):
    pass
"""


def evaluation(run, **settings):
    return Evaluation.of(RunDirectory(run), settings)


def problems(run, **settings):
    return [e.id for e in evaluation(run, **settings).plan.examples]


def test_the_runs_own_settings_give_the_evaluation_that_training_made(own_run):
    run = RunDirectory(own_run)
    trained = run.evaluation("arithmetic", 2)
    records, metrics = [(trained / n).read_bytes() for n in ("records.jsonl", "metrics.json")]
    (trained / "records.jsonl").unlink()
    evaluate_checkpoint(run, "final", {})
    assert (trained / "records.jsonl").read_bytes() == records
    assert (trained / "metrics.json").read_bytes() == metrics


def test_an_evaluation_of_the_same_settings_is_not_sampled_again(own_run):
    file = RunDirectory(own_run).evaluation("arithmetic", 1) / "records.jsonl"
    evaluate_checkpoint(RunDirectory(own_run), "1", {})
    before = file.stat().st_mtime_ns
    evaluate_checkpoint(RunDirectory(own_run), "1", {})
    assert file.stat().st_mtime_ns == before


def test_other_settings_leave_the_runs_own_evaluation_alone(own_run):
    run = RunDirectory(own_run)
    before = {p: p.read_bytes() for p in run.evals.rglob("*.json*")}
    result = evaluate_checkpoint(run, "latest", {"num_samples": 3, "temperature": 0.5, "greedy": False})
    assert len(result.records) == 8 * 3
    assert {p: p.read_bytes() for p in before} == before
    other = run.evals / "arithmetic@num_samples=3,temperature=0.5,greedy=False" / "step_000002"
    assert json.loads((other / "metrics.json").read_text())["temperature"] == 0.5


def test_a_part_of_the_problems_is_inside_a_larger_part(tiny_run):
    # 8 problems: 0.25 * 8 = 2, 0.5 * 8 = 4
    everything, half, quarter = (problems(tiny_run, subset_frac=f) for f in (1.0, 0.5, 0.25))
    assert (len(everything), len(half), len(quarter)) == (8, 4, 2)
    assert set(quarter) < set(half) < set(everything)
    assert half == [e for e in everything if e in half]  # in the task's order


def test_the_smallest_part_has_one_problem(tiny_run):
    assert len(problems(tiny_run, subset_frac=0.001)) == 1


def test_the_part_is_chosen_by_hash_and_not_from_the_front(tiny_run):
    assert problems(tiny_run, subset_frac=0.5) != problems(tiny_run)[:4]


def test_the_limit_takes_the_first_problems_before_the_part(tiny_run):
    assert set(problems(tiny_run, limit=4, subset_frac=0.5)) < set(problems(tiny_run)[:4])


def test_a_task_of_the_runs_name_keeps_the_runs_settings(tiny_run):
    named = evaluation(tiny_run, task="arithmetic")
    assert (named.plan.task.max_operand, named.name) == (9, "arithmetic")


def test_another_task_has_its_own_directory(tiny_run):
    assert evaluation(tiny_run, task="counting").name == "counting"


def test_other_settings_of_a_task_have_their_own_directory(tiny_run):
    five, six = (evaluation(tiny_run, task={"num_test": n}).name for n in (5, 6))
    assert five.startswith("arithmetic@task=")
    assert len({five, six, "arithmetic"}) == 3


def test_a_task_from_a_file_stays_inside_the_run(own_run, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    task = {"name": "../mine.py:Sums", "max_operand": 9, "num_train": 30, "num_test": 8}
    wanted = evaluation(own_run, task=task)
    assert wanted.name.startswith("mine.Sums@task=")
    assert wanted.directory(own_run / "x" / "step_000002").parent.parent == own_run / "evals"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("arithmetic", "arithmetic"),
        ("./mine.py:Sums", "mine.Sums"),
        ("../a b/mine-1.py:Sums", "mine-1.Sums"),
        ("pkg.tasks:Sums", "tasks.Sums"),
    ],
)
def test_a_tasks_name_becomes_one_part_of_a_path(name, plain):
    assert plain_name(Arithmetic(name=name)) == plain


def test_training_questions_are_evaluated_when_the_split_says_so(tiny_run):
    wanted = evaluation(tiny_run, split="train")
    assert (len(wanted.plan.examples), wanted.plan.overlap) == (30, 30)


def test_training_questions_are_refused_otherwise(tiny_run, tmp_path):
    rows = [
        {"prompt": e.prompt, "answer": e.answer} for e in evaluation(tiny_run, split="train").plan.examples
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"name": "jsonl", "path": str(file), "test_path": str(file), "verifier": "exact"}
    with pytest.raises(DataError, match="30 of 30 evaluation questions are also training questions"):
        evaluation(tiny_run, task=task)


def test_an_unknown_setting_is_named(tiny_run):
    with pytest.raises(ConfigError, match=r"eval\.num_sample is not a setting.*num_samples"):
        evaluate_checkpoint(RunDirectory(tiny_run), "latest", {"num_sample": 2})


def test_a_missing_checkpoint_is_refused_with_those_that_are_there(tiny_run):
    with pytest.raises(RunError, match=r"no checkpoint '7'.*0, 1, 2"):
        evaluate_checkpoint(RunDirectory(tiny_run), "7", {})


def test_other_evaluations_are_listed_by_their_directories(own_run):
    evaluate_checkpoint(RunDirectory(own_run), "1", {"limit": 2})
    found = reader.evaluations(RunDirectory(own_run))
    assert {name: sorted(steps) for name, steps in found.items()} == {
        "arithmetic": [0, 2],
        "arithmetic@limit=2": [1],
    }
