"""Compares the mathematical answer in a completion with the example's: by value, whatever the notation."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar, Literal

from pydantic import Field

from whet.errors import DataError, missing_extra, nothing_to_compare
from whet.interfaces import Verifier
from whet.sandbox import pool
from whet.text.latex import MAX_COMPLETION, TooLarge, canonical, final_answer
from whet.text.tags import boxed, marked_answer
from whet.types import Example, Score
from whet.verifiers import _equality
from whet.verifiers._math_compare import NotExact, compare, exactly
from whet.verifiers._math_restated import is_restated

LOAD_TIMEOUT_S = 60.0


class MathExpression(Verifier):
    """Full value when the completion's final answer has the value of the gold one, in LaTeX or plainly.

    Read are numbers, fractions, radicals, formulas with variables, equations, inequalities, intervals, sets, tuples,
    matrices, percentages, units and words. Decimals are exact: `0.333` is not a third. Of several final answers the
    last marked one counts, and `1 or 2` is a list, which equals no single value. A formula that stands in the question
    is no answer to it. What needs more than rational arithmetic is computed in a worker process, which is killed when
    it is late; nothing of a completion is ever run. Needs the extra `math`.
    """

    needs_answer: ClassVar[bool] = True
    runs_apart: ClassVar[bool] = True

    extract: Literal["auto", "tagged"] = "auto"
    """auto: the last `<answer>` pair, else the last `####`, else the last `\\boxed{}`, else what follows `answer is`,
    else the last formula between dollar signs, else a last line of fewer than three words, else the last number.
    tagged: only the marked ones."""
    right: float = 1.0
    wrong: float = 0.0
    """Also of a completion without an answer (detail `no_answer`), of one that repeats a formula of the question
    (`restated`), and of one that limits leave undecided (`undecided`)."""
    timeout_s: float = Field(default=1.3, gt=0.0)
    """Time for one comparison in a worker; one that takes longer is `undecided`."""
    memory_mb: int = Field(default=512, ge=64)
    """What one comparison may take in a worker beyond what that has."""

    @property
    def waits(self) -> bool:
        """Always: what is no plain number is compared in another process."""
        return True

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The value `right` or `wrong`; details `no_answer`, `wrong`, `restated` and `undecided`.

        Raises `DataError` for an example whose answer is missing or beyond the limits, `ConfigError` without
        math-verify, and `WorkerLost` where no worker can be had.
        """
        gold = _gold(str(answer), example)
        _needs_math_verify()
        try:
            found = final_answer(text) if self.extract == "auto" else _tagged(text)
            if found is None or not canonical(found):
                return Score(value=self.wrong, detail="no_answer")
            verdict = self._verdict(gold, found)
        except TooLarge:
            verdict = "undecided"
        if verdict == "equal" and example is not None and is_restated(found or "", gold, example.prompt):
            verdict = "restated"
        if verdict == "equal":
            return Score(value=self.right)
        return Score(value=self.wrong, detail="wrong" if verdict == "different" else verdict)

    def warm_up(self) -> None:
        """Starts a worker and loads in it what a comparison needs, so that the first one is not late."""
        _needs_math_verify()
        _call("warm_up", timeout_s=LOAD_TIMEOUT_S, memory_mb=None)

    def _verdict(self, gold: str, found: str) -> str:
        """Exact in this process where everything is rational, else in a worker."""
        try:
            return compare(gold, found, exactly)
        except NotExact:
            pass
        try:
            verdict = str(_call("equal", gold, found, timeout_s=self.timeout_s, memory_mb=self.memory_mb))
            if verdict == "unread":
                _call("load", timeout_s=LOAD_TIMEOUT_S, memory_mb=None)
                verdict = str(_call("prove", gold, found, timeout_s=self.timeout_s, memory_mb=self.memory_mb))
        except pool.WorkerTimeout:
            return "undecided"
        except pool.WorkerRaised as error:
            if error.kind in ("MemoryError", "RecursionError"):
                return "undecided"
            raise
        return verdict


def _call(function: str, *args: str, timeout_s: float, memory_mb: int | None) -> object:
    if pool.is_worker():
        return getattr(_equality, function)(*args)
    name = f"whet.verifiers._equality:{function}"
    return pool.shared().call(name, *args, timeout_s=timeout_s, memory_mb=memory_mb)


def _gold(answer: str, example: Example | None) -> str:
    """The answer to compare with: all of it, or what it marks. Raises `DataError` when it cannot be read."""
    if not answer.strip():
        raise nothing_to_compare("math_expression", example)
    marked = marked_answer(answer)
    gold = answer if marked is None else boxed(marked) or marked
    try:
        if canonical(gold):
            return gold
        problem = "nothing is left of it without its punctuation"
    except TooLarge as error:
        problem = str(error)
    whose = "an answer" if example is None else f"the answer of {example.id}"
    raise DataError(
        f"math_expression: expected {whose} that is a formula, a number or a word; found {answer[:200]!r} ({problem})"
    )


def _needs_math_verify() -> None:
    if find_spec("math_verify") is None:
        raise missing_extra("math_expression", "math-verify", "math")


def _tagged(text: str) -> str | None:
    """The marked answer alone."""
    is_marked = len(text) > MAX_COMPLETION or marked_answer(text) is not None
    return final_answer(text) if is_marked else None
