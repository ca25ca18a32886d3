"""A copy of a policy with its adapters folded in, which follows the policy."""

from __future__ import annotations

from typing import Any

import torch

from whet.errors import ConfigError
from whet.interfaces import Policy
from whet.models.fingerprint import digest


class MergedCopy:
    """Made again, into the same tensors, when the adapters are no longer those that it was made of."""

    def __init__(self, policy: Policy) -> None:
        """Raises `ConfigError` where there are no adapters."""
        settings: Any = getattr(policy, "settings", None)
        if getattr(settings, "lora", None) is None:
            raise ConfigError(
                "engine.merged: this policy has no adapters to fold in; remove it (it is for a policy huggingface with "
                "policy.lora)"
            )
        self._policy: Any = policy
        self._module: Any = None
        self._made_of = ""

    @torch.no_grad()
    def module(self) -> Any:
        """The plain model that says what the policy says."""
        trained = {n: p for n, p in self._policy.module.named_parameters() if p.requires_grad}
        if (now := digest(trained)) != self._made_of:
            fresh = self._policy.merged()
            if self._module is None:
                self._module = fresh.eval()
            else:
                for old, new in zip(self._module.parameters(), fresh.parameters(), strict=True):
                    old.copy_(new)
            self._made_of = now
        return self._module
