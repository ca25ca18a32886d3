"""The engine over `generate` against the native one, and against settings that a model brings along."""

from types import SimpleNamespace

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

import peaked
from whet.engines.huggingface import HuggingFace
from whet.engines.native import Native
from whet.errors import DataError
from whet.models.gpt2_layout import to_gpt2


def both(policy, samples, **params):
    asked = peaked.requests(policy, samples=samples)
    return (peaked.draw(kind(max_rows=32).build(policy), asked, **params) for kind in (Native, HuggingFace))


@pytest.mark.parametrize("magnitude", [8.0, 20.0])
def test_greedy_tokens_are_those_of_the_native_engine(magnitude):
    native, theirs = both(peaked.policy(magnitude), samples=1, temperature=0.0)
    assert {p: c.token_ids for p, c in native.items()} == {p: c.token_ids for p, c in theirs.items()}


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7}, {"top_k": 4, "top_p": 0.92}], ids=str)
def test_the_same_keys_draw_the_same_completions_as_in_the_native_engine(settings):
    # A uniform number within rounding of a boundary could draw the neighbour: none of these 300 does.
    native, theirs = both(peaked.policy(), samples=50, **settings)
    assert len(native) == 300
    for place, ours in native.items():
        other = theirs[place]
        assert (ours.token_ids, ours.finish_reason, ours.text) == (
            other.token_ids,
            other.finish_reason,
            other.text,
        )
        assert ours.logprobs == pytest.approx(other.logprobs, abs=1e-5)


TRAPS = {
    "do_sample": True,
    "temperature": 0.3,
    "top_k": 2,
    "top_p": 0.4,
    "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 2,
    "suppress_tokens": [3, 4, 5],
    "begin_suppress_tokens": [6],
    "forced_eos_token_id": 2,
    "min_new_tokens": 5,
    "max_length": 3,
    "eos_token_id": [1, 2],
    "pad_token_id": 9,
    "num_beams": 3,
    "max_time": 1e-9,
    "stop_strings": ["7"],
}


@pytest.fixture
def wrapped():
    """A policy around a transformers model, as pretrained ones are."""
    ours = peaked.policy()
    model = to_gpt2(ours.module, ours.tokenizer.eos_id)
    return SimpleNamespace(module=model, tokenizer=ours.tokenizer, version=0, context_length=32)


def test_the_models_own_generation_settings_do_not_act_and_are_kept(wrapped):
    engine, asked = HuggingFace().build(wrapped), peaked.requests(wrapped)
    plain = peaked.draw(engine, asked)
    settings = wrapped.module.generation_config
    for name, value in TRAPS.items():
        setattr(settings, name, value)
    assert peaked.draw(engine, asked) == plain
    assert wrapped.module.generation_config is settings
    assert settings.repetition_penalty == 3.0


def test_dropout_is_off_while_sampling_and_back_on_after(wrapped):
    engine, asked = HuggingFace().build(wrapped), peaked.requests(wrapped)
    plain = peaked.draw(engine, asked)
    block = wrapped.module.transformer.h[0]
    block.mlp.dropout.p = 0.5
    wrapped.module.train()
    block.attn.eval()
    modes = [m.training for m in wrapped.module.modules()]
    assert peaked.draw(engine, asked) == plain
    assert [m.training for m in wrapped.module.modules()] == modes


def test_a_batch_runs_to_its_longest_completion_and_no_further(wrapped):
    calls = []
    hook = wrapped.module.register_forward_pre_hook(lambda *_: calls.append(1))
    found = peaked.draw(HuggingFace().build(wrapped), peaked.requests(wrapped, samples=2))
    hook.remove()
    assert len(calls) == max(len(c.token_ids) for c in found.values())


def test_a_rotary_grouped_query_model_gives_the_log_probabilities_of_its_own_forward():
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=15, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, initializer_range=0.4,
    )  # fmt: skip
    tokenizer = peaked.policy().tokenizer
    model = Qwen2ForCausalLM(config)
    wrapped = SimpleNamespace(module=model, tokenizer=tokenizer, version=0, context_length=32)
    asked = peaked.requests(wrapped)
    for c in peaked.draw(HuggingFace().build(wrapped), asked).values():
        prompt = asked[c.request].prompt_ids
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *c.token_ids]])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(c.token_ids)[:, None])[:, 0]
        # Both sides are float32, and large logits: 1.1e-5 apart where a processor rounds otherwise.
        assert c.logprobs == pytest.approx(expected.tolist(), abs=2e-5)


def test_weights_that_change_without_a_new_version_are_seen_too():
    policy = peaked.policy()
    engine, asked = HuggingFace().build(policy), peaked.requests(policy)
    peaked.draw(engine, asked)
    peaked.disturb(policy, seed=2)
    assert peaked.draw(engine, asked) == peaked.draw(HuggingFace().build(policy), asked)


def test_a_module_that_cannot_generate_is_refused():
    other = SimpleNamespace(module=torch.nn.Linear(2, 2))
    with pytest.raises(DataError, match="found a Linear without generate"):
        HuggingFace().build(other)
