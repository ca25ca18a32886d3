"""Finds the marked parts of a completion: `<answer>...</answer>`, `#### ...` and `\\boxed{...}`."""

from __future__ import annotations

import re


def tagged(text: str, tag: str) -> list[str]:
    """The contents of every `<tag>...</tag>` pair, in order; an opening tag restarts the part it is in."""
    parts = []
    for piece in text.split(f"</{tag}>")[:-1]:
        _, opened, content = piece.rpartition(f"<{tag}>")
        if opened:
            parts.append(content)
    return parts


def after_hash(text: str) -> str | None:
    """The rest of the line after the last `####`, or None."""
    _, marker, after = text.rpartition("####")
    return after.partition("\n")[0] if marker else None


def boxed(text: str) -> str | None:
    """The content of the last `\\boxed{...}` or `\\fbox{...}` whose braces are balanced, or None."""
    for match in reversed(list(re.finditer(r"\\(?:boxed|fbox)\s?\{", text))[-_MAX_BOXES:]):
        end = _closing_brace(text, match.end())
        if end is not None:
            return text[match.end() : end]
    return None


def marked_answer(text: str) -> str | None:
    """The marked answer of a text: the last `<answer>` pair, else `####`, else `\\boxed{}`, else None."""
    pairs = tagged(text, "answer")
    if pairs:
        return pairs[-1]
    line = after_hash(text)
    return line if line is not None else boxed(text)


# Each unbalanced box costs one scan; a text of nothing but `\boxed{` must not cost their square.
_MAX_BOXES = 8


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        if match.group()[0] == "\\":
            continue  # `\{` is a brace that is shown
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.start()
    return None
