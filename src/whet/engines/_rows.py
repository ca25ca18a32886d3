"""The rows of a generation: who they belong to, where they stand, and what has been sampled for them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from whet.engines._wishes import Wish
from whet.seeding import uniforms
from whet.text.stopping import Ending

_COLUMNS = 4
_IDLE_SLOT = 0


class Standing:
    """Numbers of the first rows, as views: what is written here is written there."""

    def __init__(self, numbers: Tensor) -> None:
        """numbers: `[4, n]`."""
        self.limit, self.start, self.count, self.slot = numbers.unbind()


class Rows:
    """Row i here is row i of the cache. Its tokens are written where its slot says, and never move."""

    def __init__(self, width: int, device: torch.device) -> None:
        """width: tokens of the longest completion, and those that are sampled beyond its end."""
        self.wishes: list[Wish] = []
        self.prompts: list[int] = []  # of the cache, of each row
        self._begun: list[float] = []  # when each row was admitted
        self._free: list[int] = []
        self._numbers = torch.zeros(_COLUMNS, 0, dtype=torch.int64, device=device)
        self.tokens = torch.zeros(0, width, dtype=torch.int64, device=device)  # [slots, width]
        self.logprobs = torch.zeros(0, width, dtype=torch.float32, device=device)
        self.draws = torch.zeros_like(self.logprobs)  # what decides each token, in [0, 1)

    def __len__(self) -> int:
        return len(self.wishes)

    def clear(self) -> None:
        """Leaves no row."""
        self.wishes, self.prompts, self._begun, self._free = [], [], [], list(range(1, len(self.tokens)))

    def reserve(self, count: int) -> bool:
        """Room for that many rows; whether anything had to be made anew."""
        more = count + 1 - len(self.tokens)
        if more <= 0:
            return False
        self._free += range(max(1, len(self.tokens)), count + 1)
        self._numbers = pad(self._numbers, (0, more))
        self.tokens = pad(self.tokens, (0, 0, 0, more))
        self.logprobs = pad(self.logprobs, (0, 0, 0, more))
        self.draws = pad(self.draws, (0, 0, 0, more))
        return True

    def first(self, count: int) -> Standing:
        """The first rows; beyond the live ones there is what `idle` left."""
        return Standing(self._numbers[:, :count])

    def join(self, wishes: Sequence[Wish], prompts: Sequence[int]) -> Standing:
        """Adds rows without a token, for which there is room."""
        columns = [(w.limit, len(w.prompt_ids), 0, self._free.pop()) for w in wishes]
        here, device = slice(len(self), len(self) + len(wishes)), self._numbers.device
        self._numbers[:, here] = torch.tensor(columns, dtype=torch.int64).T.to(device)
        keys = torch.tensor([w.key for w in wishes]).to(device)
        places = torch.arange(self.draws.shape[1], device=device)
        joined = Standing(self._numbers[:, here])
        self.draws[joined.slot] = uniforms(keys[:, None], places)
        self.wishes += wishes
        self.prompts += prompts
        self._begun += [time.monotonic()] * len(wishes)
        return joined

    def idle(self, count: int) -> None:
        """Sets rows beyond the live ones, up to `count`, to one that may be computed and is never looked at."""
        if count > len(self):
            spare = torch.tensor([0, 1, 1, _IDLE_SLOT]).to(self._numbers.device)
            self._numbers[:, len(self) : count] = spare[:, None]

    def keep(self, index: Sequence[int]) -> None:
        """Leaves these rows, in this order."""
        slots = self.first(len(self)).slot.tolist()
        self._free += [slots[i] for i in set(range(len(self))).difference(index)]
        self._numbers[:, : len(index)] = self._numbers[:, list(index)]
        self.wishes = [self.wishes[i] for i in index]
        self.prompts = [self.prompts[i] for i in index]
        self._begun = [self._begun[i] for i in index]

    @property
    def longest(self) -> int:
        """Tokens of the row that has most of them; 0 where there is none."""
        return max(self.first(len(self)).count.tolist(), default=0)

    def ends(self, steps: int, ending: Ending) -> list[tuple[int, int]]:
        """The rows that one of their last tokens has ended, `steps` of each: row, and the number of its tokens."""
        if ending.needs_text:
            return self._ends_in_text(steps, ending)
        if steps == 1:
            return self._just_ended(set(ending.stop_ids))
        rows = self.first(len(self))
        at = rows.count[:, None] + torch.arange(-steps, 0, device=self.tokens.device)  # [n, steps]
        window = self.tokens[rows.slot[:, None], at.clamp(min=0)]
        # One comparison an id: torch.isin would bring a new tensor to the device at every step.
        stopped = [(window == stop) & (at >= 0) for stop in ending.stop_ids]
        over = torch.stack([at + 1 == rows.limit[:, None], *stopped]).any(0)
        first = over.int().argmax(1, keepdim=True)  # of several largest ones, the first
        counts = torch.where(over.any(1), at.gather(1, first)[:, 0] + 1, 0).tolist()
        return [(row, count) for row, count in enumerate(counts) if count]

    def _just_ended(self, stops: Collection[int]) -> list[tuple[int, int]]:
        """The same for the newest token alone: for some hundred rows lists take less time than ten operations."""
        rows = self.first(len(self))
        newest = self.tokens[rows.slot, rows.count - 1].tolist()
        standing = enumerate(zip(newest, rows.count.tolist(), rows.limit.tolist(), strict=True))
        return [(row, n) for row, (token, n, limit) in standing if n and (n == limit or token in stops)]

    def _ends_in_text(self, steps: int, ending: Ending) -> list[tuple[int, int]]:
        found = []
        for row, (ids, limit) in enumerate(self._written()):
            counts = range(max(1, len(ids) - steps + 1), len(ids) + 1)
            over = (n for n in counts if n == limit or ending.reached(ids[:n]))
            if (count := next(over, None)) is not None:
                found.append((row, count))
        return found

    def newest(self, steps: int, ends: Sequence[tuple[int, int]]) -> Iterator[tuple[Wish, int]]:
        """The last tokens of each row, `steps` of them, up to where it ended."""
        end_of = dict(ends)
        for row, (ids, _) in enumerate(self._written()):
            for token in ids[max(0, len(ids) - steps) : end_of.get(row)]:
                yield self.wishes[row], token

    def late(self, timeout_s: float) -> list[tuple[int, int]]:
        """The rows that have taken that long: row, and the number of its tokens."""
        before = time.monotonic() - timeout_s
        counts = self.first(len(self)).count.tolist()
        return [(row, counts[row]) for row, begun in enumerate(self._begun) if begun <= before]

    def _written(self) -> Iterator[tuple[list[int], int]]:
        """The tokens of each row so far, and how many it may have."""
        rows = self.first(len(self))
        columns = self.tokens[rows.slot].tolist(), rows.count.tolist(), rows.limit.tolist()
        for ids, count, limit in zip(*columns, strict=True):
            yield ids[:count], limit

    def texts(self, ends: Sequence[tuple[int, int]]) -> Iterator[tuple[Wish, list[int], list[float]]]:
        """Wish, tokens and log-probabilities of rows that have ended."""
        slots = self.first(len(self)).slot[[row for row, _ in ends]]
        columns = self.tokens[slots].tolist(), self.logprobs[slots].tolist()
        for (row, n), tokens, logprobs in zip(ends, *columns, strict=True):
            yield self.wishes[row], tokens[:n], logprobs[:n]
