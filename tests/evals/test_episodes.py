"""Evaluations of tasks with turns: what is recorded, and the same verdict when it is scored again."""

import dataclasses

import pytest

import tiny
from turn_tasks import letters
from whet.config import EvalConfig, PromptConfig, SamplingConfig
from whet.engines.native import Native
from whet.evals import records as stored
from whet.evals.evaluate import EvalPlan, evaluate
from whet.evals.records import StaleRecords
from whet.evals.rescore import rescore

FEW = ("ab=", "c=", "bca=", "aa=")


@pytest.fixture(scope="module")
def policy():
    return tiny.policy(context=32)


@pytest.fixture(scope="module")
def plan():
    task = letters()
    return EvalPlan(
        task=task,
        examples=task.examples("train"),
        config=EvalConfig(num_samples=3, threshold=0.5),
        sampling=SamplingConfig(max_completion_length=20),
        seed=7,
        prompt=PromptConfig(),
    )


@pytest.fixture(scope="module")
def result(policy, plan):
    return evaluate(policy, Native().build(policy), plan)


def test_a_record_holds_the_answers_and_counts_the_sampled_tokens(result, policy):
    record = next(r for r in result.records if len(r.answers) == 3)
    assert policy.tokenizer.decode(record.token_ids) == "".join(record.answers)
    assert record.text.split("\n")[::2] == list(record.answers)


def test_the_hash_of_the_prompt_leaves_observations_out(result):
    hashes = {}
    for record in result.records:
        hashes.setdefault(record.prompt, set()).add(record.prompt_hash)
    assert {prompt: len(found) for prompt, found in hashes.items()} == dict.fromkeys(FEW, 1)


def test_stored_episodes_score_as_they_did(result, plan, tmp_path):
    stored.append(tmp_path / "records.jsonl", result.records)
    read = stored.read(tmp_path / "records.jsonl")
    assert tuple(read) == result.records
    assert rescore(read, plan.task, plan.examples).changed == ()
    assert len({r.score.value for r in read}) > 2


def test_a_changed_answer_changes_the_verdict(result, plan):
    record = next(r for r in result.records if r.score.value < 0.75 and len(r.answers) == 3)
    forged = dataclasses.replace(record, answers=("abc",) * 3)
    ((_, now),) = rescore([forged], plan.task, plan.examples).changed
    assert now.score.value == 0.75


def test_samples_and_greedy_episodes_of_a_problem_meet_the_same_letter(result, plan):
    # The first sample's key makes the seed: an answer of one letter earns the same in all of them.
    for prompt in FEW:
        some = [r for r in result.records if r.prompt == prompt]
        forged = [dataclasses.replace(r, answers=("a",), finish_reason="stop") for r in some]
        assert len({r.score.value for r in rescore(forged, plan.task, plan.examples).records}) == 1


def test_an_interrupted_evaluation_goes_on_to_the_same_result(result, policy, plan):
    again = evaluate(policy, Native().build(policy), plan, done=result.records[:7])
    assert again == result
    assert evaluate(policy, Native().build(policy), plan, done=result.records) == result


def test_records_of_one_completion_are_no_episodes(result, plan):
    plain = dataclasses.replace(result.records[0], answers=())
    with pytest.raises(StaleRecords, match="was one completion, and turn_tasks:Letters has turns"):
        rescore([plain], plan.task, plan.examples)
    rows = tiny.Rows(name="rows")
    with pytest.raises(StaleRecords, match="was an episode, and rows has no turns"):
        rescore(result.records[:1], rows, [tiny.example("ab=", id="ab=")])
