"""The tensors on which whet and TRL 1.16 are compared, and whet's answers. Plain fractions, the same everywhere."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from whet import registry
from whet.functional.reduction import loss_weights
from whet.training.terms import loss_terms, reward_with_kl
from whet.types import Batch, TokenStats

MAX_COMPLETION_LENGTH = 16
BETA = 0.04

# Two groups of three completions: a length of 1, and a row that is masked as a whole.
LENGTHS = torch.tensor([5, 1, 3, 0, 4, 2])
GROUP = torch.tensor([0, 0, 0, 1, 1, 1])
REWARDS = torch.tensor([1.0, 0.0, 0.5, 1.0, 0.0, 0.25], dtype=torch.float64)

ROW, COLUMN = torch.arange(6)[:, None], torch.arange(5)
MASK = LENGTHS[:, None] > COLUMN
LOGPROBS = -(1.0 + (7 * ROW + 3 * COLUMN) % 5).double() / 4
# Ratios from 0.74 to 1.35. Per completion, too, some lie inside the bounds and some outside.
OLD = LOGPROBS + ((4 * ROW + 2 * COLUMN + 2) % 7 - 3).double() / 10
# The sampler's: weights from 0.55 to 1.82 against the old ones, some beyond the cap of 1.5.
SAMPLING = OLD + ((5 * ROW + 3 * COLUMN) % 7 - 3).double() / 5
TIS = 1.5
REF = LOGPROBS + ((2 * ROW + COLUMN) % 5 - 2).double() / 5


@dataclass(frozen=True)
class Case:
    """One algorithm in one setting."""

    algorithm: str
    has_old: bool
    kl: str = "none"
    has_tis: bool = False

    @property
    def name(self) -> str:
        """For test ids and the table of numbers."""
        kl = "" if self.kl == "none" else f" {self.kl}"
        return f"{self.algorithm}{' old' * self.has_old}{kl}{' tis' * self.has_tis}"


def _kl_variants(algorithm: str, has_old: bool) -> list[str]:
    if algorithm == "rloo":
        return ["none", "reward"] if has_old else ["none"]
    # GSPO's weighted estimator differs on purpose: whet weighs each token by its own ratio, TRL by the sequence's.
    return ["none", "k3"] if algorithm == "gspo" else ["none", "k3", "weighted_k3"]


CASES = [
    Case(algorithm, has_old, kl)
    for algorithm in ("grpo", "dr_grpo", "bnpo", "dapo", "gspo", "cispo", "rloo")
    for has_old in (False, True)
    for kl in _kl_variants(algorithm, has_old)
]
# In GSPO the gradients differ on purpose: whet weighs each token by its own importance, TRL by the mean of its row.
CASES += [Case(algorithm, True, "k3", has_tis=True) for algorithm in ("grpo", "dr_grpo", "dapo", "cispo")]


def whet_loss(case: Case) -> tuple[Tensor, Tensor]:
    """The loss of one update and its gradient in the log-probabilities, by whet."""
    settings = {} if case.kl == "none" else {"beta": BETA}
    if case.kl in ("k3", "weighted_k3"):
        settings |= {"kl_in": "loss", "kl_estimator": case.kl}
    if case.has_tis:
        settings |= {"tis": TIS}
    algorithm = registry.build("algorithms", {"name": case.algorithm, **settings})
    arrives = torch.zeros(6, 5, dtype=torch.float64)
    arrives[:, 0] = REWARDS
    batch = Batch(
        token_ids=torch.zeros(6, 5, dtype=torch.int64),
        lengths=torch.full((6,), 5),
        loss_mask=MASK,
        group=GROUP,
        truncated=torch.zeros(6, dtype=torch.bool),
        rewards=arrives,
        sampling_logprobs=SAMPLING,
        max_completion_length=MAX_COMPLETION_LENGTH,
        old_logprobs=OLD if case.has_old else None,
        ref_logprobs=REF,
    )
    batch = dataclasses.replace(batch, rewards=reward_with_kl(algorithm, batch))
    batch = dataclasses.replace(batch, advantages=algorithm.advantages(batch, {}))
    num_tokens = int(MASK.sum())
    weights = loss_weights(MASK, algorithm.reduction, 6, num_tokens, MAX_COMPLETION_LENGTH, torch.float64)
    logprobs = LOGPROBS.clone().requires_grad_()
    terms = loss_terms(algorithm, batch, TokenStats(logprobs=logprobs, entropy=torch.zeros_like(logprobs)))
    loss = torch.stack([(weights * term).sum() for term in terms.values()]).sum()
    loss.backward()
    return loss.detach(), logprobs.grad


def fingerprint(gradient: Tensor) -> float:
    """Half the sum of the gradient's entries, weighted by 1, 2, 3, ... in reading order."""
    return float((gradient * torch.arange(1, 31).view(6, 5)).sum()) / 2
