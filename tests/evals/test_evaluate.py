"""Evaluation end to end with a tiny policy and a scripted engine."""

import dataclasses
import json

import pytest
import torch

from whet.config import Config, EvalConfig
from whet.errors import DataError, Interrupted
from whet.evals import evaluate as module
from whet.evals import records
from whet.evals.evaluate import evaluate, plan_of
from whet.evals.metrics import metrics_of
from whet.evals.records import StaleRecords
from whet.evals.store import evaluate_into
from whet.models.fingerprint import weights_hash
from whet.policies.from_scratch import FromScratch


class Counting:
    """An engine that remembers the keys and temperatures it was asked for, and may stop half-way."""

    def __init__(self, engine, fail_after=None):
        self.engine, self.fail_after, self.keys, self.temperatures = engine, fail_after, [], []

    def generate(self, requests, params, should_stop=lambda: False):
        if len(self.temperatures) == self.fail_after:
            raise Interrupted
        self.temperatures.append(params.temperature)
        self.keys += [r.keys for r in requests]
        return self.engine.generate(requests, params, should_stop)


def test_an_evaluation_counts_what_the_script_says(policy, engine, plan):
    result = evaluate(policy, engine, plan)
    # right: 1+2 2 of 2, 3+4 1 of 2, 5+6 0 of 2, 7+8 1 of 1 (the other one broke the verifier)
    assert result.metrics["pass@1"].mean == pytest.approx((1 + 0.5 + 0 + 1) / 4, abs=1e-15)
    assert result.metrics["pass@2"].mean == pytest.approx((1 + 1 + 0) / 3, abs=1e-15)
    assert result.metrics["greedy"].mean == 0.75
    assert result.metrics["failed_frac"].mean == 1 / 8
    assert result.metrics["answered_frac"].mean == pytest.approx(6 / 7, abs=1e-15)
    assert (
        result.metrics["truncated_frac"].mean == 2 / 8
    )  # "1111" and "boom" leave no room for the end of text
    assert result.metrics["tag/size=small/pass@1"].mean == 0.75
    assert len(result.records) == 4 * 2 + 4


def test_metrics_follow_from_the_records_alone(policy, engine, plan, tmp_path):
    result = evaluate(policy, engine, plan, sink=lambda new: records.append(tmp_path / "r.jsonl", new))
    assert metrics_of(records.read(tmp_path / "r.jsonl")) == result.metrics


def test_keys_depend_on_seed_problem_and_sample_only(policy, engine, plan):
    first, second = Counting(engine), Counting(engine)
    evaluate(policy, first, plan)
    evaluate(policy, second, dataclasses.replace(plan, examples=plan.examples[2:]))
    sampled, greedy = first.keys[:4], first.keys[4:]
    assert first.temperatures == [1.0, 0.0]
    assert second.keys[:2] == sampled[2:]  # fewer problems, the same keys
    assert len({key for keys in sampled for key in keys}) == 8
    assert [len(keys) for keys in greedy] == [1, 1, 1, 1]
    other = Counting(engine)
    evaluate(policy, other, dataclasses.replace(plan, seed=8))
    assert not {k for keys in other.keys for k in keys} & {k for keys in first.keys for k in keys}


def test_entropy_is_that_of_the_policy_per_token(policy, engine, plan):
    # A module whose weights are all zero says that every token is equally likely: entropy log V.
    flat = FromScratch(num_layers=1, num_heads=1, width=8, context_length=32).build(
        ["0123456789+=bom"], seed=0, device=torch.device("cpu")
    )
    for parameter in flat.module.parameters():
        parameter.data.zero_()
    result = evaluate(flat, engine, plan)
    log_v = torch.tensor(float(flat.tokenizer.vocab_size)).log().item()
    assert result.metrics["entropy"].mean == pytest.approx(log_v, abs=1e-5)
    assert all(r.entropy_mean is None for r in result.records if r.greedy or not r.score.ok)


def test_an_evaluation_leaves_weights_mode_and_random_state_alone(policy, engine, plan):
    before, state = weights_hash(policy.module), torch.get_rng_state()
    policy.module.train()
    evaluate(policy, engine, plan)
    assert policy.module.training
    assert weights_hash(policy.module) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in policy.module.parameters())


def test_the_weights_hash_sees_one_bit_and_the_shape():
    layer = torch.nn.Linear(2, 3)
    before = weights_hash(layer)
    assert weights_hash(layer) == before
    layer.weight.data.view(torch.int32)[0, 0] ^= 1
    assert weights_hash(layer) != before
    wide, tall = torch.nn.Linear(2, 3, bias=False), torch.nn.Linear(3, 2, bias=False)
    tall.weight.data = wide.weight.data.reshape(2, 3)
    assert weights_hash(wide) != weights_hash(tall)


def test_the_weights_hash_reads_bf16_and_scalars():
    module = torch.nn.Linear(2, 2).to(torch.bfloat16)
    module.register_buffer("count", torch.tensor(3))
    assert len(weights_hash(module)) == 64


@pytest.mark.parametrize("fail_after", [1, 2, 3])
def test_an_interrupted_evaluation_goes_on_to_the_same_result(
    policy, engine, plan, tmp_path, monkeypatch, fail_after
):
    monkeypatch.setattr(module, "CHUNK", 2)
    whole = evaluate(policy, engine, plan)
    with pytest.raises(Interrupted):
        evaluate_into(tmp_path, policy, Counting(engine, fail_after), plan)
    assert not (tmp_path / "metrics.json").exists()
    rest = Counting(engine)
    again = evaluate_into(tmp_path, policy, rest, plan)
    assert len(rest.temperatures) == 4 - fail_after
    assert again.metrics == whole.metrics
    assert [r.place for r in again.records] == [r.place for r in whole.records]


@pytest.mark.parametrize("kept", range(1, 8))
def test_records_are_whole_after_a_crash_while_they_were_written(policy, engine, plan, tmp_path, kept):
    whole = evaluate_into(tmp_path, policy, engine, plan)
    file = tmp_path / "records.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:kept]))
    again = evaluate_into(tmp_path, policy, engine, plan)
    assert again.metrics == whole.metrics == metrics_of(records.read(file))
    assert sorted(r.place for r in records.read(file)) == sorted(r.place for r in whole.records)


def test_records_of_other_weights_or_settings_are_not_mixed_in(policy, engine, plan, tmp_path):
    done = evaluate(policy, engine, plan).records
    with pytest.raises(StaleRecords, match="other weights"):
        evaluate(policy, engine, plan, done=[dataclasses.replace(r, weights_hash="x") for r in done])
    with pytest.raises(StaleRecords, match="settings"):
        evaluate(policy, engine, dataclasses.replace(plan, seed=8), done=done)
    evaluate_into(tmp_path, policy, engine, plan)
    evaluate_into(tmp_path, policy, engine, dataclasses.replace(plan, seed=8))
    assert {r.sampling["seed"] for r in records.read(tmp_path / "records.jsonl")} == {8}


def test_the_stored_metrics_say_what_they_are_of(policy, engine, plan, tmp_path):
    evaluate_into(tmp_path, policy, engine, dataclasses.replace(plan, overlap=3))
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert stored["overlap"] == 3
    assert stored["problems"] == 4
    assert stored["weights_hash"] == weights_hash(policy.module)
    assert stored["metrics"]["greedy"]["mean"] == 0.75


def test_a_plan_takes_the_evaluation_settings_and_refuses_trained_questions(plan):
    settings = EvalConfig(limit=3, threshold=0.5)
    config = Config(task=plan.task, policy="from_scratch", max_steps=1, eval=settings, seed=5)
    made = plan_of(config, plan.task.examples("train"))
    assert [example.id for example in made.examples] == ["test-1", "test-3", "test-5"]
    assert (made.seed, made.overlap, made.threshold) == (5, 0, 0.5)
    with pytest.raises(DataError, match="1 of 3 evaluation questions"):
        plan_of(config, [plan.examples[1]])
    allowed = config.model_copy(update={"eval": EvalConfig(limit=3, allow_overlap=True)})
    assert plan_of(allowed, [plan.examples[1]]).overlap == 1


def test_a_request_to_stop_ends_an_evaluation(policy, engine, plan):
    with pytest.raises(Interrupted):
        evaluate(policy, engine, plan, should_stop=lambda: True)
