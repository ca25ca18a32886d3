"""How a decoder's queries meet its keys: causal over whole rows, or one new token against a cache.

A model takes a function `(layer, q, k, v) -> out`, all `[B, T, H, D/H]`, and knows nothing of caches and packing.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def causal(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Each token attends to itself and to those before it. Right padding is never seen by a real token.

    k and v may have fewer heads, each shared by as many queries in a row.
    """
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    is_grouped = q.shape[1] != k.shape[1]
    return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=is_grouped).transpose(1, 2)
