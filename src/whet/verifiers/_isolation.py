"""Scores where a verifier's `isolation` says: here, or in a worker that can be killed."""

from __future__ import annotations

import functools
import json
import warnings
from dataclasses import asdict
from typing import Any, cast

from whet import registry
from whet.errors import ConfigError, SettingWarning
from whet.interfaces import Verifier
from whet.sandbox import pool
from whet.types import Example, Score


def judged(verifier: Verifier, text: str, answer: str, example: Example | None) -> Score:
    """The verifier's score. With `isolation: worker` its deadline is status `timeout`, its exception `error`.

    A verifier that has no name to be found by, or an example that cannot be sent, is scored here, with a warning.
    """
    if verifier.isolation == "none" or pool.is_worker():
        return verifier.score(text, answer, example)
    spec = _spec(verifier)
    if spec is None:
        return verifier.score(text, answer, example)
    try:
        told = pool.shared().call(
            "whet.verifiers._isolation:score_here", spec, text, answer, example, timeout_s=verifier.timeout_s
        )
    except pool.WorkerTimeout as error:
        return Score.failed("timeout", f"{verifier.name}: {error} (timeout_s)")
    except pool.WorkerLost as error:
        return Score.failed("error", f"{verifier.name}: {error}")
    except pool.WorkerRaised as error:
        if error.kind == "ConfigError":
            raise ConfigError(str(error).removeprefix("ConfigError: ")) from None
        return Score.failed("error", str(error))
    except pool.CannotSend as error:
        _warn(verifier.name, f"the example cannot be sent to another process ({error})")
        return verifier.score(text, answer, example)
    return Score(**told)


def score_here(spec: str, text: str, answer: str, example: Example | None) -> dict[str, Any]:
    """In the worker: the fields of the score."""
    score: object = _built(spec).score(text, answer, example)
    if not isinstance(score, Score):
        score = Score.failed("invalid", f"expected a Score, found {score!r}"[:300])
    return {**asdict(score), "parts": dict(score.parts)}


@functools.lru_cache(maxsize=64)
def _built(spec: str) -> Verifier:
    return cast(Verifier, registry.build("verifiers", json.loads(spec)))


def _spec(verifier: Verifier) -> str | None:
    """What a config would write for it; None for one that no config can name."""
    if not verifier.name or verifier.name.startswith("__main__:"):
        _warn(type(verifier).__name__, "it has no name that another process could find it by")
        return None
    return verifier.model_dump_json()


@functools.cache
def _warn(name: str, why: str) -> None:
    """Once for each reason."""
    warnings.warn(
        f"{name} scores in the run's own process, without a deadline: {why}. isolation: none says so without this "
        "warning",
        SettingWarning,
        stacklevel=4,
    )
