"""`bench/rollout.py` on a model of 22 thousand parameters."""

from dataclasses import replace

import pytest

import rollout
from speed_case import Case, load_policy, write_checkpoint

CASE = Case(size="micro", completion_length=12, prompt_length=8)


@pytest.fixture(scope="module")
def found():
    return rollout.measure(CASE, 1, ["generate"])


def test_the_ratio_is_that_of_the_times(found):
    engines = found["engines"]
    assert found["ratio_tokens_per_s"] == pytest.approx(
        engines["whet"]["tokens_per_s"] / engines["generate"]["tokens_per_s"]
    )
    assert engines["whet"]["tokens_per_s"] == sum(CASE.forced()) / engines["whet"]["wall_s"]["median"]


def test_the_report_says_that_tokens_are_those_of_generate(found):
    checks = found["checks"]
    assert checks["greedy_rows"] == 8 == checks["greedy_rows_equal"] + checks["greedy_rows_parted_at_a_tie"]
    assert checks["logprob_gap_max"] < 1e-5


def test_the_report_names_the_machine_and_the_case(found):
    assert {"cpu", "cores", "threads", "torch", "transformers", "whet", "commit"} <= set(found["machine"])
    assert found["case"]["completions"] == 8
    assert found["case"]["tokens"] == sum(CASE.forced())


def test_the_table_has_a_row_per_engine(found):
    assert {"| whet |", "| generate |"} <= {
        line[: line.index("|", 1) + 1] for line in rollout.table(found).splitlines() if line.startswith("|")
    }


@pytest.mark.parametrize("what", ["logprobs", "token_ids"])
def test_an_engine_that_does_other_work_is_not_timed(tmp_path, monkeypatch, what):
    write_checkpoint(tmp_path, CASE)
    policy, right = load_policy(tmp_path), rollout.completions

    def wrong(*args, **kwargs):
        first, *others = right(*args, **kwargs)
        change = {"logprobs": lambda x: x + 1e-3, "token_ids": lambda x: (x + 1) % 100}[what]
        return [replace(first, **{what: tuple(map(change, getattr(first, what)))}), *others]

    monkeypatch.setattr(rollout, "completions", wrong)
    with pytest.raises(SystemExit, match="does not do the same work"):
        rollout.compared(policy, CASE)
