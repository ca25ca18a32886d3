"""The forecast of a run against arithmetic by hand, and against what policy, engine and checkpoint really take."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

import families
from whet.config import PromptConfig, load_config
from whet.engines import native
from whet.engines._flight import Deck
from whet.errors import DataError, VerifierError
from whet.policies.from_scratch import FromScratch
from whet.rollouts.collect import collect
from whet.runs.directory import RunDirectory
from whet.runs.files import read_tensors
from whet.text.prompts import PromptEncoder
from whet.training.footprint import Footprint, footprint
from whet.training.forecast import Sizes, forecast, sizes_of
from whet.training.job import Data, build_policy
from whet.training.preflight import preflight
from whet.types import Batch

CPU = torch.device("cpu")
PROMPT = PromptConfig()
POLICY = Footprint(
    parameters=1000, trained=1000, weight_bytes=4000, trained_bytes=4000, num_layers=2, width=8, kv_width=8
)
SIZES = Sizes(num_train=60, num_test=20, longest_prompt=10, vocab_size=5, policy=POLICY, packs=True)


@pytest.fixture
def config(tiny_config):
    """12 prompts x 5 completions of up to 6 tokens; 4 minibatches, twice."""

    def make(**changes):
        base = {
            "algorithm": {"name": "grpo", "num_minibatches": 4, "num_iterations": 2},
            "batch": {"prompts_per_step": 12, "num_generations": 5, "microbatch_tokens": 100},
            "sampling": {"max_prompt_length": 10, "max_completion_length": 6},
            "engine": {"name": "native", "max_rows": 7},
        }
        return load_config([{**tiny_config, "max_steps": 20, "save_every": 3}, base, changes])

    return make


def test_a_step_is_counted_by_hand(config):
    assert forecast(config(), SIZES)["step"] == {
        "prompts": 12,
        "generations": 5,
        "completions": 60,  # 12 * 5
        "updates": 8,  # 4 * 2
        "completions_per_update": 15,  # 60 / 4
        "microbatches_per_update": 2,  # a group reads 10 + 5 * (6 - 1) = 35 tokens: 2 of 3 in the first
        "max_sampled_tokens": 360,  # 60 * 6
        "max_tokens": 960,  # 60 * 16
    }


def test_a_sequence_longer_than_a_micro_batch_is_one_of_its_own(config):
    few = config(batch={"microbatch_tokens": 5})
    assert forecast(few, SIZES)["step"]["microbatches_per_update"] == 15


def test_a_group_that_is_larger_than_a_micro_batch_is_split(config):
    # 10 + 3 * 5 = 25 tokens in 26, so two parts for 5 completions; 3 prompts in an update
    assert forecast(config(batch={"microbatch_tokens": 26}), SIZES)["step"]["microbatches_per_update"] == 6


def test_a_policy_that_pads_reads_rows_of_full_length(config):
    padded = dataclasses.replace(SIZES, packs=False)
    found = forecast(config(), padded)
    assert found["step"]["microbatches_per_update"] == 3  # 100 // (10 + 6) = 6 rows each, ceil(15 / 6)
    # (6 rows * 16 tokens * (16 * 2 + 2) * 8 + 6 * 6 * 5 * 4) * 4 bytes
    assert found["memory_bytes"]["activations"] == 107328


def test_a_run_is_counted_by_hand(config):
    found = forecast(config(eval_every=6), SIZES)["run"]
    assert (found["steps"], found["updates"]) == (20, 160)  # 20 * 8
    assert found["epochs"] == 4.0  # 20 * 12 / 60
    assert found["evaluations"] == 5  # steps 6, 12, 18, before and after
    assert found["warm_start_steps"] == 40


def test_epochs_decide_the_steps(config):
    # 60 examples / 12 a step = 5 steps an epoch
    assert forecast(config(max_steps=None, num_epochs=1.5), SIZES)["run"]["steps"] == 8


def test_memory_is_counted_by_hand(config):
    assert forecast(config(), SIZES)["memory_bytes"] == {
        "weights": 4000,
        "gradients": 4000,
        "optimizer": 8000,
        "reference": 0,
        "kv_cache": 21504,  # (7 prompts * 16 tokens + 7 rows * 8) * 2 * 2 layers * width 8 * 4 bytes
        "activations": 80960,  # (2 groups * 35 tokens * (16 * 2 + 2) * 8 + 10 * 6 * 5 * 4) * 4 bytes
        "total": 118464,
    }


def test_the_cache_holds_what_is_in_flight_at_once(config):
    # A prompt has room for 16 tokens, a completion for 8, of 2 * 2 * 8 * 4 bytes each.
    wide = config(engine={"max_rows": 512})
    assert forecast(wide, SIZES)["memory_bytes"]["kv_cache"] == (12 * 16 + 60 * 8) * 128
    many = config(engine={"max_rows": 512}, eval={"num_samples": 4})
    assert forecast(many, SIZES)["memory_bytes"]["kv_cache"] == (20 * 16 + 80 * 8) * 128
    imitated = config(engine={"max_rows": 512}, stage="sft", warm_start=None)
    assert forecast(imitated, SIZES)["memory_bytes"]["kv_cache"] == (20 * 16 + 20 * 8) * 128


def test_later_turns_are_prompts_of_their_own_with_the_answers_before_them(config):
    # 60 rows: each a prompt of 10 + 6 -> 16 tokens, and room for 6 -> 8 more
    turns = config(task={"name": "guess_number"}, warm_start=None, engine={"max_rows": 512})
    assert forecast(turns, SIZES)["memory_bytes"]["kv_cache"] == (60 * 16 + 60 * 8) * 128


def test_a_limit_of_the_cache_limits_what_is_in_flight(config):
    # 2 * 2 * 512 * 4 = 8192 bytes a token, 16 tokens of prompt and completion: 8 of them are a megabyte
    wide = dataclasses.replace(SIZES, policy=dataclasses.replace(POLICY, kv_width=512))
    limited = config(engine={"max_rows": 512, "cache_mb": 1})
    assert forecast(limited, wide)["memory_bytes"]["kv_cache"] == 8 * (16 + 8) * 8192


def test_on_a_gpu_the_cache_has_rounded_sizes(config):
    # 12 prompts -> 16 of 10 -> 128 tokens; 60 rows -> 64 of 6 + 7 -> 128
    found = forecast(config(engine={"max_rows": 512}), dataclasses.replace(SIZES, on_gpu=True))
    assert found["memory_bytes"]["kv_cache"] == (16 * 128 + 64 * 128) * 128


def test_the_native_engine_hands_an_unknown_model_over_to_one_with_fewer_rows(config):
    many = config(engine={"max_rows": 512}, eval={"num_samples": 4})
    theirs = dataclasses.replace(SIZES, policy=dataclasses.replace(POLICY, is_known=False))
    # 64 of the 80 above, each with its prompt: 10 + 6 tokens
    assert forecast(many, theirs)["memory_bytes"]["kv_cache"] == 64 * 16 * 128


def test_a_block_with_a_gated_mlp_keeps_as_much_as_was_measured():
    # On tiny Qwen2 and Llama models with an inner width of 3 D: 18.4 (adapters) to 19.8 (whole) times D a layer.
    module = torch.nn.Module()
    module.config = SimpleNamespace(num_hidden_layers=2, hidden_size=64, intermediate_size=192)
    assert footprint(module).saved_per_token / 64 == 2 * 20 + 2  # 8 + 4 * 3, and the head's two


def test_vllm_takes_a_second_copy_of_the_weights_and_the_cache_that_it_is_given(config):
    theirs = config(engine={"name": "vllm", "kv_cache_gb": 0.5})
    ours, found = (forecast(c, SIZES)["memory_bytes"] for c in (config(), theirs))
    assert found["kv_cache"] == 2**29
    assert found["weights"] == 2 * ours["weights"]


def test_copies_of_the_weights_that_the_engine_makes_are_counted(config):
    def weights(**changes):
        policy = dataclasses.replace(POLICY, is_packed=True)
        sizes = dataclasses.replace(SIZES, policy=policy, **changes)
        return [
            forecast(config(engine={"merged": merged}), sizes)["memory_bytes"]["weights"]
            for merged in (False, True)
        ]

    assert weights() == [4000 + 4000, 4000 + 4000 + 4000]  # in an order of its own, and merged
    assert weights(on_gpu=True) == [4000, 4000 + 4000]
    assert footprint(families.model("qwen2")).is_packed
    assert not footprint(families.model("qwen2").bfloat16()).is_packed


def test_a_reference_takes_memory_and_disk(config):
    with_kl = forecast(config(algorithm={"beta": 0.1}), SIZES)
    assert with_kl["memory_bytes"]["reference"] == 4000
    assert with_kl["disk_bytes"]["total"] == 8 * 12000 + 4000


def test_disk_is_counted_by_hand(config):
    # step 0, 3, 6, ..., 18 and 20: 8 checkpoints of weights and two moments, 3 * 1000 * 4 bytes
    found = forecast(config(), SIZES)["disk_bytes"]
    assert found == {"checkpoint": 12000, "checkpoints_kept": 8, "total": 96000}
    assert forecast(config(save_every=0), SIZES)["disk_bytes"]["checkpoints_kept"] == 2  # first and last
    assert forecast(config(keep_checkpoints=1), SIZES)["disk_bytes"]["checkpoints_kept"] == 3  # best, last


def test_the_parameters_are_those_of_the_policy(tiny_config):
    config = load_config([tiny_config])
    # 12 characters of the sums (0-9, +, =) and end-of-text, V = 13; D = 32, context 16:
    # embeddings (13 + 16) * 32, norms 3 * 64, attention 32*96+96 + 32*32+32, mlp 32*128+128 + 128*32+32
    count = 928 + 192 + 4224 + 8352
    assert preflight(config)["policy"] == {"parameters": count, "trained_parameters": count, "vocab_size": 13}


def test_the_longest_prompt_is_looked_for_in_both_splits(tiny_config):
    config = load_config([tiny_config])
    data = Data.load(config)
    policy = build_policy(config, data, torch.device("cpu"))
    long = dataclasses.replace(data.plan.examples[0], prompt="1111+1=")
    both = dataclasses.replace(data, plan=dataclasses.replace(data.plan, examples=[long]))
    assert sizes_of(policy, data, PROMPT, CPU).longest_prompt == 4
    assert sizes_of(policy, both, PROMPT, CPU).longest_prompt == 7


def test_a_checkpoint_takes_what_was_forecast(tiny_run):
    expected = preflight(load_config([tiny_run / "config.yaml"]))["disk_bytes"]
    root = RunDirectory(tiny_run).training_state
    assert len(list(root.glob("step_00*"))) == expected["checkpoints_kept"]
    weights = read_tensors(root / "step_000002" / "model" / "model.safetensors")
    moments = read_tensors(root / "step_000002" / "optimizer.safetensors")
    kept = [*weights.values(), *(t for name, t in moments.items() if not name.endswith(".step"))]
    assert sum(tensor.nbytes for tensor in kept) == expected["checkpoint"]


@pytest.mark.parametrize("max_rows", [512, 7])
@pytest.mark.parametrize("family", ["from_scratch", *families.CONFIGS])
def test_the_cache_takes_what_was_forecast(config, monkeypatch, family, max_rows):
    asked = config(engine={"max_rows": max_rows})
    data = Data.load(asked)
    policy = build_policy(asked, data, CPU)
    policy.module = policy.module if family == "from_scratch" else families.model(family, vocab_size=13)
    sizes = sizes_of(policy, data, PROMPT, CPU)
    decks = []
    monkeypatch.setattr(native, "Deck", lambda *about, **more: decks.append(Deck(*about, **more)) or decks[0])
    encode = PromptEncoder(policy.tokenizer, PROMPT)
    longest = max(data.train, key=lambda example: len(encode(example)))
    prompts = [longest, *(example for example in data.train if example is not longest)]
    items = [(e, tuple(range(asked.batch.num_generations))) for e in prompts[: asked.batch.prompts_per_step]]
    collect(asked.engine.build(policy), encode, items, asked.task, asked.sampling.params())
    prompts, own = decks[0].cache.prompts, decks[0].cache.own
    expected = forecast(asked, dataclasses.replace(sizes, num_test=1))["memory_bytes"]["kv_cache"]
    taken = sum(store.keys.nbytes + store.values.nbytes for store in (prompts, own))
    assert own.rows == min(60, max_rows)
    if max_rows == 512:
        assert taken == expected
    else:
        assert taken <= expected  # a prompt for every row, at most: as many as it happens to be


def test_activations_are_about_what_the_backward_pass_keeps():
    layers, width, rows, prompt, completion, letters = 2, 64, 8, 16, 16, "0123456789abcdef"
    policy = FromScratch(num_layers=layers, num_heads=2, width=width, context_length=32).build(
        [letters], 0, torch.device("cpu")
    )
    length = prompt + completion
    mask = torch.zeros(rows, length, dtype=torch.bool)
    mask[:, prompt:] = True
    batch = Batch(
        token_ids=torch.ones(rows, length, dtype=torch.int64),
        lengths=torch.full((rows,), length),
        loss_mask=mask,
        group=torch.zeros(rows, dtype=torch.int64),
        truncated=torch.zeros(rows, dtype=torch.bool),
        rewards=torch.zeros(rows, length),
        sampling_logprobs=torch.zeros(rows, length),
    )
    weights = {p.untyped_storage().data_ptr() for p in policy.module.parameters()}
    kept = {}  # by storage, the tensors held so that no address is used twice

    def keep(tensor):
        if (place := tensor.untyped_storage().data_ptr()) not in weights:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy.forward(batch)
    measured = sum(t.untyped_storage().nbytes() for t in kept.values())
    config = load_config(
        [
            {
                "max_steps": 1,
                "task": "echo",
                "policy": "from_scratch",
                "batch": {"prompts_per_step": 1, "num_generations": rows},
                "sampling": {"max_prompt_length": prompt, "max_completion_length": completion},
            }
        ]
    )
    sizes = dataclasses.replace(
        SIZES,
        longest_prompt=prompt,
        vocab_size=policy.tokenizer.vocab_size,
        policy=dataclasses.replace(POLICY, num_layers=layers, width=width),
    )
    assert forecast(config, sizes)["memory_bytes"]["activations"] == pytest.approx(measured, rel=0.15)


def test_a_prompt_that_is_too_long_is_found_before_training(tiny_config):
    with pytest.raises(DataError, match="has 4 tokens and 3 are allowed"):
        preflight(load_config([tiny_config], ["sampling.max_prompt_length=3"]))


def test_a_demonstration_that_is_too_long_is_found_before_training(tiny_config):
    settings = ["policy.context_length=5", "sampling.max_completion_length=1"]
    with pytest.raises(DataError, match=r"prompt and demonstration of .* have [67] tokens"):
        preflight(load_config([tiny_config], settings))


def test_a_verifier_that_breaks_on_the_tasks_own_solution_is_found_before_training(tiny_config, tmp_path):
    (tmp_path / "broken.py").write_text("def score(text, answer):\n    raise KeyError('reward')\n")
    with pytest.raises(VerifierError, match="KeyError: 'reward'"):
        preflight(load_config([tiny_config], [f"verifier={tmp_path}/broken.py:score"]))
