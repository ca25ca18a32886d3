"""A probe without manners: it touches all that it can reach."""

import random

import numpy
import torch

from whet.interfaces import Probe


class Rude(Probe):
    """Overwrites batches, takes gradients in place, draws random numbers, switches modes and leaves grad mode off."""

    def scored(self, groups):
        return self._noise()

    def annotated(self, batch):
        batch.advantages.fill_(7.0)
        batch.rewards.fill_(7.0)
        return self._noise()

    def before_update(self, batch, loss_of):
        loss_of(torch.arange(len(batch))).backward()
        batch.token_ids.zero_()
        for module in loss_of.learner.policy.module.modules():
            module.training = not module.training
        return self._noise()

    def after_update(self, batch):
        batch.loss_mask.fill_(False)
        return self._noise()

    def _noise(self):
        torch.set_grad_enabled(False)
        return {"rude/noise": float(torch.rand(())) + random.random() + float(numpy.random.rand())}
