# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
"""The parts of a decode step that are no matrix product, for a GPU: `decode_step_gpu.py` launches them.

This file needs triton, and is imported by those who can do without it. Sums are float32 whatever the tensors hold.
Rows are the first dimension of a grid, and what is launched never depends on what a tensor holds.
"""

import triton
import triton.language as tl


@triton.jit
def attend(
    q, k, v, out, own_keys, own_values, keys, values, prompt, index, lengths, q_row, k_row, v_row, own_room, room,
    scale, HEADS: tl.constexpr, G: tl.constexpr, G_PAD: tl.constexpr, D: tl.constexpr, D_PAD: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One new token of a row, and the G queries that share a head of keys: keeps its key and value, and attends.

    own_keys `[R, HEADS, D, own_room]`, own_values `[R, HEADS, own_room, D]`, of completions; keys and values of prompts
    alike. q_row, k_row, v_row: strides. scale: of scores, for exponents of 2. Softmax is computed as it goes (Milakov
    and Gimelshein, 1805.02867), beginning with the new token alone, which is not read back from the cache.
    """
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d, g = tl.arange(0, D_PAD), tl.arange(0, G_PAD)
    is_d = d < D
    is_query = (g[:, None] < G) & is_d[None, :]
    place = (head * G + g[:, None]) * D + d[None, :]
    queries = tl.load(q + row * q_row + place, mask=is_query, other=0.0)
    new_key = tl.load(k + row * k_row + head * D + d, mask=is_d, other=0.0)
    new_value = tl.load(v + row * v_row + head * D + d, mask=is_d, other=0.0)

    mine, at = row * HEADS + head, tl.load(index + row).to(tl.int32)
    own_keys += mine * D * own_room
    own_values += mine * D * own_room
    tl.store(own_keys + d * own_room + at, new_key, mask=is_d)
    tl.store(own_values + at * D + d, new_value, mask=is_d)

    largest = tl.sum(queries.to(tl.float32) * new_key[None, :].to(tl.float32), 1) * scale
    total = tl.full([G_PAD], 1.0, tl.float32)
    found = tl.zeros([G_PAD, D_PAD], tl.float32) + new_value[None, :].to(tl.float32)
    found, total, largest = _over(
        found, total, largest, queries, own_keys, own_values, at, own_room, scale, D, D_PAD, BLOCK
    )
    number = tl.load(prompt + row).to(tl.int64)
    length, theirs = tl.load(lengths + number).to(tl.int32), (number * HEADS + head) * D * room
    found, total, largest = _over(
        found, total, largest, queries, keys + theirs, values + theirs, length, room, scale, D, D_PAD, BLOCK
    )
    tl.store(out + row * (HEADS * G * D) + place, found / total[:, None], mask=is_query)


@triton.jit
def _over(
    found, total, largest, queries, keys, values, length, room, scale,
    D: tl.constexpr, D_PAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Goes on with a softmax over the first `length` of `room` tokens.

    Scores are cut at the length; loads at the next multiple of 16, so that they stay wide, and at the room.
    """
    d, near = tl.arange(0, D_PAD), (length + 15) // 16 * 16
    is_d = d < D
    for start in range(0, length, BLOCK):
        t = start + tl.arange(0, BLOCK)
        is_there = (t < room) & (t < near)
        some_keys = tl.load(
            keys + d[:, None] * room + t[None, :], mask=is_d[:, None] & is_there[None, :], other=0.0
        )
        some_values = tl.load(
            values + t[:, None] * D + d[None, :], mask=is_there[:, None] & is_d[None, :], other=0.0
        )
        scores = tl.dot(queries, some_keys, input_precision="ieee") * scale
        scores = tl.where(t[None, :] < length, scores, float("-inf"))
        larger = tl.maximum(largest, tl.max(scores, 1))
        share, weights = tl.exp2(largest - larger), tl.exp2(scores - larger[:, None])
        total = total * share + tl.sum(weights, 1)
        more = tl.dot(weights.to(some_values.dtype), some_values, input_precision="ieee")
        found, largest = found * share[:, None] + more, larger
    return found, total, largest


@triton.jit
def rms_norm(
    x, more, weight, out, eps, count, width: tl.constexpr, PAD: tl.constexpr, ROWS: tl.constexpr,
    IS_SUM: tl.constexpr,
):  # fmt: skip
    """x / sqrt(mean(x^2) + eps) * weight of `count` rows; where IS_SUM, `more` is added to x before, in place."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, PAD)
    is_real = (row[:, None] < count) & (column[None, :] < width)
    place = row[:, None] * width + column[None, :]
    numbers = tl.load(x + place, mask=is_real, other=0.0)
    if IS_SUM:
        added = numbers.to(tl.float32) + tl.load(more + place, mask=is_real, other=0.0).to(tl.float32)
        numbers = added.to(numbers.dtype)
        tl.store(x + place, numbers, mask=is_real)
    wide = numbers.to(tl.float32)
    factor = tl.rsqrt(tl.sum(wide * wide, 1) / width + eps)
    gain = tl.load(weight + column, mask=column < width, other=0.0).to(tl.float32)
    tl.store(out + place, wide * factor[:, None] * gain[None, :], mask=is_real)


@triton.jit
def rotate(
    q, k, cos, sin, q_heads: tl.constexpr, k_heads: tl.constexpr, Q_PAD: tl.constexpr, K_PAD: tl.constexpr,
    half: tl.constexpr, PAD: tl.constexpr,
):  # fmt: skip
    """Rotary embedding (Su et al., 2104.09864) of q and k of a row, in place; the first half of sin is negated."""
    row, d = tl.program_id(0).to(tl.int64), tl.arange(0, PAD)
    is_real = d < half
    angles = row * (2 * half) + d
    cos_1 = tl.load(cos + angles, mask=is_real, other=0.0).to(tl.float32)
    cos_2 = tl.load(cos + angles + half, mask=is_real, other=0.0).to(tl.float32)
    sin_1 = tl.load(sin + angles, mask=is_real, other=0.0).to(tl.float32)
    sin_2 = tl.load(sin + angles + half, mask=is_real, other=0.0).to(tl.float32)
    _turn(q + row * (q_heads * 2 * half), cos_1, cos_2, sin_1, sin_2, q_heads, Q_PAD, half, PAD)
    _turn(k + row * (k_heads * 2 * half), cos_1, cos_2, sin_1, sin_2, k_heads, K_PAD, half, PAD)


@triton.jit
def _turn(
    x,
    cos_1,
    cos_2,
    sin_1,
    sin_2,
    heads: tl.constexpr,
    HEADS: tl.constexpr,
    half: tl.constexpr,
    PAD: tl.constexpr,
):
    head, d = tl.arange(0, HEADS), tl.arange(0, PAD)
    is_real = (head[:, None] < heads) & (d[None, :] < half)
    place = x + head[:, None] * (2 * half) + d[None, :]
    one = tl.load(place, mask=is_real, other=0.0).to(tl.float32)
    two = tl.load(place + half, mask=is_real, other=0.0).to(tl.float32)
    tl.store(place, one * cos_1[None, :] + two * sin_1[None, :], mask=is_real)
    tl.store(place + half, two * cos_2[None, :] + one * sin_2[None, :], mask=is_real)


@triton.jit
def swiglu(gate, up, out, count, BLOCK: tl.constexpr):
    """silu(gate) * up (Shazeer, 2002.05202); out may be the gate."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_real = at < count
    x = tl.load(gate + at, mask=is_real, other=0.0).to(tl.float32)
    y = tl.load(up + at, mask=is_real, other=0.0).to(tl.float32)
    tl.store(out + at, x / (1.0 + tl.exp(-x)) * y, mask=is_real)


@triton.jit
def swiglu_backward(gate, up, grad, to_gate, to_up, count, BLOCK: tl.constexpr):
    """With s = sigmoid(gate): grad up s (1 + gate (1 - s)), and grad gate s."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_real = at < count
    x = tl.load(gate + at, mask=is_real, other=0.0).to(tl.float32)
    y = tl.load(up + at, mask=is_real, other=0.0).to(tl.float32)
    dy = tl.load(grad + at, mask=is_real, other=0.0).to(tl.float32)
    s = 1.0 / (1.0 + tl.exp(-x))
    tl.store(to_gate + at, dy * y * s * (1.0 + x * (1.0 - s)), mask=is_real)
    tl.store(to_up + at, dy * x * s, mask=is_real)
