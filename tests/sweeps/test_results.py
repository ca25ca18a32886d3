"""What the runs say together, and how it is told."""

import csv
import json

import pytest

from whet.sweeps.definition import define
from whet.sweeps.members import members_of
from whet.sweeps.plot import plot_sweep
from whet.sweeps.report import conclusion, plain, sweep_markdown, sweep_text, write
from whet.sweeps.results import result_of


def test_a_difference_beyond_chance_marks_the_best(finished):
    result = result_of(*finished([30, 31, 32], [10, 11, 12]))
    first, second = result.settings
    # (30 + 31 + 32) / 120 and 33 / 120
    assert (first.metrics["pass@1"].mean, second.metrics["pass@1"].mean) == (0.775, 0.275)
    assert result.differences["algorithm=dr_grpo"].difference.mean == pytest.approx(0.5)
    assert (result.metric, result.best) == ("pass@1", "algorithm=grpo")
    assert "algorithm=grpo  (best)" in sweep_text(result)


def test_seeds_that_differ_more_than_settings_leave_no_best(finished):
    result = result_of(*finished([38, 30, 20], [30, 22, 33]))
    assert result.best is None
    assert "algorithm=grpo and algorithm=dr_grpo are not separated" in conclusion(result)
    assert "(best)" not in sweep_text(result)


def test_one_seed_makes_no_best_however_large_the_difference(finished):
    result = result_of(*finished([40, None, None], [0, None, None]))
    assert result.best is None
    assert "may be the luck of that seed" in conclusion(result)


def test_only_seeds_that_both_finished_are_paired(finished):
    result = result_of(*finished([30, 31, 32], [10, None, 12]))
    comparison = result.differences["algorithm=dr_grpo"]
    assert (comparison.seeds, comparison.a, comparison.b) == (2, 62 / 80, 22 / 80)
    assert [(m.setting, m.seed, m.error) for m in result.failed] == [("algorithm=dr_grpo", 1, "not started")]
    assert "algorithm=dr_grpo, seed 1: not started" in sweep_text(result)


def test_without_an_evaluation_nothing_is_ranked(finished):
    result = result_of(*finished([None] * 3, [None] * 3))
    assert (result.metric, result.ranked, result.best) == (None, (), None)
    assert "nothing to compare" in conclusion(result)


def test_both_accuracies_reward_and_time_are_in_the_row(finished):
    result = result_of(*finished([30] * 3, [10] * 3, greedy=20))
    assert result.settings[0].metrics["greedy"].mean == 0.5
    # rewards 0.1, 0.2, ... 2.0: the first two and the last two of twenty steps
    assert result.settings[0].mean("reward_start") == pytest.approx(0.15)
    assert result.settings[0].mean("reward_end") == pytest.approx(1.95)
    (line,) = [x for x in sweep_text(result).splitlines() if x.strip().startswith("algorithm=grpo  (best)")]
    assert "3/3" in line
    assert "0.1500 -> 1.9500" in line


def test_every_form_of_the_result_has_the_same_numbers(finished):
    definition, directory = finished([30, 31, 32], [10, 11, None])
    result = result_of(definition, directory)
    files = write(result)
    told = json.loads(files["results.json"].read_text())
    assert told["settings"][0]["metrics"]["pass@1"]["mean"] == 0.775
    assert told["settings"][0]["metrics"]["pass@1"]["low"] == result.settings[0].metrics["pass@1"].low
    assert (told["best"], told["on_training_data"]) == (result.best, False)
    with files["settings.csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["setting"], rows[0]["finished"], rows[0]["pass@1"]) == ("algorithm=grpo", "3", "0.775")
    with files["runs.csv"].open() as file:
        runs = list(csv.DictReader(file))
    assert [r["pass@1"] for r in runs] == ["0.75", "0.775", "0.8", "0.25", "0.275", ""]
    assert runs[-1]["error"] == "not started"
    assert "| algorithm=grpo" in files["results.md"].read_text()


def test_accuracy_on_training_data_is_called_that_everywhere(tiny, finish, tmp_path):
    on_train = ["eval.split=train", "eval.allow_overlap=true"]
    definition = define([tiny], ["algorithm=grpo,dr_grpo"], on_train, num_seeds=1)
    for member in members_of(definition, tmp_path):
        finish(member, 40, eval_split="train")
    result = result_of(definition, tmp_path)
    assert plain(result)["on_training_data"] is True
    assert {s["eval_split"] for s in plain(result)["settings"]} == {"train"}
    for text in (sweep_text(result), sweep_markdown(result)):
        assert "ON TRAINING DATA (eval.split: train)" in text


def test_the_picture_has_an_interval_per_setting_and_a_ring_per_run(finished, figures):
    result = result_of(*finished([30, 31, 32], [10, 11, 12]))
    assert plot_sweep(result).read_bytes().startswith(b"\x89PNG")
    (axes,) = figures[0].axes
    (low, high) = axes.collections[0].get_segments()[0][:, 0]
    interval = result.settings[0].metrics["pass@1"]
    assert (low, high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    rings = [line.get_xdata() for line in axes.lines if line.get_fillstyle() == "none"]
    assert [list(x) for x in rings] == [[0.75, 0.775, 0.8], [0.25, 0.275, 0.3]]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["algorithm=grpo  (best)", "algorithm=dr_grpo"]
    assert axes.get_title(loc="left") == "sweep_s, arithmetic test"
