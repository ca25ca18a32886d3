"""Compares the number in a completion with the answer, exactly."""

from __future__ import annotations

import functools
import re
from fractions import Fraction
from typing import ClassVar, Literal

from whet.errors import DataError, nothing_to_compare
from whet.interfaces import Verifier
from whet.text.numbers import answer_number, last_number, marked_number, only_number
from whet.types import Example, Score

Extract = Literal["auto", "tagged", "last", "strict", "flexible"]


class Numeric(Verifier):
    """Full value when the completion's number equals the answer's, as exact rationals: `1,000.0` is `1000`.

    `$` and `%` are read as units: `50%` is 50. Which texts are numbers says `whet.text.numbers`. `strict` and
    `flexible` compare strings instead, by the GSM8K rules of lm-eval (`strict-match`, `flexible-extract`).
    """

    needs_answer: ClassVar[bool] = True

    extract: Extract = "auto"
    """auto: the last `<answer>` pair, else the last `####`, else the last `\\boxed{}`, else the last number.
    tagged: the same without the last resort. last: the last number. strict: lm-eval's first `#### number`.
    flexible: lm-eval's last number."""
    right: float = 1.0
    wrong: float = 0.0
    """Also of a completion without a number, with the detail `no_answer`."""

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The value `right` or `wrong`; raises `DataError` when the answer holds no number."""
        answer = str(answer)  # a number is as good as its digits
        if not answer:
            raise nothing_to_compare("numeric", example)
        found: Fraction | str | None
        gold: Fraction | str
        if self.extract in ("strict", "flexible"):
            found, gold = _lm_eval_extract(text, self.extract), _lm_eval_normalise(answer)
        else:
            found, gold = read_number(text, self.extract), gold_number(answer)
        if found is None:
            return Score(value=self.wrong, detail="no_answer")
        if found != gold:
            return Score(value=self.wrong, detail="wrong")
        return Score(value=self.right)


@functools.lru_cache(maxsize=1024)  # samples of a prompt often say the same
def read_number(text: str, extract: Extract) -> Fraction | None:
    """The number of a completion by one of the exact modes (auto, tagged, last), or None."""
    return {"auto": answer_number, "tagged": marked_number, "last": last_number}[extract](text)


@functools.lru_cache(maxsize=1024)
def gold_number(answer: str) -> Fraction:
    """The number of an answer, which is one number or a solution that marks one."""
    number = marked_number(answer)
    number = only_number(answer) if number is None else number
    if number is None:
        raise DataError(
            f"expected an answer that is one number, or a solution that marks one; found {answer[:200]!r}"
        )
    return number


# The filters and `regexes_to_ignore` of lm-eval's gsm8k.yaml (version 3 of the task), in their order.
_LM_EVAL_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_LM_EVAL_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")


def _lm_eval_extract(text: str, extract: Extract) -> str | None:
    if extract == "strict":
        first = _LM_EVAL_STRICT.search(text)
        return _lm_eval_normalise(first.group(1)) if first else None
    matches = list(_LM_EVAL_FLEXIBLE.finditer(text))
    return _lm_eval_normalise(matches[-1].group()) if matches else None


def _lm_eval_normalise(text: str) -> str:
    text = text.replace(",", "").replace("$", "")
    text = text.rpartition("#### ")[2]  # its pattern is `(?s).*#### `, which costs the square of a long text
    return re.sub(r"\.$", "", text).lower()
