"""Keys and settings of services, from the environment or from `.env` in the working directory; never shown.

Nothing is written into the environment of the process. A variable that is set wins over `.env`; an empty one counts
as not set.
"""

from __future__ import annotations

import io
import logging
import os
import re
from pathlib import Path

from whet.errors import ConfigError

FILE = ".env"
_SECRET_NAME = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
_SECRET_SETTING = re.compile(
    r"^(?P<name>[\w.-]*?(?:api[_-]?key|token|secret|password))(?P<sign>=).+", re.IGNORECASE | re.DOTALL
)
_USER_IN_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SHORTEST_SECRET = 8
"""Characters: what is shorter stands in innocent text too."""
_HIDDEN = "***"
_log = logging.getLogger(__name__)
_told: set[str] = set()


def value(name: str) -> str | None:
    """What a name stands for, or None. Raises `ConfigError` when `.env` gives it two different values."""
    in_file, outside = _in_file(name), os.environ.get(name) or None
    if outside and in_file and in_file != outside and name not in _told:
        _told.add(name)
        _log.warning("%s is set in the environment and differs in %s: the environment wins", name, FILE)
    return outside or in_file


def names() -> list[str]:
    """The names to which `.env` gives a value."""
    return sorted(_file_values())


def refuse_conflicts() -> None:
    """Raises `ConfigError` when `.env` gives any name two different values."""
    for name in names():
        _in_file(name)


def conflicts() -> list[str]:
    """The names that `.env` and the environment give different values."""
    return sorted(n for n, v in _file_values().items() if v and os.environ.get(n) and os.environ[n] != v)


def hide(text: str) -> str:
    """The text with stars in place of every key that is known here, and of names and passwords in addresses."""
    for secret in sorted(_secrets().values(), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _USER_IN_URL.sub(_HIDDEN, text)


def hide_argument(text: str) -> str:
    """`hide` for an argument of a command: `api_key=...` and the like lose their value, known or not."""
    return hide(_SECRET_SETTING.sub(rf"\g<name>\g<sign>{_HIDDEN}", text))


def refuse_in(text: str, what: str) -> None:
    """Raises `ConfigError` when a text that will be written down holds a key."""
    found = sorted(name for name, secret in _secrets().items() if secret in text)
    if found:
        raise ConfigError(
            f"{what} holds the value of {found[0]}, and it is written into the run. Take it out: a key belongs into "
            f"{FILE} or the environment"
        )


def _secrets() -> dict[str, str]:
    known = {**_file_values(), **os.environ}
    return {n: v for n, v in known.items() if v and len(v) >= _SHORTEST_SECRET and _SECRET_NAME.search(n)}


def _in_file(name: str) -> str | None:
    from dotenv.parser import parse_stream

    given = [b for b in parse_stream(io.StringIO(_text())) if b.key == name and b.value]
    if len({binding.value for binding in given}) > 1:
        places = " and ".join(str(_line(b.original.line, b.original.string)) for b in given)
        raise ConfigError(
            f"{Path(FILE).resolve()}: lines {places} give {name} different values; keep one of them"
        )
    return _file_values().get(name)


def _file_values() -> dict[str, str]:
    from dotenv import dotenv_values

    return {n: v for n, v in dotenv_values(stream=io.StringIO(_text())).items() if v}


def _line(first: int, text: str) -> int:
    """Of the name itself: a statement begins with the empty lines before it."""
    return first + text[: len(text) - len(text.lstrip())].count("\n")


def _text() -> str:
    path = Path(FILE)
    if not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path.resolve()} cannot be read: {why}") from None
