"""The native engine over Llama, Qwen2 and Qwen3 against transformers' own `generate` and forward pass."""

import dataclasses
import functools
import importlib.util
import random
from contextlib import contextmanager
from itertools import pairwise

import pytest
import torch
from transformers import GenerationConfig

import attended
import families
import peaked
from checkpoints import tiny_checkpoint
from whet.engines import _flight
from whet.engines.huggingface import HuggingFaceEngine
from whet.engines.native import Native, NativeEngine
from whet.policies.huggingface import HuggingFace
from whet.seeding import key
from whet.types import Request, SamplingParams

FAMILIES = sorted(families.CONFIGS)
LANGUAGES = ["in C", "in torch"]
LORA = {"r": 4, "alpha": 8}
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="the extra quant is not installed"
)
LONGEST = 24
CLOSE = 1e-5
"""Two logits nearer to each other than this may change places: both sides are float32."""


@functools.cache
def policy(family, lora=False, quantization=None):
    """Everything that is trained is moved, as by many updates, and the largest logit on a few prompts is 6."""
    settings = HuggingFace(
        model=str(tiny_checkpoint(family, width=64)), lora=LORA if lora else None, quantization=quantization
    )
    made = settings.build([], 0, torch.device("cpu"))
    trained = torch.nn.ParameterList(p for p in made.module.parameters() if p.requires_grad)
    families.disturb(trained, 0.1 if lora else 0.15)
    with torch.no_grad():
        largest = made.module(input_ids=torch.arange(360).reshape(9, 40)).logits.abs().max()
        made.module.model.norm.weight.mul_(6.0 / largest)
    return made


@pytest.fixture
def llama():
    return policy("llama")


def ragged(count, seed=0):
    """Prompts of 1 to 40 tokens; every fifth is one that was there before."""
    draw = random.Random(seed)
    prompts = []
    for i in range(count):
        new = tuple(draw.randrange(370) for _ in range(draw.randint(1, 40)))
        prompts.append(draw.choice(prompts) if i % 5 == 4 else new)
    return prompts


def requests(prompts, samples=1, limits=None):
    limits = limits or [None] * len(prompts)
    return [
        Request(
            prompt_ids=p, keys=tuple(key(7, "test", i, j) for j in range(samples)), max_completion_length=n
        )
        for i, (p, n) in enumerate(zip(prompts, limits, strict=True))
    ]


def greedy(a_policy, asked, max_rows=512, **extra):
    params = SamplingParams(max_completion_length=LONGEST, temperature=0.0)
    found = Native(max_rows=max_rows).build(a_policy).generate(asked, params, **extra)
    return {c.request: c.token_ids for c in found}


@contextmanager
def without_settings(module):
    """Without the generation settings of the checkpoint, which would end rows."""
    settings, module.generation_config = module.generation_config, GenerationConfig()
    yield module
    module.generation_config = settings


@functools.cache
def generated(a_policy, prompts):
    """Greedy tokens of transformers, `[n, 24]`, and how far the two largest logits were apart at each."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=LONGEST, output_logits=True, return_dict_in_generate=True
    )
    with without_settings(a_policy.module) as module, torch.no_grad():
        out = module.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
    best = torch.stack(out.logits, 1).float().topk(2, -1).values
    return out.sequences[:, width:].tolist(), (best[..., 0] - best[..., 1]).tolist()


def cut(tokens, limit, stop_ids):
    """Tokens up to the limit or the first end-of-text."""
    ends = [i + 1 for i, token in enumerate(tokens) if token in stop_ids]
    return tuple(tokens[: min([limit or LONGEST, *ends])])


def assert_those_of_transformers(a_policy, asked, found):
    """Equal tokens, but that one row of them may turn where the two largest logits are alike."""
    assert sorted(found) == list(range(len(asked)))
    wanted, gaps = generated(a_policy, tuple(r.prompt_ids for r in asked))
    turned = []
    for i, request in enumerate(asked):
        theirs = cut(wanted[i], request.max_completion_length, a_policy.tokenizer.stop_ids)
        if found[i] != theirs:
            first = next((t for t, (a, b) in enumerate(zip(found[i], theirs, strict=False)) if a != b), None)
            assert first is not None, f"request {i} has {len(found[i])} tokens, expected {len(theirs)}"
            turned.append(gaps[i][first])
    assert all(gap < CLOSE for gap in turned)
    assert len(turned) < 2
    different = len({r.prompt_ids for r in asked})
    assert len(set(map(tuple, wanted))) > 0.7 * different  # so there was something to confuse


@contextmanager
def prefilled(a_policy):
    """The prompts that are computed: token ids of each call with more than one token a row."""
    calls = []
    hook = a_policy.module.get_input_embeddings().register_forward_pre_hook(
        lambda _, args: calls.append(args[0].tolist()) if args[0].shape[1] > 1 else None
    )
    yield calls
    hook.remove()


# --- what it draws ---


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_are_those_of_transformers(family, language, monkeypatch):
    attended.steps_in(language, monkeypatch)
    a_policy, prompts = policy(family), ragged(200)
    assert isinstance(Native().build(a_policy), NativeEngine)
    asked = requests(prompts, limits=[1 + i * 7 % 24 for i in range(200)])
    assert_those_of_transformers(a_policy, asked, greedy(a_policy, asked))


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_of_a_model_with_adapters_are_those_of_transformers(family):
    a_policy = policy(family, lora=True)
    asked = requests(ragged(60))
    found = greedy(a_policy, asked)
    assert_those_of_transformers(a_policy, asked, found)


def gap_to_the_forward_pass(a_policy, temperature):
    """The largest difference of a sampled log-probability to one that the module gives a whole row."""
    asked = requests(ragged(30, seed=1), samples=3)
    engine = Native(max_rows=40).build(a_policy)
    found = list(peaked.draw(engine, asked, temperature=temperature, max_completion_length=LONGEST).values())
    batch = peaked.batch_of(asked, found, temperature)
    with torch.no_grad():
        logits = a_policy.module(input_ids=batch.token_ids).logits.float() / temperature
    logprobs = logits[:, :-1].log_softmax(-1).gather(-1, batch.token_ids[:, 1:, None])[..., 0]
    mask = batch.loss_mask[:, 1:]
    assert mask.sum() > 1000
    assert logprobs[mask].std() > 0.5
    return (logprobs - batch.sampling_logprobs[:, 1:])[mask].abs().max().item()


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_sampled_log_probabilities_are_those_of_the_modules_forward_pass(family, lora):
    assert gap_to_the_forward_pass(policy(family, lora), temperature=1.0) < 1e-5


def test_tempered_log_probabilities_are_those_of_the_modules_forward_pass(llama):
    assert gap_to_the_forward_pass(llama, temperature=0.7) < 1e-5


@needs_bitsandbytes
def test_a_4_bit_base_with_adapters_draws_what_transformers_draws():
    a_policy = policy("qwen2", lora=True, quantization="4bit")
    asked = requests(ragged(40))
    assert_those_of_transformers(a_policy, asked, greedy(a_policy, asked))
    assert gap_to_the_forward_pass(a_policy, temperature=1.0) < 1e-5


# --- rows that queue, prompts that are shared ---


@pytest.mark.parametrize("family", FAMILIES)
def test_completions_that_queue_for_five_rows_are_those_of_transformers(family):
    a_policy = policy(family)
    asked = requests(ragged(40, seed=2), limits=[1 + i * 5 % 24 for i in range(40)])
    assert_those_of_transformers(a_policy, asked, greedy(a_policy, asked, max_rows=5))


def test_requests_are_read_when_there_is_room(llama):
    read, ahead = [], []
    asked = requests(ragged(60), limits=[1 + i % 9 for i in range(60)])
    params = SamplingParams(max_completion_length=LONGEST, temperature=0.0)
    stream = (read.append(r) or r for r in asked)
    for landed, _ in enumerate(Native(max_rows=4).build(llama).generate(stream, params)):
        ahead.append(len(read) - landed)
    assert len(read) == len(ahead) == 60
    assert max(ahead) <= 8  # four in flight and four in the queue


def test_a_prompt_whose_rows_are_in_flight_is_not_computed_again(llama):
    one, *others = ragged(4)
    # Four rows: one stays for 20 tokens, others leave, and one is asked for again, twice.
    asked = requests([one, *others, one, others[0], one], limits=[20, 2, 2, 2, 3, 3, 3])
    with prefilled(llama) as calls:
        found = greedy(llama, asked, max_rows=4)
    rows = [row for call in calls for row in call]
    assert len(rows) == 5  # four prompts, and others[0] when it had left
    assert sum(tuple(row[: len(one)]) == one for row in rows) == 1
    assert found[4] == found[6] == found[0][:3]
    assert_those_of_transformers(llama, asked, found)


def test_equal_prompts_of_different_requests_are_computed_once(llama):
    prompts = [p for p in ragged(3) for _ in range(4)]
    with prefilled(llama) as calls:
        found = greedy(llama, requests(prompts))
    assert [len(call) for call in calls] == [3]
    assert_each_as_alone(llama, prompts, found)


def assert_each_as_alone(a_policy, prompts, found):
    """Rows of one prompt have the tokens that transformers finds for it once."""
    unique = list(dict.fromkeys(prompts))
    asked = requests(unique)
    assert_those_of_transformers(a_policy, asked, {i: found[prompts.index(p)] for i, p in enumerate(unique)})
    assert all(found[i] == found[prompts.index(p)] for i, p in enumerate(prompts))


def test_a_longer_prompt_may_come_while_shorter_ones_are_in_flight(llama):
    draw = random.Random(3)
    prompts = [tuple(draw.randrange(370) for _ in range(n)) for n in (3, 2, 3, 1, 17, 40, 5, 33, 2, 40)]
    asked = requests(prompts, limits=[24, 24, 2, 2, 8, 9, 3, 24, 24, 24])
    with prefilled(llama) as calls:
        found = greedy(llama, asked, max_rows=4)
    assert len(calls[0][0]) == 3  # tokens of the longest in the first batch
    assert max(len(call[0]) for call in calls) == 40
    assert_those_of_transformers(llama, asked, found)


def test_many_prompts_are_computed_in_parts_of_limited_size(llama, monkeypatch):
    monkeypatch.setattr(_flight, "PREFILL_TOKENS", 100)
    asked = requests(ragged(40, seed=4))
    with prefilled(llama) as calls:
        found = greedy(llama, asked)
    assert len(calls) > 5
    assert max(len(call) * len(call[0]) for call in calls) <= 100
    assert_those_of_transformers(llama, asked, found)


# --- text and tokens as they come ---


def test_a_stop_string_may_lie_across_the_border_of_two_tokens(llama):
    asked = requests(ragged(20, seed=5), samples=2)
    decode = llama.tokenizer.decode
    engine, shortened = Native(max_rows=16).build(llama), 0
    free = peaked.draw(engine, asked, max_completion_length=LONGEST)
    for stop in borders(free.values(), decode)[:4]:
        stopped = peaked.draw(engine, asked, max_completion_length=LONGEST, stop=(stop,))
        for place, whole in free.items():
            ids, found = whole.token_ids, stopped[place]
            end = next((n for n in range(1, len(ids) + 1) if stop in decode(ids[:n])), None)
            assert found.token_ids == ids[:end]
            if end is not None:
                shortened += end < len(ids)
                assert found.finish_reason == "stop"
                assert found.text == decode(ids[:end]).partition(stop)[0]
    assert shortened >= 4


def borders(completions, decode):
    """Strings of the last letter of one token and the first of the next."""
    found = {}
    for ids in (c.token_ids for c in completions):
        for left, right in pairwise(ids[3:]):
            a, b = decode([left]), decode([right])
            if (a + b).isascii() and a.strip() and b.strip() and len(a + b) > 2:
                found[a[-1] + b[0]] = None
    return list(found)


def test_every_token_is_seen_as_it_comes(llama):
    seen, asked = {}, requests(ragged(15, seed=6), samples=2, limits=[1 + i for i in range(15)])
    params = SamplingParams(max_completion_length=LONGEST)
    engine = Native(max_rows=8).build(llama)
    stream = engine.generate(
        asked,
        params,
        on_token=lambda request, sample, token: seen.setdefault((request, sample), []).append(token),
    )
    for c in stream:
        assert tuple(seen[c.request, c.sample]) == c.token_ids
    assert len(seen) == 30


def test_requests_have_the_completions_that_they_would_have_in_another_order(llama):
    asked = requests(ragged(24, seed=7), samples=2)
    engine = Native(max_rows=9).build(llama)
    forth = peaked.draw(engine, asked, max_completion_length=12)
    back = peaked.draw(engine, asked[::-1], max_completion_length=12)
    for (request, sample), completion in forth.items():
        other = dataclasses.replace(back[23 - request, sample], request=request)
        assert other.token_ids == completion.token_ids


def test_another_architecture_is_sampled_from_by_generate_and_one_line_says_so(caplog):
    policy = HuggingFace(model=str(tiny_checkpoint("llama"))).build([], 0, torch.device("cpu"))
    policy.module.config.hidden_act = "gelu"  # no more one of the known
    with caplog.at_level("INFO", logger="whet"):
        engine = Native().build(policy)
    assert isinstance(engine, HuggingFaceEngine)
    assert [r.getMessage() for r in caplog.records] == [
        "no native engine for LlamaForCausalLM: sampling with generate()"
    ]
    request = Request(prompt_ids=(3, 4, 5), keys=(key(0, "other"),))
    assert len(list(engine.generate([request], SamplingParams(max_completion_length=3)))) == 1
