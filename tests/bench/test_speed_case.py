"""Models, prompts and lengths of the speed benchmarks."""

import pytest
from transformers import AutoModelForCausalLM

from speed_case import Case, ForcedLengths, Size, forced_lengths, load_policy, share_of_even, write_checkpoint
from whet.engines.native import Native


def test_uniform_lengths_reach_from_a_tenth_to_the_longest():
    lengths = forced_lengths("uniform", 20_000, 128, seed=0)
    assert (min(lengths), max(lengths)) == (12, 128)
    assert sum(lengths) / 20_000 == pytest.approx((12 + 128) / 2, abs=1)


def test_geometric_lengths_have_a_quarter_of_the_longest_as_mean_before_they_are_cut():
    # E min(n, 128) with p = 4/128 is (1 - (1 - p)^128) / p = 31.45
    lengths = forced_lengths("geometric", 20_000, 128, seed=0)
    assert sum(lengths) / 20_000 == pytest.approx(31.45, abs=0.7)
    assert min(lengths) == 1


@pytest.mark.parametrize("kind", ["uniform", "geometric"])
def test_one_completion_has_the_longest_length(kind):
    assert all(max(forced_lengths(kind, 8, 1000, seed)) == 1000 for seed in range(20))


def test_the_same_case_draws_the_same_lengths_and_prompts():
    assert Case().forced() == Case().forced()
    assert Case().prompts() == Case().prompts()


def test_the_last_group_is_whole():
    assert Case(completions=15, num_generations=8).num_rows == 8


@pytest.mark.parametrize(
    ("size", "millions"),
    [("tiny", 0.85), ("small", 11.0), ("base", 81.8)],
)
def test_the_models_have_the_sizes_that_they_are_named_for(size, millions):
    model = Case(size=size).model
    assert round((model.body + model.head) / 1e6, 2 if size == "tiny" else 1) == millions


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("micro")
    write_checkpoint(directory, Case(size="micro"))
    return directory


def test_matrices_are_counted_as_transformers_builds_them(checkpoint):
    model, size = AutoModelForCausalLM.from_pretrained(checkpoint), Case(size="micro").model
    assert sum(p.numel() for p in model.parameters() if p.dim() == 2) == size.body + size.head


def test_the_cache_of_a_token_is_counted_over_layers_and_heads():
    # 3 layers x 2 of 4 heads of width 16 x keys and values x 4 bytes
    assert Size(8, 64, 3, 4, 2, 8, 8).kv_bytes == 3 * 2 * 16 * 2 * 4


def test_an_engine_makes_the_forced_lengths_group_by_group(checkpoint):
    policy, case = load_policy(checkpoint), Case(size="micro", completion_length=12, num_generations=4)
    engine = ForcedLengths(Native().build(policy), case.forced())
    made = {(c.request, c.sample): c for c in engine.generate(case.requests(), case.params())}
    assert [len(made[i // 4, i % 4].token_ids) for i in range(8)] == case.forced()


def test_token_seven_is_written_as_7(checkpoint):
    tokenizer = load_policy(checkpoint).tokenizer
    assert tokenizer.encode("7 19") == [7, 19]
    assert tokenizer.decode([7, 126, 19, 127]) == "7 19"  # the last two ids are special


def test_the_reward_is_the_share_of_even_numbers():
    assert share_of_even("2 3 8 10") == 0.75
    assert share_of_even("") == 0.0
