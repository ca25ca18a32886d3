"""Loss and gradient against the loss code of TRL 1.16 itself, on the same tensors.

TRL's `_compute_loss` is called unbound: a plain namespace stands for the trainer, our log-probabilities for
the model. One process, one micro-batch. `PYTHONPATH=tests .venv-peers/bin/python
tests/peers/test_trl_losses.py` prints the numbers that the default tests hold.
"""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from trl_case import (
    BETA,
    CASES,
    GROUP,
    LOGPROBS,
    MASK,
    MAX_COMPLETION_LENGTH,
    OLD,
    REF,
    REWARDS,
    SAMPLING,
    TIS,
    fingerprint,
    whet_loss,
)

pytestmark = pytest.mark.peer

LOSS_TYPE = {"gspo": "grpo"}  # TRL's GSPO is its GRPO with sequence-level ratios
EPSILON = {"dapo": (0.2, 0.28), "gspo": (3e-4, 4e-4), "cispo": (0.2, 5.0)}  # CISPO's is the cap itself


def stand_in(case, logprobs):
    """What `_compute_loss` reads of a trainer."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    low, high = EPSILON.get(case.algorithm, (0.2, 0.2))
    identity = SimpleNamespace(
        num_processes=1,
        process_index=0,
        sync_gradients=True,
        device="cpu",
        gather=lambda x: x,
        gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
        pad_across_processes=lambda x, **_: x,
    )
    args = SimpleNamespace(
        delta=None, use_bias_correction_kl=case.kl == "weighted_k3", steps_per_generation=1,
        sapo_temperature_pos=1.0, sapo_temperature_neg=1.05,
    )  # fmt: skip
    return SimpleNamespace(
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="sequence" if case.algorithm == "gspo" else "token",
        beta=BETA if "k3" in case.kl else 0.0,
        loss_type=LOSS_TYPE.get(case.algorithm, case.algorithm),
        epsilon_low=low,
        epsilon_high=high,
        use_vllm=case.has_tis,
        vllm_importance_sampling_correction=case.has_tis,
        current_gradient_accumulation_steps=1,
        max_completion_length=MAX_COMPLETION_LENGTH,
        _entropy_bonus_enabled=False,
        use_adaptive_entropy=False,
        args=args,
        model=SimpleNamespace(training=True),
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        accelerator=identity,
        _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, torch.zeros_like(logprobs), None),
        get_gamma_weights=GRPOTrainer.get_gamma_weights,
        get_off_policy_mask=GRPOTrainer.get_off_policy_mask,
    )


def trl_advantages(case):
    """As TRL computes them inline, with its own standard deviation."""
    from trl.trainer.utils import nanstd

    rewards = REWARDS
    if case.kl == "reward":
        rewards = rewards - BETA * ((OLD - REF) * MASK).sum(-1)
    grouped = rewards.view(2, 3)
    if case.algorithm == "rloo":
        return (grouped - (grouped.nansum(1, keepdim=True) - grouped) / 2).flatten()
    centred = rewards - grouped.mean(1)[GROUP]
    return centred if case.algorithm == "dr_grpo" else centred / (nanstd(grouped, dim=1)[GROUP] + 1e-4)


def trl_loss(case):
    """TRL's loss and its gradient in the log-probabilities."""
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_trainer import RLOOTrainer

    logprobs = LOGPROBS.clone().requires_grad_()
    old = OLD if case.has_old else LOGPROBS
    ids = torch.zeros(6, 5, dtype=torch.int64)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": torch.ones_like(ids[:, :1]),
        "completion_ids": ids,
        "completion_mask": MASK.long(),
        "advantages": trl_advantages(case),
        "num_items_in_batch": MASK.sum(),
        "ref_per_token_logps": REF,
        "old_logps": (old * MASK).sum(-1),
    }
    if case.has_old:
        inputs["old_per_token_logps"] = OLD
    if case.has_tis:  # inline in `_generate_and_score_completions`, mode token_truncate
        inputs["importance_sampling_ratio"] = torch.exp((OLD - SAMPLING) * MASK).clamp(max=TIS)
    trainer = RLOOTrainer if case.algorithm == "rloo" else GRPOTrainer
    loss = trainer._compute_loss(stand_in(case, logprobs), None, inputs)
    loss.backward()
    if case.algorithm == "rloo":
        # To TRL a row without a trained token has the ratio exp(0) = 1 and adds the constant -A / N; to whet nothing.
        loss = loss + (inputs["advantages"] * ~MASK.any(-1)).sum() / len(MASK)
    return loss.detach(), logprobs.grad


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loss_and_gradient_are_those_of_trl(case):
    loss, gradient = whet_loss(case)
    trl, trl_gradient = trl_loss(case)
    assert gradient.norm() > 1e-3
    assert abs(loss - trl) <= 1e-10
    assert (gradient - trl_gradient).abs().max() <= 1e-10


if __name__ == "__main__":
    for case in CASES:
        loss, gradient = trl_loss(case)
        print(f'    "{case.name}": ({loss:.12f}, {gradient.norm():.12f}, {fingerprint(gradient):.12f}),')
