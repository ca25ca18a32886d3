"""Random queries, keys and values of prompts and completions, and attention over whole rows in float64."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from whet.engines._flight import DecoderLike
from whet.models import decode_step
from whet.models.kv_cache import CacheSizes, KVCache, Layout, Shape

CPU = torch.device("cpu")


def steps_in(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode steps "in C" or "in torch" for the rest of a test, which is skipped where there is no C compiler."""
    if language == "in torch":
        monkeypatch.setattr(decode_step, "is_possible", lambda *_: False)
    elif not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("this machine has no C compiler")
    else:
        assert decode_step.is_possible(torch.float32, CPU)


class Rows:
    """What rows of a decoder attend with: row i is a completion of prompt `prompt[i]`; `lengths` are the prompts'."""

    def __init__(
        self,
        lengths: Sequence[int],
        prompt: Sequence[int],
        sizes: tuple[int, int, int] = (2, 3, 16),
        tokens: int = 6,
    ) -> None:
        """sizes: heads of keys, queries of each, numbers in a head. tokens: of a completion."""
        self.lengths, self.prompt, self.layers = lengths, prompt, 2
        self.kv_heads, self.grouped, self.size = sizes
        self._noise = torch.Generator().manual_seed(0)
        heads = self.kv_heads * self.grouped
        self.prompt_q, self.prompt_k, self.prompt_v = (
            [self._random(length, count) for length in lengths]
            for count in (heads, self.kv_heads, self.kv_heads)
        )
        self.q, self.k, self.v = (
            [self._random(tokens, count) for _ in prompt] for count in (heads, self.kv_heads, self.kv_heads)
        )

    def _random(self, tokens: int, heads: int) -> Tensor:
        return torch.randn(self.layers, tokens, heads, self.size, generator=self._noise)

    def cache(self) -> KVCache:
        sizes = CacheSizes(
            num_layers=self.layers,
            kv_heads=self.kv_heads,
            head_size=self.size,
            dtype=torch.float32,
            device=CPU,
        )
        return KVCache(sizes)

    def filled(self) -> KVCache:
        """A cache with room for all, and the prompts in it."""
        cache = self.cache()
        cache.reserve(len(self.lengths), max(self.lengths), len(self.prompt), self.k[0].shape[1])
        self.prefill(cache, range(len(self.lengths)))
        return cache

    def prefill(self, cache: KVCache, prompts: Sequence[int], first: int = 0) -> None:
        """Puts prompts into the cache as number `first` and after."""
        attend = cache.prefill(first)
        for layer in range(self.layers):
            attend(layer, *(_padded([x[p][layer] for p in prompts]) for x in self._of_prompts))

    @property
    def _of_prompts(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        return self.prompt_q, self.prompt_k, self.prompt_v

    def decode(
        self,
        cache: KVCache,
        at: Sequence[int],
        rows: Sequence[int] | None = None,
        prompts: Sequence[int] | None = None,
    ) -> Tensor:
        """What the next tokens see, `[layers, n, H, D/H]`.

        at: which token of its completion each row feeds. rows: which row stands at each place of the cache, and
        prompts: which prompt; by default all in their order.
        """
        rows = range(len(self.prompt)) if rows is None else rows
        prompts = range(len(self.lengths)) if prompts is None else prompts
        place = {p: number for number, p in enumerate(prompts)}
        layout = layout_of(
            cache, [place[self.prompt[r]] for r in rows], [self.lengths[p] for p in prompts], at
        )
        attend = cache.decode(layout, torch.tensor(at))
        fed = [(r, t) for r, t in zip(rows, at, strict=True)]
        found = []
        for layer in range(self.layers):
            q, k, v = (
                torch.stack([x[r][layer, t] for r, t in fed])[:, None] for x in (self.q, self.k, self.v)
            )
            found.append(attend(layer, q, k, v)[:, 0])
        return torch.stack(found)

    def expected(self, at: Sequence[int], rows: Sequence[int] | None = None) -> Tensor:
        """The same from whole rows: softmax(q K^T / sqrt(D/H)) V over the prompt and the tokens up to `at`."""
        rows = range(len(self.prompt)) if rows is None else rows
        return torch.stack([self._whole(r, t) for r, t in zip(rows, at, strict=True)], 1)

    def _whole(self, row: int, t: int) -> Tensor:
        p = self.prompt[row]
        k = torch.cat((self.prompt_k[p], self.k[row][:, : t + 1]), 1).double()
        v = torch.cat((self.prompt_v[p], self.v[row][:, : t + 1]), 1).double()
        q = self.q[row][:, t].double().unflatten(1, (self.kv_heads, self.grouped))
        weights = (torch.einsum("lkgd,ltkd->lkgt", q, k) * self.size**-0.5).softmax(-1)
        return torch.einsum("lkgt,ltkd->lkgd", weights, v).flatten(1, 2)


def layout_of(cache: KVCache, prompt: Sequence[int], lengths: Sequence[int], at: Sequence[int]) -> Layout:
    """prompt: of each row. lengths: of each prompt. at: the newest token of each row."""
    shape = Shape(len(prompt), len(lengths), max(Counter(prompt).values()), max(lengths), max(at) + 1)
    return Layout(prompt, lengths, shape, cache.own)


def one_by_one(
    decoder: DecoderLike, ids: Tensor, prompts: Sequence[int], lengths: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """States of the tokens after the prompts, and their places in `ids` `[n, T]`.

    Row i is a sample of prompt `prompts[i]`, which the row begins with. lengths: of each prompt.
    """
    decoder.reserve(ids.shape[1])
    cache = KVCache(decoder.sizes)
    cache.reserve(len(lengths), max(lengths), len(ids), ids.shape[1] - min(lengths))
    for number, length in enumerate(lengths):
        prompt = ids[prompts.index(number), None, :length]
        decoder(prompt, torch.arange(length)[None], cache.prefill(number))
    row, start = torch.arange(len(ids)), torch.tensor([lengths[p] for p in prompts])
    for step in range(ids.shape[1] - max(lengths)):
        at = start + step
        layout = layout_of(cache, prompts, lengths, [step] * len(ids))
        attend = cache.decode(layout, torch.full_like(at, step))
        yield decoder(ids[row, at][:, None], at[:, None], attend)[:, 0], at


def _padded(tokens: Sequence[Tensor]) -> Tensor:
    """`[P, T, heads, D/H]`, with noise behind the end of the shorter ones, which nothing may see."""
    longest = max(len(x) for x in tokens)
    return torch.stack([torch.cat((x, torch.full((longest - len(x), *x.shape[1:]), 9.0))) for x in tokens])
