"""Where the tokens of a batch stand when a model reads them, and which state predicts which token.

Two layouts: rows padded on the right; or packed, every distinct prompt once, completions behind, nothing between them.
The one place where predictions are shifted by one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from whet.models import packed_in_c
from whet.models.attention import Attend, causal
from whet.models.packed_attention import Packing, Spans
from whet.models.varlen_attention import is_proven, packing_on
from whet.types import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a model is given: `n` rows of `m` tokens."""

    token_ids: Tensor  # [n, m] int64
    positions: Tensor  # [n, m] int64, of each token in its sequence
    predictors: (
        Tensor  # int64, of each trained token, in the order of `loss_mask`, the place in n * m before it
    )
    attend: Attend

    def states(self, hidden: Tensor) -> Tensor:
        """Of hidden states `[n, m, D]` those that predict a trained token, `[number of trained tokens, D]`."""
        return hidden.flatten(0, 1).index_select(0, self.predictors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What of each row has to be read: `[0, start)` once for all rows of its prompt, and `[start, end)`.

    Token `start` is the first that is trained and `end` the last, whose own state predicts nothing that is trained.
    """

    start: Tensor  # [B] int64, 0 where nothing is trained
    end: Tensor  # [B] int64, 0 where nothing is trained
    prompt: Tensor  # [B] int64, number of the row's prompt, -1 where nothing is trained
    first_rows: Tensor  # [P] int64, for each prompt a row that begins with it

    @classmethod
    def of(cls, batch: Batch) -> "Cut":
        """A prompt is all that stands before the first trained token; prompts are shared if their ids are equal."""
        mask, ids = batch.loss_mask.cpu().int(), batch.token_ids.cpu().numpy()
        start = mask.argmax(1)  # 0 in a row of zeros
        end = torch.where(mask.any(1), mask.shape[1] - 1 - mask.flip(1).argmax(1), 0)
        numbers: dict[bytes, int] = {}
        first_rows: list[int] = []
        prompt = torch.full_like(start, -1)
        for row in end.nonzero()[:, 0].tolist():
            text = ids[row, : int(start[row])].tobytes()
            if text not in numbers:
                numbers[text] = len(numbers)
                first_rows.append(row)
            prompt[row] = numbers[text]
        return cls(
            start=start, end=end, prompt=prompt, first_rows=torch.tensor(first_rows, dtype=torch.int64)
        )

    def split(self) -> Tensor:
        """Where each row is cut in two, `[B]`: behind its prompt, or at its end if it shares that with no other row."""
        rows = self.prompt[self.end > 0].bincount(minlength=len(self.prompt))
        return torch.where(rows[self.prompt] == 1, self.end, self.start)


def can_pack(weight: Tensor) -> bool:
    """Whether there is attention of packed tokens where a model's weight lies: on a CPU, on a GPU in 16 bits."""
    return weight.device.type == "cpu" or is_proven(weight.device, weight.dtype)


def padded(batch: Batch) -> Layout:
    """Every row but its last token, which predicts nothing. Real tokens never see the padding on their right."""
    ids = batch.token_ids[:, :-1]
    place = torch.arange(ids.numel(), device=ids.device).view(ids.shape)
    positions = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
    return Layout(token_ids=ids, positions=positions, predictors=_before(batch, place), attend=causal)


def packed(batch: Batch) -> Layout:
    """One row: each distinct prompt once, then what else must be read of every row, prompt by prompt."""
    cut, width = Cut.of(batch), batch.token_ids.shape[1]
    if not len(cut.first_rows):
        return _of_one_token(batch)
    split = cut.split()
    own = cut.end - split  # [B]
    # Prompts that others attend to come first.
    asked = torch.zeros_like(cut.first_rows).index_add(0, cut.prompt.clamp(min=0), own)
    order = asked.argsort(descending=True, stable=True)
    prompt = order.argsort()[cut.prompt]  # [B]
    rows = prompt.argsort(stable=True)
    rows = rows[own[rows] > 0]
    starts = cut.first_rows[order]
    prompts, completions = split[starts], own[rows]

    heads = Spans(starts * width, prompts).tokens()
    tails = Spans(rows * width + split[rows], completions).tokens()
    place = (prompts.cumsum(0) - prompts)[prompt][:, None] + torch.arange(width)  # right for what is shared
    place.flatten()[tails] = len(heads) + torch.arange(len(tails))
    source = torch.cat([heads, tails]).to(batch.token_ids.device)
    spans = prompts, completions, prompt[rows]
    return Layout(
        token_ids=batch.token_ids.flatten()[source][None],
        positions=(source % width)[None],
        predictors=_before(batch, place[:, :-1].to(source.device)),
        attend=_attention(*spans, source.device),
    )


def _attention(prompts: Tensor, completions: Tensor, owners: Tensor, device: torch.device) -> Attend:
    """Of packed tokens. What torch's kernels need is laid out when it turns out that there is no code in C."""
    if device.type != "cpu":
        return packing_on(device, prompts, completions, owners).attend
    spans, packing = packed_in_c.Spans.of(prompts, completions, owners), list[Packing]()

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
        if packed_in_c.is_possible(q):
            return spans.attend(q[0], k[0], v[0], scale)[None]
        if not packing:
            packing.append(Packing.of(prompts, completions, owners))
        return packing[0].attend(layer, q, k, v, scale)

    return attend


def _of_one_token(batch: Batch) -> Layout:
    """Nothing is trained; a model reads one token all the same, so that a gradient of zero can be had."""
    none = torch.zeros_like(batch.token_ids[:1, :1])
    return Layout(token_ids=none, positions=none, predictors=none[0, :0], attend=causal)


def _before(batch: Batch, place: Tensor) -> Tensor:
    """The place of the token before each trained one. place: `[B, T - 1]`, of every token but the last."""
    return place[batch.loss_mask[:, 1:]]
