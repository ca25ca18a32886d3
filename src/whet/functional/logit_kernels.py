# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
"""What a policy says of each token, from 16-bit logits on a GPU: `logits_gpu.py` launches these.

This file needs triton, and is imported by those who can do without it. Sums are float32.
"""

import triton
import triton.language as tl


@triton.jit
def read(
    logits, targets, logprobs, entropy, normalisers, inverse_temperature, vocab_size, BLOCK: tl.constexpr
):  # fmt: skip
    """Of each row z of logits: z_target - log sum exp(z), log sum exp(z) - sum p z, and log sum exp(z), in one pass."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * vocab_size
    largest, total, mean = float("-inf"), 0.0, 0.0
    for start in range(0, vocab_size, BLOCK):
        at = start + tl.arange(0, BLOCK)
        z = (
            tl.load(logits + at, mask=at < vocab_size, other=float("-inf")).to(tl.float32)
            * inverse_temperature
        )
        larger = tl.maximum(largest, tl.max(z, 0))
        share, weights = tl.exp(largest - larger), tl.exp(z - larger)
        total = total * share + tl.sum(weights, 0)
        mean = mean * share + tl.sum(tl.where(weights > 0, weights * z, 0.0), 0)
        largest = larger
    normaliser = largest + tl.log(total)
    chosen = tl.load(logits + tl.load(targets + row)).to(tl.float32) * inverse_temperature
    tl.store(logprobs + row, chosen - normaliser)
    tl.store(entropy + row, normaliser - mean / total)
    tl.store(normalisers + row, normaliser)


@triton.jit
def change(
    logits, targets, normalisers, entropy, to_logprob, to_entropy, inverse_temperature, vocab_size,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of logits, in their place: ((onehot - p) dL/dlogprob - p (log p + H) dL/dH) / temperature."""
    row, at = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    place, is_real = logits + row * vocab_size + at, at < vocab_size
    z = tl.load(place, mask=is_real, other=float("-inf")).to(tl.float32) * inverse_temperature
    log_p = z - tl.load(normalisers + row)
    p, of_logprob, of_entropy = tl.exp(log_p), tl.load(to_logprob + row), tl.load(to_entropy + row)
    found = -tl.where(p > 0, p * (of_logprob + of_entropy * (log_p + tl.load(entropy + row))), 0.0)
    found += tl.where(at == tl.load(targets + row), of_logprob, 0.0)
    tl.store(place, found * inverse_temperature, mask=is_real)


@triton.jit
def weigh(
    logits, largest, sums, inverse_temperature, vocab_size, chunks, CHUNK: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Of a chunk of a row of logits z: the largest, and of each of its blocks the sum of exp(z - largest)."""
    row, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
    at = chunk * CHUNK + tl.arange(0, CHUNK)
    z = tl.load(logits + row * vocab_size + at, mask=at < vocab_size, other=float("-inf")).to(tl.float32)
    z *= inverse_temperature
    most = tl.maximum(tl.max(z, 0), -1e38)  # of a chunk of -inf too, whose weights are then 0
    tl.store(largest + row * chunks + chunk, most)
    PER: tl.constexpr = CHUNK // BLOCK
    weights = tl.sum(tl.reshape(tl.exp(z - most), [PER, BLOCK]), 1)
    tl.store(sums + (row * chunks + chunk) * PER + tl.arange(0, PER), weights)


@triton.jit
def draw(
    logits, largest, sums, uniform, tokens, logprobs, inverse_temperature, vocab_size, chunks,
    PER: tl.constexpr, PAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A token of each row by inverse CDF over its blocks, then inside one, and its log-probability.

    PER: blocks of a chunk. PAD: a power of two, at least as many as all blocks.
    """
    row, block = tl.program_id(0).to(tl.int64), tl.arange(0, PAD)
    is_real = block < chunks * PER
    most = tl.load(largest + row * chunks + block // PER, mask=is_real, other=-1e38)
    top = tl.max(most, 0)
    weights = tl.load(sums + row * chunks * PER + block, mask=is_real, other=0.0) * tl.exp(most - top)
    total = tl.sum(weights, 0)
    target = tl.load(uniform + row) * total
    chosen = _first_above(tl.cumsum(weights, 0), weights, target, PAD)
    target -= tl.sum(tl.where(block < chosen, weights, 0.0), 0)

    logits += row * vocab_size
    at = chosen * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(logits + at, mask=at < vocab_size, other=float("-inf")).to(tl.float32) * inverse_temperature
    inside = tl.exp(z - top)
    token = chosen * BLOCK + _first_above(tl.cumsum(inside, 0), inside, target, BLOCK)
    tl.store(tokens + row, token.to(tl.int64))
    score = tl.load(logits + token).to(tl.float32) * inverse_temperature
    tl.store(logprobs + row, score - top - tl.log(total))


@triton.jit
def _first_above(cdf, weights, target, COUNT: tl.constexpr):
    """The first index of weight above 0 whose cumulative weight exceeds the target; else the last of weight above 0."""
    at = tl.arange(0, COUNT)
    found = tl.min(tl.where((cdf > target) & (weights > 0), at, COUNT), 0)
    return tl.minimum(found, tl.max(tl.where(weights > 0, at, 0), 0))
