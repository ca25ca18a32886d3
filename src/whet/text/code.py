"""Finds the program in a completion."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
_PYTHON = ("", "python", "py", "python3")


def first_python_block(text: str) -> str | None:
    """The content of the first fenced block that is Python or of no named language; None when it is not closed."""
    at = 0
    while opened := _FENCE.search(text, at):
        closing = re.compile(rf"^[ ]{{0,3}}{re.escape(opened[1])}+[ \t]*$", re.MULTILINE)
        closed = closing.search(text, opened.end())
        if closed is None:
            return None
        if opened[2].lower() in _PYTHON:
            return text[opened.end() + 1 : closed.start()]
        at = closed.end()
    return None
