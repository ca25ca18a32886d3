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
