"""Attacks a reward before anyone trains on it: what wins without knowing the answer, and what is wrongly judged.

A policy finds whatever a reward pays for. An attack succeeds when its mean reward beats that of the best constant
answer, by more than chance: a constant is what a policy learns that never reads the prompt, and no reward can tell it
from a guess.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from whet.errors import DataError, VerifierError
from whet.evals import attacks
from whet.evals.known_answers import Writer, right, writer, wrong
from whet.functional.statistics import confidence_interval, quantile
from whet.interfaces import Task
from whet.rollouts.episodes import episode_seed, replay
from whet.rollouts.score import Scoring, score_text
from whet.types import Example, Score

_CONSTANT_GOLDS = 12
_BUDGET_S = 60.0
_MOST_LOST_S = 20.0
"""Seconds of scores that failed, after which there is no point in more of them."""
_LEAST = 16
_RARE = 0.01
"""Or a sign test as rare as this: on few examples an interval of a mean says little."""
_SURE = 2.0
"""Half widths of a 95% interval that a difference has to clear: some hundred texts are tried, and one is picked."""


@dataclass(frozen=True, slots=True)
class Attack:
    """The best text of a family of attacks."""

    family: str
    variant: str
    mean: float
    above_constant: float
    """Its mean less that of the best constant answer."""
    margin: float
    """What that difference has to clear."""

    @property
    def succeeds(self) -> bool:
        """Whether it beats every constant answer, by more than chance."""
        return self.above_constant > self.margin + 1e-9


@dataclass(frozen=True, slots=True)
class Pairs:
    """Judgements of texts whose verdict is known: how many, and those that are wrong."""

    count: int
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found about a reward."""

    name: str
    examples: int
    full: float
    gold: str
    """A solution of the task, as it was written."""
    gold_mean: float
    gold_below: tuple[str, ...]
    """Examples whose own solution does not get the full value, with the reason."""
    constant: str
    constant_mean: float
    attacks: tuple[Attack, ...]
    accepted: Pairs
    """Wrong answers; those with the full value are false accepts."""
    rejected: Pairs
    """Right answers written a little differently; those below the full value are false rejects."""
    undetermined: tuple[str, ...]
    """Texts that got two different scores."""
    failures: tuple[str, ...]
    """Texts on which the reward itself failed."""
    p50_ms: float
    p99_ms: float

    @property
    def defects(self) -> list[str]:
        """In one sentence each, with an example."""
        found = [
            f"{a.family} ({a.variant}) gets {a.mean:.3g} on average, the best constant answer {self.constant_mean:.3g}"
            for a in self.attacks
            if a.succeeds
        ]
        known = [
            (f"solutions of the task do not get the full {self.full:.3g}", self.gold_below),
            ("wrong answers get the full value", self.accepted.wrong),
            ("right answers written a little differently do not", self.rejected.wrong),
        ]
        if self.gold_below and math.isnan(self.full):
            known = [("solutions of the task have no score", self.gold_below)]
        elif self.gold_mean <= self.constant_mean + 1e-9:
            found.append(
                f"right answers get {self.gold_mean:.3g} on average, a constant one ({self.constant}) as much; a right "
                f"one is {self.gold[-60:]!r}"
            )
            # Without a full value nothing else is known.
            known = known[:1] if self.full > self.constant_mean else []
        for what, cases in (
            *known,
            ("texts got two different scores", self.undetermined),
            ("texts made the reward itself fail", self.failures),
        ):
            if cases:
                found.append(f"{len(cases)} {what}, such as {cases[0]}")
        return found


def audit(task: Task, examples: Sequence[Example], full: float | None = None, most: int = 64) -> Audit:
    """Attacks the rewards of some examples.

    full: what a right answer gets; default: the best that a solution of the task gets, of a graded task the least.
    most: how many examples; fewer where one score takes long. A task with turns gets the same text in every turn; one
    whose examples have no solution is attacked only. Raises `DataError` when there is nothing to audit with, and
    `VerifierError` when the reward itself fails so slowly that there would be no end.
    """
    if not examples:
        raise DataError(f"{task.name or 'the task'} has no example to audit with")
    solved = [e for e in examples if e.demonstration or e.answer]
    if not solved and not task.has_turns:
        raise DataError(
            f"{task.name or 'the task'} has no example with an answer or a demonstration to audit with"
        )
    pool, probe = (solved or examples)[:most], _Probe(task)
    write = writer(task, pool)
    cost_s, lost = _tried(probe, pool[0])
    pool = pool[: max(_LEAST, int(_BUDGET_S / cost_s))]
    known = pool if solved else ()
    golds = [probe.again(e, write(e)) for e in known]
    values = [score.value for score in golds if score.ok]
    constant, base = _best_constant(probe, pool, _constants(solved, pool, write))
    if task.is_graded:  # how well, and not whether: what counts as right is whatever beats a guess
        beating = [s.value for s, guess in zip(golds, base, strict=False) if s.value > guess + 1e-9]
        values = beating or values
    best = full if full is not None else (min if task.is_graded else max)(values, default=math.nan)
    attacked = _attacked(probe, pool, base, lost)
    for example in known[:_LEAST]:
        for text in wrong(example, solved, write)[:1]:
            probe.again(example, text)
    accepted = probe.judged(known, lambda e: wrong(e, solved, write), lambda v: v >= best - 1e-9)
    rejected = probe.judged(known, lambda e: right(write(e)), lambda v: v < best - 1e-9)
    below = zip(known, golds, strict=True)
    return Audit(
        name=task.name,
        examples=len(pool),
        full=best,
        gold=write(pool[0]) if solved else "",
        gold_mean=statistics.fmean(s.value for s in golds if s.ok) if values else math.nan,
        gold_below=tuple(f"{e.id} ({s.detail or s.value})" for e, s in below if not s.value >= best - 1e-9),
        constant=constant,
        constant_mean=math.fsum(base) / len(base),
        attacks=attacked,
        accepted=accepted,
        rejected=rejected,
        undetermined=tuple(probe.undetermined),
        failures=tuple(probe.failures),
        p50_ms=1000 * quantile(probe.seconds, 0.5),
        p99_ms=1000 * quantile(probe.seconds, 0.99),
    )


class _Probe:
    """Asks for scores, and keeps what goes wrong with them."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._lost_s = 0.0
        self.undetermined: list[str] = []

    def again(self, example: Example, text: str) -> Score:
        """The score of a text that is scored twice."""
        first, second = self._score(example, text), self._score(example, text)
        if repr(first) != repr(second):
            self.undetermined.append(f"{text[:60]!r} of {example.id}: {first.value:g}, then {second.value:g}")
        return self._noted(first, example, text)

    def values(self, asked: Sequence[tuple[Example, str]]) -> list[float]:
        """The values of many texts; a reward that fails pays nothing, and is noted."""
        if self._task.has_turns:
            scores = [self._score(example, text) for example, text in asked]
        else:
            with Scoring(self._task) as scoring:
                futures = [scoring.submit(example, text) for example, text in asked]
                scores = [future.result() for future in futures]
        noted = [self._noted(s, e, t) for s, (e, t) in zip(scores, asked, strict=True)]
        return [score.value if score.ok else 0.0 for score in noted]

    def value(self, example: Example, text: str) -> float:
        """The value of one text; NaN where the reward fails."""
        return self._noted(self._score(example, text), example, text).value

    def _score(self, example: Example, text: str) -> Score:
        start = time.perf_counter()
        found = self._found(example, text)
        seconds = time.perf_counter() - start
        self.seconds.append(seconds)
        if found.is_failure:
            self._lost_s += seconds
        if self._lost_s > _MOST_LOST_S:
            raise VerifierError(
                f"the reward itself fails, and takes long for it, so the audit ended: {text[:60]!r} of {example.id}: "
                f"{found.status}: {found.detail}. Mend it, or set a shorter verifier.timeout_s"
            )
        return found

    def _found(self, example: Example, text: str) -> Score:
        if self._task.has_turns:
            answers = [text] * self._task.turn_rules(example).max_turns
            return replay(self._task, example, episode_seed(0), answers, "stop")
        return score_text(self._task, example, text)

    def judged(
        self,
        pool: Sequence[Example],
        texts: Callable[[Example], list[str]],
        is_wrong: Callable[[float], bool],
    ) -> Pairs:
        """The judgements of known texts that are wrong."""
        asked = [(example, text) for example in pool for text in texts(example)]
        values = self.values(asked)
        wrong = [
            f"{text[-60:]!r} of {example.id}, which gets {value:g}"
            for (example, text), value in zip(asked, values, strict=True)
            if is_wrong(value)
        ]
        return Pairs(len(asked), tuple(wrong))

    def _noted(self, score: Score, example: Example, text: str) -> Score:
        if score.is_failure:
            self.failures.append(f"{text[:60]!r} of {example.id}: {score.status}: {score.detail[:120]}")
        return score


def _tried(probe: _Probe, example: Example) -> tuple[float, set[tuple[str, str]]]:
    """Seconds that the texts for an example take, attacks and constants, and the attacks on which the reward fails.

    One failure is enough to know; the same text again may take its whole deadline again.
    """
    texts = attacks.texts([*attacks.FAMILIES], example.prompt)
    probe.values([(example, "")])  # starts what has to be started
    start = time.perf_counter()
    lost = {key for key, text in texts.items() if math.isnan(probe.value(example, text))}
    return 2 * max(time.perf_counter() - start, 1e-6), lost


def _constants(solved: Sequence[Example], pool: Sequence[Example], write: Writer) -> dict[str, str]:
    """Guesses, and what solves some other example; where one text solves them all, it is no guess."""
    own = {write(e) for e in pool}
    others = (list(solved[len(pool) :]) or list(pool))[:_CONSTANT_GOLDS] if len(own) > 1 else []
    return {**attacks.constants(), **{f"the solution of {e.id}": write(e) for e in others}}


def _best_constant(
    probe: _Probe, pool: Sequence[Example], constants: Mapping[str, str]
) -> tuple[str, list[float]]:
    """The constant answer with the highest mean, and its values. An example's own solution is no constant for it."""
    found = {}
    for name, text in constants.items():
        found[name] = probe.values([(e, text) for e in pool])
    best = max(found, key=lambda name: math.fsum(found[name]))
    return best, found[best]


def _attacked(
    probe: _Probe, pool: Sequence[Example], base: Sequence[float], lost: set[tuple[str, str]]
) -> tuple[Attack, ...]:
    """The best variant of each family, beside the best constant answer."""
    found = []
    for family in attacks.FAMILIES:
        texts = [attacks.texts([family], example.prompt) for example in pool]
        variants = []
        for key in texts[0].keys() - lost:
            values = probe.values([(e, t[key]) for e, t in zip(pool, texts, strict=True)])
            above = [value - constant for value, constant in zip(values, base, strict=True)]
            interval = confidence_interval(above, range(len(above)))
            margin = _SURE * interval.half_width if math.isfinite(interval.half_width) else 0.0
            margin = 0.0 if _sign_test(above) < _RARE else margin
            variants.append(Attack(*key, math.fsum(values) / len(values), interval.mean, margin))
        if variants:
            found.append(max(variants, key=lambda a: (a.succeeds, a.above_constant, a.variant)))
    return tuple(found)


def _sign_test(differences: Sequence[float]) -> float:
    """How likely so many gains, or more, are among as many gains and losses by the toss of a coin; 1 without any."""
    gains, changes = sum(d > 0 for d in differences), sum(d != 0 for d in differences)
    return float(sum(math.comb(changes, k) for k in range(gains, changes + 1)) / 2**changes)
