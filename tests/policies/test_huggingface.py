"""Pretrained policies against transformers' own logits, plain peft, and arithmetic by hand."""

import dataclasses
import importlib.util
import json
import shutil
import time

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config, Gemma2ForCausalLM

import peaked
from checkpoints import tiny_checkpoint
from whet.config import OptimizerConfig
from whet.distributed.world import World
from whet.engines.native import Native
from whet.errors import ConfigError
from whet.models import pretrained
from whet.models.fingerprint import weights_hash
from whet.policies.huggingface import HuggingFace
from whet.tracking.metrics import Metrics
from whet.training.objectives import Imitation
from whet.training.optimizer import Optimizer
from whet.training.update import Learner

CPU = torch.device("cpu")
FAMILIES = ["qwen2", "qwen3", "llama"]
LORA = {"r": 4, "alpha": 12}
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="the extra quant is not installed"
)


def build(family="qwen2", seed=0, **settings):
    return HuggingFace(**{"model": str(tiny_checkpoint(family)), **settings}).build([], seed, CPU)


def moved(policy, scale=0.15, seed=1):
    """Everything that is trained is moved, as by many updates, so that nothing is at its beginning."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=noise) * scale)
    return policy


def sampled(policy, temperature=0.7):
    """Completions of ragged lengths from the engine, and the batch that they make."""
    asked = peaked.requests(policy, samples=2)
    drawn = peaked.draw(Native().build(policy), asked, temperature=temperature)
    return peaked.batch_of(asked, [drawn[place] for place in sorted(drawn)], temperature)


def logits_of(model, seed=0):
    ids = torch.randint(0, 300, (3, 12), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model(input_ids=ids).logits


def gradient(policy, batch, microbatch_tokens=10**6):
    learner = Learner(policy, Optimizer(policy.module, OptimizerConfig()), microbatch_tokens, World())
    learner.backward(Imitation(), batch, Metrics())
    found = torch.cat([p.grad.flatten().double() for p in learner.optimizer.masters])
    learner.optimizer.forget_gradient()
    return found


# --- what it says of tokens ---


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logprobs_are_those_of_the_models_own_logits_row_by_row_without_padding(family, lora):
    policy = moved(build(family, lora=lora))
    batch = sampled(policy)
    found = policy.forward(batch).logprobs
    for row, length in enumerate(batch.lengths.tolist()):
        ids = batch.token_ids[row, :length]
        logprobs = (policy.module(input_ids=ids[None]).logits[0, :-1] / 0.7).log_softmax(-1)
        expected = logprobs.gather(1, ids[1:, None])[:, 0] * batch.loss_mask[row, 1:length]
        assert found[row, 1:length].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        assert not found[row, length:].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_engine_samples_from_the_distribution_that_is_trained(family):
    policy = moved(build(family, lora=LORA))
    batch = sampled(policy)
    assert batch.loss_mask.sum() > 50
    gap = (policy.forward(batch).logprobs - batch.sampling_logprobs).abs().max()
    assert gap < 1e-5


def test_logits_that_are_more_than_the_heads_output_are_taken_from_the_model(tmp_path):
    # Gemma 2 caps them: 2 * tanh(z / 2). The head alone would be wrong by more than 1 here.
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=370, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, final_logit_softcapping=2.0,
        initializer_range=0.4,
    )  # fmt: skip
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_checkpoint("qwen2")).save_pretrained(tmp_path)
    policy = build(model=str(tmp_path))
    batch = sampled(policy)
    uncapped = policy.module.lm_head(policy.module.model(input_ids=batch.token_ids).last_hidden_state)
    assert uncapped.abs().max() > 3
    assert (policy.forward(batch).logprobs - batch.sampling_logprobs).abs().max() < 1e-5


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
def test_neither_micro_batches_nor_padding_change_the_gradient(lora):
    policy = moved(build(lora=lora))
    policy.module.double()
    batch = sampled(policy, temperature=1.0)
    wide = {n: torch.nn.functional.pad(t, (0, 7)) for n, t in batch.tensors().items() if t.dim() == 2}
    whole = gradient(policy, batch)
    assert whole.norm() > 0.01
    for other in (gradient(policy, batch, 40), gradient(policy, dataclasses.replace(batch, **wide))):
        assert (other - whole).abs().max() < 1e-7  # log-probabilities are float32 at least


def test_activation_checkpointing_changes_no_gradient_and_no_logit():
    plain, again = (moved(build(lora=LORA, activation_checkpointing=on)) for on in (False, True))
    batch = sampled(plain)
    calls = []
    layer = again.module.model.layers[0].mlp
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    assert (gradient(again, batch) - gradient(plain, batch)).abs().max() < 1e-6
    assert len(calls) == 2  # forward, and once more in the backward pass
    assert torch.equal(logits_of(again.module), logits_of(plain.module))


# --- adapters ---


def test_new_adapters_change_nothing_and_are_a_function_of_the_seed():
    one, same, other = (build(seed=seed, lora=LORA) for seed in (3, 3, 4))
    assert torch.equal(logits_of(one.module), logits_of(build().module))
    assert weights_hash(one.module) == weights_hash(same.module) != weights_hash(other.module)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    build(lora=LORA)
    assert torch.equal(torch.get_rng_state(), state)


def test_adapters_scale_by_alpha_over_r():
    policy = moved(build(lora={**LORA, "targets": ["down_proj"]}))
    layer = policy.module.model.layers[1].mlp.down_proj
    x = torch.randn(2, 96, generator=torch.Generator().manual_seed(0))
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    expected = layer.base_layer(x) + 12 / 4 * x @ a.T @ b.T
    assert torch.allclose(layer(x), expected, atol=1e-6)
    trained = [n for n, p in policy.module.named_parameters() if p.requires_grad]
    assert len(trained) == 4
    assert all("down_proj.lora_" in n for n in trained)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_logits_are_the_unmerged_ones_and_the_copy_is_a_plain_model(family, tmp_path):
    policy = moved(build(family, lora=LORA))
    before, own = weights_hash(policy.module), logits_of(policy.module)
    merged = policy.merged()
    merged.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(merged) is type(build(family).module)
    assert (own - logits_of(build(family).module)).abs().max() > 0.1
    assert (logits_of(merged) - own).abs().max() < 1e-5
    assert torch.equal(logits_of(again), logits_of(merged))
    assert weights_hash(policy.module) == before


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")
@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_an_adapter_on_one_of_two_tied_layers_unties_them_in_the_merged_model(target, tmp_path):
    policy = moved(build("qwen2", lora={**LORA, "targets": [target]}))
    policy.merged().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is False
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert (logits_of(again) - logits_of(policy.module)).abs().max() <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_adapter_loads_in_plain_peft(family, tmp_path):
    policy = moved(build(family, lora=LORA))
    policy.save(tmp_path)
    theirs = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_checkpoint(family)), tmp_path
    )
    assert (logits_of(theirs) - logits_of(policy.module)).abs().max() < 1e-6
    ids = AutoTokenizer.from_pretrained(tmp_path).encode("1+1", add_special_tokens=False)
    assert ids == policy.tokenizer.encode("1+1")


def peft_adapter(directory, base, **settings):
    """As peft itself writes one, away from zero."""
    model = AutoModelForCausalLM.from_pretrained(base)
    model = get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], **settings)
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    model.save_pretrained(directory)
    return model


def test_a_run_goes_on_from_an_adapter_that_peft_wrote(tmp_path):
    theirs = peft_adapter(tmp_path, tiny_checkpoint("qwen2"))
    policy = build(lora={"adapter": str(tmp_path)})
    assert torch.equal(logits_of(policy.module), logits_of(theirs))
    assert sum(p.requires_grad for p in policy.module.parameters()) == 4  # A and B of q_proj in two layers


def test_adapters_stay_float32_on_a_bf16_base():
    policy = build(lora=LORA, precision="bf16")
    dtypes = {p.requires_grad: p.dtype for p in policy.module.parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}


def test_dropout_is_off_except_where_it_is_asked_for():
    policy = moved(build(lora={**LORA, "dropout": 0.5}, activation_checkpointing=True))
    plain = logits_of(policy.module)
    assert torch.equal(logits_of(policy.module), plain)
    with policy.dropout():
        torch.manual_seed(0)
        assert (logits_of(policy.module) - plain).abs().max() > 0.01
    assert torch.equal(logits_of(policy.module), plain)


# --- saved and loaded ---


@pytest.mark.parametrize(
    "settings", [{}, {"lora": LORA}, {"precision": "bf16"}], ids=["whole", "lora", "bf16"]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_policy_is_the_saved_one_and_saves_the_same_bytes(family, settings, tmp_path):
    policy = moved(build(family, **settings))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    policy.save(tmp_path / "one")
    again = HuggingFace.load(tmp_path / "one", CPU)
    again.save(tmp_path / "two")
    assert torch.equal(logits_of(again.module), logits_of(policy.module))
    assert (again.context_length, again.tokenizer.stop_ids) == (128, policy.tokenizer.stop_ids)
    files = [{p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two")]
    assert files[0] == files[1]


def test_a_whole_policy_is_saved_as_transformers_loads_it(tmp_path):
    policy = moved(build("qwen3"))
    policy.save(tmp_path)
    assert torch.equal(logits_of(AutoModelForCausalLM.from_pretrained(tmp_path)), logits_of(policy.module))
    ends = json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"]
    assert set(ends) == policy.tokenizer.stop_ids


# --- four bits ---


@needs_bitsandbytes
def test_four_bits_hold_the_linear_layers_and_merge_into_what_was_trained(tmp_path):
    policy = moved(build(lora=LORA, quantization="4bit"))
    kinds = {n: type(p).__name__ for n, p in policy.module.named_parameters() if not p.requires_grad}
    packed = {n for n, kind in kinds.items() if kind == "Params4bit"}
    assert len(packed) == 14  # q, k, v, o, gate, up and down in two layers
    own, merged = logits_of(policy.module), policy.merged()
    assert (logits_of(merged) - own).abs().max() < 1e-5
    merged.save_pretrained(tmp_path)
    assert torch.equal(logits_of(AutoModelForCausalLM.from_pretrained(tmp_path)), logits_of(merged))


@needs_bitsandbytes
def test_sampling_leaves_a_4_bit_base_as_it_was():
    policy = moved(build(lora=LORA, quantization="4bit"))
    before = weights_hash(policy.module)
    batch = sampled(policy)
    assert (policy.forward(batch).logprobs - batch.sampling_logprobs).abs().max() < 1e-5
    assert weights_hash(policy.module) == before


def test_the_extra_that_four_bits_need_is_named(monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install bitsandbytes .*'\.\[quant\]'"):
        build(lora=LORA, quantization="4bit")


def test_a_4_bit_base_is_not_trained_itself():
    with pytest.raises(ValueError, match=r"add policy.lora"):
        HuggingFace(model="x", quantization="4bit")


# --- what a person may get wrong ---


def test_a_hub_name_that_cannot_be_reached_says_what_to_do_and_soon(monkeypatch):
    monkeypatch.setattr(pretrained, "hub_is_reachable", lambda: False)
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        build(model="nobody/has-this-model")
    assert time.monotonic() - started < 5
    for part in ("the Hub cannot be reached", "--local-dir", "HF_HOME", "examples/tiny_checkpoint.py"):
        assert part in str(caught.value)


def test_the_hub_is_out_of_reach_where_nothing_listens(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert not pretrained.hub_is_reachable()


def test_a_path_that_is_not_there_is_no_hub_name(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no directory .*nothing"):
        build(model=str(tmp_path / "nothing"))


def test_a_directory_without_a_model_says_what_is_wrong_with_it(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be loaded as a causal language model"):
        build(model=str(tmp_path))


def test_an_adapter_in_place_of_a_model_is_told_where_it_belongs(tmp_path):
    peft_adapter(tmp_path, tiny_checkpoint("qwen2"))
    with pytest.raises(ConfigError, match=r"holds an adapter and no model.*policy\.lora\.adapter="):
        build(model=str(tmp_path))


def test_a_model_that_lacks_weights_is_refused(tmp_path):
    shutil.copytree(tiny_checkpoint("llama"), tmp_path / "cut")
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    (tmp_path / "cut" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ConfigError, match=r"lacks 9 of the weights .* such as model\.layers\.2\."):
        build(model=str(tmp_path / "cut"))


def test_an_adapter_of_another_base_is_refused_with_both_names(tmp_path):
    peft_adapter(tmp_path, tiny_checkpoint("llama"))
    with pytest.raises(ConfigError, match=r"belongs to .*llama_0_32, and policy.model is .*qwen2_0_32"):
        build("qwen2", lora={"adapter": str(tmp_path)})


def test_an_adapter_of_whet_is_known_by_the_weights_of_its_base(tmp_path):
    build(lora=LORA).save(tmp_path)
    with pytest.raises(ConfigError, match=r"trained on .*qwen2_0_32, and .*qwen2_1_32 holds other weights"):
        build(model=str(tiny_checkpoint("qwen2", seed=1)), lora={"adapter": str(tmp_path)})
    elsewhere = shutil.copytree(tiny_checkpoint("qwen2"), tmp_path / "under another name")
    assert build(model=str(elsewhere), lora={"adapter": str(tmp_path)})


@pytest.mark.parametrize(
    "settings",
    [{"precision": "bf16"}, pytest.param({"quantization": "4bit"}, marks=needs_bitsandbytes)],
    ids=["bf16", "4bit"],
)
def test_an_adapter_goes_on_over_its_base_in_other_numbers(settings, tmp_path):
    policy = moved(build(lora=LORA))
    policy.save(tmp_path)
    trained = [p for p in policy.module.parameters() if p.requires_grad]
    found = build(lora={"adapter": str(tmp_path)}, **settings).module.parameters()
    for one, other in zip(trained, (p for p in found if p.requires_grad), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ConfigError, match=r"belongs to .*qwen2_0_32, and policy.model is .*llama_0_32"):
        build("llama", lora={"adapter": str(tmp_path)}, **settings)


def test_saving_an_adapter_asks_the_hub_nothing(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", lambda *a: asked.append(a))
    policy = build(lora=LORA)
    policy._adapter._config.base_model_name_or_path = "owner/name"
    policy.module.peft_config["default"].base_model_name_or_path = "owner/name"
    policy.save(tmp_path)
    assert asked == []


def test_an_adapter_of_other_shapes_is_refused_with_the_first_of_them(tmp_path):
    peft_adapter(tmp_path / "adapter", tiny_checkpoint("qwen2", width=64))
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace("qwen2_0_64", "qwen2_0_32"))
    with pytest.raises(
        ConfigError, match=r"q_proj\.lora_A\.weight is \[2, 64\] in the adapter, and \[2, 32\]"
    ):
        build(lora={"adapter": str(tmp_path / "adapter")})


def test_an_adapter_that_is_no_plain_lora_is_refused(tmp_path):
    peft_adapter(tmp_path, tiny_checkpoint("qwen2"), use_dora=True)
    with pytest.raises(ConfigError, match=r"no plain LoRA.*use_dora"):
        build(lora={"adapter": str(tmp_path)})


def test_a_directory_without_an_adapter_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no adapter: expected adapter_config.json"):
        build(lora={"adapter": str(tmp_path)})


def test_a_target_that_no_layer_has_is_refused():
    with pytest.raises(ConfigError, match=r"cannot take these adapters: .*q_projection"):
        build(lora={"targets": ["q_projection"]})


def test_a_context_beyond_the_models_own_is_refused():
    assert build(context_length=64).context_length == 64
    with pytest.raises(ConfigError, match=r"is 129, and .* reads at most 128 tokens"):
        build(context_length=129)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    shutil.copytree(tiny_checkpoint("qwen2"), tmp_path / "mixed")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "mixed")
    tokenizer.add_tokens(["<more>"])
    tokenizer.save_pretrained(tmp_path / "mixed")
    with pytest.raises(ConfigError, match=r"has 371 tokens, and the model knows 370"):
        build(model=str(tmp_path / "mixed"))
