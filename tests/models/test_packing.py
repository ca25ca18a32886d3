"""Packed layouts against a dense mask, against rows one at a time, and by hand."""

import dataclasses

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import tiny
from checkpoints import tiny_checkpoint
from tables import draw
from whet.models.packed_attention import PackedAttention, Packing, flexible
from whet.models.packing import packed, padded
from whet.policies.huggingface import HuggingFace
from whet.types import Batch

CPU = torch.device("cpu")


def batch_of(rows: list[tuple[list[int], int, int]]) -> Batch:
    """Rows of prompt, completion length, and group; the tokens of completions differ from row to row."""
    width = max(len(prompt) + n for prompt, n, _ in rows)
    batch = draw(["x" * width] * len(rows), [0.0] * len(rows), [group for *_, group in rows])
    ids, mask = torch.zeros(len(rows), width, dtype=torch.int64), torch.zeros(len(rows), width).bool()
    for i, (prompt, n, _) in enumerate(rows):
        tokens = [*prompt, *((5 * i + 3 * t) % 11 for t in range(n))]
        ids[i, : len(tokens)] = torch.tensor(tokens)
        mask[i, len(prompt) : len(tokens)] = True
    lengths = torch.tensor([len(prompt) + n for prompt, n, _ in rows])
    return dataclasses.replace(batch, token_ids=ids, loss_mask=mask, lengths=lengths)


ONE, TWO = [1, 2, 3], [4, 5]
RAGGED = batch_of(
    [
        (ONE, 4, 0), (ONE, 1, 0), (ONE, 9, 0),  # one prompt, and a completion of one token
        (TWO, 2, 1), (TWO, 7, 1),
        (ONE, 3, 2),  # the prompt of another group
        ([7, 8, 9, 1], 5, 3),  # a row alone
        ([6, 6, 6], 1, 4), ([6, 6, 6], 1, 4),  # nothing is read but the prompt
        (TWO, 0, 1),  # nothing is trained
    ]
)  # fmt: skip


def test_a_prompt_stands_once_and_last_tokens_and_padding_do_not_stand() -> None:
    layout = packed(batch_of([(ONE, 3, 0), (ONE, 1, 0), (ONE, 2, 0), (TWO, 2, 1)]))
    # 1 2 3, the whole of the row alone 4 5 | 4, and of the completions 0 3 6, 5 and 10 2 all but the last token.
    assert layout.token_ids.tolist() == [[1, 2, 3, 4, 5, 4, 0, 3, 10]]
    assert layout.positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4, 3]]
    # Trained are 0 3 6 | 5 | 10 2 | 4 7: the token before the first of each row is the last of its prompt.
    assert layout.predictors.tolist() == [2, 6, 7, 2, 2, 8, 4, 5]


def test_equal_prompts_of_different_groups_stand_once() -> None:
    assert packed(batch_of([(ONE, 2, 0), (ONE, 2, 1)])).token_ids.tolist() == [[1, 2, 3, 0, 5]]


def test_prompts_of_one_group_that_differ_both_stand() -> None:
    # Rows alone stand as they are: 1 2 3 | 0 and 4 5 | 5.
    assert packed(batch_of([(ONE, 2, 0), (TWO, 2, 0)])).token_ids.tolist() == [[1, 2, 3, 0, 4, 5, 5]]


def test_only_what_stands_before_the_first_trained_token_is_prompt() -> None:
    # Two turns: tokens 3 and 6 are trained, and what stands between them is read by this row alone.
    batch = batch_of([(ONE, 5, 0), (ONE, 2, 0)])
    batch.loss_mask[0] = torch.tensor([0, 0, 0, 1, 0, 0, 1, 0]).bool()
    layout = packed(batch)
    assert layout.token_ids.tolist() == [[1, 2, 3, 0, 3, 6, 5]]
    assert layout.predictors.tolist() == [2, 5, 2, 6]


def test_a_batch_without_a_trained_token_reads_one_and_gives_zero() -> None:
    policy = tiny.policy()
    batch = batch_of([(ONE, 0, 0), (TWO, 0, 0)])
    assert packed(batch).token_ids.shape == (1, 1)
    stats = policy.forward(batch)
    stats.logprobs.sum().backward()
    assert not stats.logprobs.any()


# --- attention ---

PROMPTS, COMPLETIONS, OWNERS = [5, 70, 3, 7, 4], [3, 40, 1, 4, 4, 90], [0, 0, 1, 1, 2, 3]


def dense_mask() -> torch.Tensor:
    """Who sees whom, token by token."""
    tokens = [(i, i, t) for i, n in enumerate(PROMPTS) for t in range(n)]
    tokens += [
        (5 + j, owner, PROMPTS[owner] + t)
        for j, (n, owner) in enumerate(zip(COMPLETIONS, OWNERS, strict=True))
        for t in range(n)
    ]
    span, prompt, position = torch.tensor(tokens).T
    return ((span == span[:, None]) | (span == prompt[:, None])) & (position <= position[:, None])


def random_heads(dtype: torch.dtype, *heads: int) -> list[torch.Tensor]:
    noise, tokens = torch.Generator().manual_seed(0), sum(PROMPTS) + sum(COMPLETIONS)
    return [torch.randn(tokens, h, 8, dtype=dtype, generator=noise).requires_grad_() for h in heads]


def packing() -> Packing:
    return Packing.of(*map(torch.tensor, (PROMPTS, COMPLETIONS, OWNERS)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_packed_attention_and_its_gradient_are_those_of_a_dense_mask(
    dtype: torch.dtype, scale: float | None
) -> None:
    q, k, v = random_heads(dtype, 4, 2, 2)
    found = PackedAttention.apply(q, k, v, packing(), scale)
    heads_first = q.transpose(0, 1), *(x.repeat_interleave(2, 1).transpose(0, 1) for x in (k, v))
    expected = scaled_dot_product_attention(*heads_first, attn_mask=dense_mask(), scale=scale).transpose(0, 1)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    weights = torch.randn(found.shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(
        torch.autograd.grad(found, (q, k, v), weights),
        torch.autograd.grad(expected, (q, k, v), weights),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_says_the_same() -> None:
    q, k, v = (x.detach() for x in random_heads(torch.float32, 4, 2, 2))  # no backward pass of it on a CPU
    attend = flexible(*map(torch.tensor, (PROMPTS, COMPLETIONS, OWNERS)), CPU)
    found = attend(0, q[None], k[None], v[None], 0.7)  # type: ignore[call-arg]
    torch.testing.assert_close(found, packing().attend(0, q[None], k[None], v[None], 0.7), rtol=0, atol=1e-5)


def test_the_gradient_of_packed_attention_is_that_of_finite_differences() -> None:
    small = Packing.of(torch.tensor([3, 2]), torch.tensor([2, 3, 1]), torch.tensor([0, 0, 1]))
    q, k, v = (x[:11].detach().requires_grad_() for x in random_heads(torch.float64, 2, 1, 1))
    assert torch.autograd.gradcheck(lambda *x: PackedAttention.apply(*x, small, None), (q, k, v))


# --- whole models ---

LORA = {"r": 4, "alpha": 12.0}
MODELS = {
    "gpt": None,
    "qwen2": {},
    "qwen3": {},
    "llama": {},
    "qwen2 lora": {"lora": LORA},
    "qwen2 again": {"activation_checkpointing": True},
    "qwen3 lora again": {"lora": LORA, "activation_checkpointing": True},
}


def policy_of(name: str):  # type: ignore[no-untyped-def]
    """With weights away from their beginning, so that every token matters."""
    settings = MODELS[name]
    if settings is None:
        policy = tiny.policy(layers=2, context=32)
    else:
        checkpoint = str(tiny_checkpoint(name.split()[0]))
        policy = HuggingFace(model=checkpoint, **settings).build([], 0, CPU)  # type: ignore[arg-type]
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.module.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=noise)
    return policy


def ragged(policy):  # type: ignore[no-untyped-def]
    """In the policy's vocabulary."""
    return dataclasses.replace(RAGGED, token_ids=RAGGED.token_ids % policy.tokenizer.vocab_size)


def loss_and_gradients(policy, batch):  # type: ignore[no-untyped-def]
    """A sum over tokens of log-probabilities and entropies, weights by token."""
    stats = policy.forward(batch, frozenset({"entropy_gradient"}))
    weights = torch.sin(torch.arange(stats.logprobs.shape[1]) + batch.token_ids)
    loss = ((stats.logprobs + 0.3 * stats.entropy) * weights).sum()
    loss.backward()
    return float(loss.detach())


def gradients(policy):  # type: ignore[no-untyped-def]
    found = {n: p.grad.clone() for n, p in policy.module.named_parameters() if p.grad is not None}
    policy.module.zero_grad()
    return found


@pytest.mark.parametrize("name", MODELS)
def test_packed_rows_give_the_loss_and_every_gradient_of_one_row_at_a_time(name: str) -> None:
    policy = policy_of(name)
    assert policy.packs
    batch = ragged(policy)
    policy.module.double()
    together = loss_and_gradients(policy, batch)
    found = gradients(policy)
    policy.packs = False
    alone = sum(loss_and_gradients(policy, batch.rows(torch.tensor([i]))) for i in range(len(batch)))
    expected = gradients(policy)
    assert together == pytest.approx(alone, rel=1e-6)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        assert (found[key] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-12, key


@pytest.mark.parametrize("name", MODELS)
def test_packed_rows_say_what_padded_rows_say(name: str) -> None:
    policy = policy_of(name)
    batch = ragged(policy)
    found = policy.forward(batch)
    policy.packs = False
    expected = policy.forward(batch)
    torch.testing.assert_close(found.logprobs, expected.logprobs, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.entropy, expected.entropy, rtol=0, atol=1e-5)
    assert padded(batch).token_ids.numel() > 1.5 * packed(batch).token_ids.numel()


def test_recording_log_probabilities_gives_the_bits_of_the_update() -> None:
    policy = policy_of("qwen2")
    with torch.no_grad():
        recorded = policy.forward(RAGGED).logprobs
    assert torch.equal(policy.forward(RAGGED).logprobs, recorded)
