"""How a decoder's queries meet its keys: causal over whole rows, or one new token against a cache.

A model takes a function `(layer, q, k, v) -> out`, all `[B, T, H, D/H]`, and knows nothing of caches and packing.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def causal(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Each token attends to itself and to those before it. Right padding is never seen by a real token."""
    return _sdpa(q, k, v, None, is_causal=True)


class KVCache:
    """Preallocated keys and values of R rows with room for `length` tokens, `[L, R, T, H, D/H]`.

    Rows in use are kept dense: row i of a decode step is row i of the cache.
    """

    def __init__(
        self, shape: tuple[int, int, int, int, int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    def move(self, source: Tensor, target: Tensor) -> None:
        """Copies rows `source` over rows `target`."""
        self.keys[:, target] = self.keys[:, source]
        self.values[:, target] = self.values[:, source]

    def prefill(self, rows: Tensor, prompts: Tensor) -> Attend:
        """Causal attention over prompts `[P, T]` that writes prompt `prompts[j]` into cache row `rows[j]`."""

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.keys[layer, rows, : k.shape[1]] = k[prompts]
            self.values[layer, rows, : v.shape[1]] = v[prompts]
            return causal(layer, q, k, v)

        return attend

    def decode(self, positions: Tensor) -> Attend:
        """Attention of one new token per row, rows 0..n-1, where token i of the step stands at `positions[i]`."""
        n, width = len(positions), int(positions.max()) + 1
        rows = torch.arange(n, device=positions.device)
        seen = torch.arange(width, device=positions.device) <= positions[:, None]  # [n, width]
        mask = None if bool(seen.all()) else seen[:, None, None]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.keys[layer, rows, positions] = k[:, 0]
            self.values[layer, rows, positions] = v[:, 0]
            return _sdpa(
                q, self.keys[layer, :n, :width], self.values[layer, :n, :width], mask, is_causal=False
            )

        return attend


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, is_causal: bool) -> Tensor:
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal).transpose(1, 2)
