"""The errors that a person can mend: each says what was expected, what was found, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whet.types import Example


class WhetError(Exception):
    """A problem with a person's input. The command line prints it without a traceback and exits with code 2."""


class ConfigError(WhetError, ValueError):
    """A setting is unknown, has the wrong type, or contradicts another."""


class DataError(WhetError, ValueError):
    """A data set, a prompt or a record cannot be used as it is."""


class RunError(WhetError, RuntimeError):
    """A run or a checkpoint is missing, damaged or in use."""


class VerifierError(WhetError, RuntimeError):
    """Too many rewards failed on our side: a verifier raised, or returned no number."""


class TrainingError(WhetError, RuntimeError):
    """Training cannot go on, for instance because the loss stays non-finite."""


class EngineError(WhetError, RuntimeError):
    """An engine that holds a copy of the weights is lost, does not answer, or holds others than the policy."""


class Interrupted(BaseException):
    """A person or the scheduler asked the run to stop. Not an `Exception`, so that no handler swallows it."""


class SettingWarning(UserWarning):
    """A setting that was given has no effect."""


def nothing_to_compare(verifier: str, example: Example | None) -> DataError:
    """The error of an example without an answer; a comparison with nothing would look like a reward."""
    whose = "it" if example is None else example.id
    return DataError(
        f"{verifier} compares with the answer, and {whose} has none: name the field that holds it in task.answer, or "
        "choose a verifier that needs none, such as a function of your own"
    )


def missing_extra(purpose: str, package: str, extra: str) -> ConfigError:
    """The error of an optional package that is needed and not installed, with the command that installs it."""
    return ConfigError(
        f"{purpose} needs the package {package}: pip install {package} (with all of the extra, in whet's folder: "
        f"pip install '.[{extra}]')"
    )


def first_line(error: Exception) -> str:
    """What went wrong; further lines of torch's errors are advice on its own settings."""
    return str(error).partition("\n")[0]


class Terminated(SystemExit):
    """SIGTERM: what calls a person's code takes any other `SystemExit` for that code's."""
