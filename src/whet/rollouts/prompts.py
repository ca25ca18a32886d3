"""Which prompts come next: every epoch is a new permutation, a function of the seed and the epoch alone."""

from collections.abc import Sequence

from whet.seeding import key, permutation
from whet.types import Example


class PromptSampler:
    """Draws examples without replacement, epoch after epoch. Its whole memory is `position`."""

    def __init__(self, examples: Sequence[Example], seed: int) -> None:
        self._examples = examples
        self._seed = seed
        self._order: tuple[int, list[int]] = (-1, [])
        self.position = 0
        """Examples drawn so far."""

    @property
    def epoch(self) -> float:
        """Passes over the examples so far."""
        return self.position / len(self._examples)

    def draw(self, count: int) -> list[Example]:
        """The next examples; a draw may run over the end of an epoch."""
        drawn = [self._at(self.position + i) for i in range(count)]
        self.position += count
        return drawn

    def _at(self, position: int) -> Example:
        epoch, index = divmod(position, len(self._examples))
        if self._order[0] != epoch:
            self._order = (epoch, permutation(key(self._seed, "prompts", epoch), len(self._examples)))
        return self._examples[self._order[1][index]]
