"""The default source: sample now, with the policy as it is, in this process."""

from collections.abc import Callable, Mapping
from typing import Any

from whet.config import Config
from whet.interfaces import Engine, Task
from whet.rollouts.collect import Item, collect
from whet.rollouts.prompts import PromptSampler
from whet.seeding import key
from whet.text.prompts import PromptEncoder
from whet.types import RolloutGroup, StepGroups


class InlineSource:
    """Draws prompts, samples and scores them; draws more while the algorithm refuses groups (dynamic sampling)."""

    def __init__(
        self,
        config: Config,
        task: Task,
        sampler: PromptSampler,
        engine: Engine,
        encode: PromptEncoder,
        should_stop: Callable[[], bool],
    ) -> None:
        self._config = config
        self._task = task
        self._sampler = sampler
        self._engine = engine
        self._encode = encode
        self._should_stop = should_stop

    @property
    def epoch(self) -> float:
        """Passes over the training prompts so far."""
        return self._sampler.epoch

    def take(self, step: int) -> StepGroups:
        """The scored groups of a step.

        After `batch.max_generation_rounds` rounds the step goes on with the groups it has, be they fewer.
        """
        wanted = self._config.batch.prompts_per_step
        admitted: list[RolloutGroup] = []
        refused: list[RolloutGroup] = []
        for _ in range(self._config.batch.max_generation_rounds):
            drawn = len(admitted) + len(refused)
            for group in self._sample(step, drawn, wanted - len(admitted)):
                (admitted if self._config.algorithm.keep(group) else refused).append(group)
            if len(admitted) == wanted:
                break
        return StepGroups(admitted=tuple(admitted), refused=tuple(refused))

    def _sample(self, step: int, drawn: int, count: int) -> list[RolloutGroup]:
        items: list[Item] = [
            (example, tuple(self._key(step, drawn + i, g) for g in range(self._config.batch.num_generations)))
            for i, example in enumerate(self._sampler.draw(count))
        ]
        params = self._config.sampling.params()
        return collect(self._engine, self._encode, items, self._task, params, self._should_stop)

    def _key(self, step: int, prompt: int, sample: int) -> int:
        return key(self._config.seed, "rollout", step, prompt, sample)

    def observe(self, groups: StepGroups) -> None:
        """Nothing to learn: every prompt is as likely as before."""

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready state."""
        return {"position": self._sampler.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes a saved state back."""
        self._sampler.position = state["position"]
