"""A small policy whose distributions are peaked, as after training, and ragged prompts to sample from."""

from collections.abc import Sequence

import torch

from whet.engines.huggingface import HuggingFace
from whet.engines.native import Native
from whet.interfaces import Engine
from whet.policies.from_scratch import FromScratch, FromScratchPolicy
from whet.seeding import key
from whet.types import Batch, Completion, Request, SamplingParams

ENGINES = {"native": Native, "huggingface": HuggingFace}
PROMPTS = ("12+34=", "7", "99+1-20=", "5*3=", "1+1=", "00000000000")


def policy(logit_magnitude: float = 8.0) -> FromScratchPolicy:
    """Random in every parameter, gains and biases too; the largest logit on the prompts is as asked."""
    sizes = FromScratch(num_layers=2, num_heads=4, width=32, context_length=32)
    made = sizes.build(["0123456789+-*="], 0, torch.device("cpu"))
    disturb(made)
    with torch.no_grad():
        largest = max(made.module.logits(made.module(_ids(made, p))).abs().max().item() for p in PROMPTS)
        for parameter in made.module.ln_f.parameters():
            parameter.mul_(logit_magnitude / largest)
    return made


def disturb(a_policy: FromScratchPolicy, seed: int = 1) -> None:
    """Adds noise to every parameter, in place, as an update would."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in a_policy.module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.15)


def constant(probabilities: Sequence[float]) -> FromScratchPolicy:
    """Says the same of every token: the last entry is shared by all characters that are not named.

    Entry 0 is the end-of-text token. The final norm has no gain, so every state is its bias, the first unit vector.
    """
    made = policy()
    rest = [probabilities[-1]] * (made.tokenizer.vocab_size - len(probabilities))
    with torch.no_grad():
        made.module.ln_f.weight.zero_()
        made.module.ln_f.bias.zero_()[0] = 1.0
        made.module.wte.weight[:, 0] = torch.tensor([*probabilities, *rest]).log().clamp(min=-100)
    return made


def requests(
    a_policy: FromScratchPolicy, samples: int = 5, prompts: Sequence[str] = PROMPTS
) -> list[Request]:
    return [
        Request(
            prompt_ids=tuple(a_policy.tokenizer.encode(prompt)),
            keys=tuple(key(7, "test", i, j) for j in range(samples)),
        )
        for i, prompt in enumerate(prompts)
    ]


def draw(engine: Engine, asked: Sequence[Request], **params: object) -> dict[tuple[int, int], Completion]:
    """Completions by request and sample."""
    sampling = SamplingParams(**{"max_completion_length": 16, **params})
    return {(c.request, c.sample): c for c in engine.generate(asked, sampling)}


def batch_of(asked: Sequence[Request], completions: Sequence[Completion], temperature: float) -> Batch:
    """The completions as the trainer sees them."""
    rows = [(asked[c.request].prompt_ids, c) for c in completions]
    width = max(len(p) + len(c.token_ids) for p, c in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    logprobs = torch.zeros(len(rows), width)
    for row, (prompt, c) in enumerate(rows):
        end = len(prompt) + len(c.token_ids)
        ids[row, :end] = torch.tensor([*prompt, *c.token_ids])
        mask[row, len(prompt) : end] = True
        logprobs[row, len(prompt) : end] = torch.tensor(c.logprobs)
    return Batch(
        token_ids=ids,
        lengths=torch.tensor([len(p) + len(c.token_ids) for p, c in rows]),
        loss_mask=mask,
        group=torch.tensor([c.request for _, c in rows]),
        truncated=torch.tensor([c.finish_reason == "length" for _, c in rows]),
        rewards=torch.zeros(len(rows), width),
        sampling_logprobs=logprobs,
        temperature=temperature,
    )


def _ids(a_policy: FromScratchPolicy, prompt: str) -> torch.Tensor:
    return torch.tensor([a_policy.tokenizer.encode(prompt)])
