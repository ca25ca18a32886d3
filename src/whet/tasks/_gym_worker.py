"""The one file that imports `reasoning_gym`: makes questions in a process of its own, and scores in a worker.

Some generators walk through sets of strings, so their questions follow from the seed only under one hash seed:
`python -m whet.tasks._gym_worker` is started with it. Some scorers evaluate the text of the model as Python; they are
given literals and plain formulas only.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import ctypes
import dataclasses
import difflib
import functools
import inspect
import json
import os
import pickle
import random
import re
import signal
import sys
from collections.abc import Mapping
from typing import Any

from whet.errors import ConfigError, missing_extra
from whet.tasks._generated import TEST_FRAC
from whet.text.questions import normalise_question, split_position

MAX_DRAWS_PER_EXAMPLE = 20

_PR_SET_PDEATHSIG = 1
_MAX_SIZE = 20_000
_SCORER_SIZE = 10
_EVALUATES = re.compile(r"\b(?:eval|exec|parse_expr|sympify|simplify)\(\s*(?:answer|user\w*|text)\b")
_FUNCTIONS = (
    "sin cos tan sec csc cot sinh cosh tanh asin acos atan asinh acosh atanh exp log ln sqrt Abs abs pi Rational "
    "Mul Add Pow erf"
)
# Possessive, so that a text of digits costs no more than its length.
_FORMULA = re.compile(
    rf"(?:[0-9]++(?:\.[0-9]*+)?|\b(?:[A-Za-z]|{'|'.join(_FUNCTIONS.split())})\b|[-+*/^(),\s])*+"
)
# Where the answer of an entry is empty, because several are right.
_SOLUTIONS = {
    "graph_color": "possible_answer",
    "propositional_logic": "example_answer",
    "rubiks_cube": "example_correct_answer",
}


def make(
    dataset: str, settings: Mapping[str, Any], seed: int, wanted: Mapping[str, int]
) -> dict[str, list[Any]]:
    """Entries of both splits, `{question, answer, metadata}` each, with different questions.

    A hash of the question decides its side. Raises `ConfigError` for what is no generator or no setting of it, and
    for one that has too few different questions.
    """
    size = min(MAX_DRAWS_PER_EXAMPLE * sum(wanted.values()), max(_MAX_SIZE, 2 * sum(wanted.values())))
    source = _dataset(dataset, json.dumps(settings), seed, size)
    found: dict[str, dict[str, Any]] = {split: {} for split in wanted}
    order = iter(
        random.Random(seed).sample(range(size), size)
    )  # some have a kind of question for each stretch
    while any(len(found[s]) < wanted[s] for s in wanted):
        n = next(order, None)
        if n is None:
            raise ConfigError(
                f"{dataset} has too few different questions with these settings: asked for num_train "
                f"{wanted['train']} and num_test {wanted['test']}, found {len(found['train'])} and "
                f"{len(found['test'])}. Ask for at most that many, or widen task.settings"
            )
        entry = source[n]
        question = normalise_question(entry["question"])
        side = "test" if split_position(question) < TEST_FRAC else "train"
        if len(found[side]) < wanted[side]:
            found[side].setdefault(question, {key: entry[key] for key in ("question", "answer", "metadata")})
    return {split: list(entries.values()) for split, entries in found.items()}


def gold_of(dataset: str, entry: Mapping[str, Any]) -> str | None:
    """A right answer of an entry, None where the generator does not say one (boxnet, rush_hour)."""
    if entry["answer"] is not None:
        return str(entry["answer"])
    solution = entry["metadata"].get(_SOLUTIONS.get(dataset, ""))
    return solution if solution is None or isinstance(solution, str) else json.dumps(solution)


def score(
    dataset: str, settings: Mapping[str, Any], seed: int, entry: Mapping[str, Any], text: str
) -> dict[str, Any]:
    """`{value, detail}` of an answer by the generator's own scorer.

    Details `not_evaluated` (the scorer evaluates answers, and this is no literal and no formula) and `raised` (it
    raised on this text, and not on a right one). Raises what the scorer raises on a right answer too.
    """
    scorer = _dataset(dataset, json.dumps(settings), seed, _SCORER_SIZE)
    if evaluates(scorer) and not is_harmless(text):
        return {"value": 0.0, "detail": "not_evaluated"}
    try:
        return {"value": float(scorer.score_answer(text, copy.deepcopy(entry))), "detail": ""}
    except Exception:  # noqa: BLE001 - a scorer of another package may raise anything
        scorer.score_answer(gold_of(dataset, entry), copy.deepcopy(entry))
        return {"value": 0.0, "detail": "raised"}


@functools.cache
def _source_of(module: str) -> str:
    return inspect.getsource(sys.modules[module])


def evaluates(scorer: Any) -> bool:
    """Whether a scorer hands the answer to Python or to sympy, which is Python too."""
    return _EVALUATES.search(_source_of(type(scorer).__module__)) is not None


def is_harmless(text: str) -> bool:
    """Whether to evaluate a text calls nothing but functions of mathematics: a formula, a literal, or words alone."""
    if _FORMULA.fullmatch(text) or re.fullmatch(r"[\w\s]*", text):
        return True
    try:
        ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


@functools.lru_cache(maxsize=64)
def _dataset(name: str, settings: str, seed: int, size: int) -> Any:
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError:
        raise missing_extra("the task reasoning_gym", "reasoning-gym", "reasoning_gym") from None
    if name == "composite":
        raise ConfigError("composite mixes generators: write a mixture of tasks, with a generator each")
    if name not in DATASETS:
        raise ConfigError(
            f"there is no {name!r} among the generators of reasoning_gym.{_close(name, DATASETS)} There are: "
            f"{', '.join(sorted({*DATASETS} - {'composite'}))}"
        )
    given = json.loads(settings)
    fields = {field.name for field in dataclasses.fields(DATASETS[name][1])} - {"seed", "size"}
    for key in given:
        if key not in fields:
            raise ConfigError(
                f"task.settings.{key} is not a setting of {name}.{_close(key, fields)} There are: "
                f"{', '.join(sorted(fields))} (seed, num_train and num_test stand beside settings)"
            )
    try:
        return reasoning_gym.create_dataset(name, **given, seed=seed, size=size)
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"task.settings do not fit {name}: {error}") from None


def _close(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {close[0]}?" if close else ""


def main(request: str) -> None:
    """Writes the entries that a request in JSON asks for to stdout, or what is wrong with it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answer: dict[str, Any]
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # some generators print
        try:
            answer = {"entries": make(**json.loads(request))}
        except ConfigError as error:
            answer = {"problem": str(error)}
        with contextlib.suppress(BrokenPipeError):
            pickle.dump(answer, out)


if __name__ == "__main__":
    main(sys.argv[1])
