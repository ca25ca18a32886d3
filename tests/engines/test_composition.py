"""The measurement of flips under `bench/`, on a small policy."""

import importlib.util
from pathlib import Path

import pytest

import peaked
from whet import task
from whet.config import SamplingConfig

FILE = Path(__file__).parents[2] / "bench" / "composition.py"
SAMPLING = SamplingConfig(max_prompt_length=16, max_completion_length=12)


@pytest.fixture(scope="module")
def composition():
    spec = importlib.util.spec_from_file_location("composition", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(composition, policy, prompts, samples):
    sums = task("arithmetic", num_train=prompts, num_test=1)
    return composition.measure(policy, sums, sums.examples("train"), SAMPLING, samples)


@pytest.mark.slow
def test_another_composition_flips_at_most_one_completion_in_a_thousand(composition):
    found = measured(composition, peaked.policy(), prompts=250, samples=8)
    assert found["completions"] == 2000
    assert set(found["flips_per_1000"]) == {
        "37 rows", "5 rows", "reversed", "one prompt at a time", "huggingface"
    }  # fmt: skip
    assert found["worst_flips_per_1000"] <= 1.0
    assert found["logprob_gap_max"] < 1e-5


class Disturbed(peaked.ENGINES["huggingface"]):
    """Samples from other weights."""

    def build(self, policy):
        peaked.disturb(other := peaked.policy(), seed=2)
        return super().build(other)


def test_completions_that_differ_are_counted(composition, monkeypatch):
    monkeypatch.setattr(composition, "HuggingFace", Disturbed)
    found = measured(composition, peaked.policy(), prompts=6, samples=4)
    assert found["flips_per_1000"]["huggingface"] == found["worst_flips_per_1000"] > 300
    assert found["flips_per_1000"]["5 rows"] == 0
