"""Writes the tables of docs/coming_from.md from `whet.foreign_names`, the table behind the hints in errors.

python tools/coming_from.py          rewrites what stands between the marks of the page
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from whet.foreign_names import TOOLS, place_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coming_from.md"
BEGIN, END = "<!-- {tool}: written by tools/coming_from.py -->", "<!-- end of {tool} -->"
REASONS = {"not needed": "*not needed*: ", "not there": "**not there**: "}


def page(text: str) -> str:
    """The page with its tables as `whet.foreign_names` is now."""
    for tool in TOOLS:
        begin, end = BEGIN.format(tool=tool), END.format(tool=tool)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n" + "\n".join(tables(tool)) + "\n" + end + rest.partition(end)[2]
    return text


def tables(tool: str) -> Iterator[str]:
    """The lines of one tool's tables, each under its heading."""
    for heading, rows in TOOLS[tool].items():
        yield from (f"### {heading} ({tool})", "", f"| {tool} | whet |", "|---|---|")
        yield from (f"| {names_of(names)} | {told(answer)} |" for names, answer in rows.items())
        yield ""


def names_of(names: str) -> str:
    return " ".join(f"`{name}`" for name in names.split())


def told(answer: str) -> str:
    """An answer with its code marked as such."""
    start, _, reason = answer.partition(": ")
    if start in REASONS:
        return REASONS[start] + reason
    place = place_of(answer) or answer.partition(" (")[0]
    return f"`{place}`{answer.removeprefix(place)}".replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(re.sub(r"\n{3,}", "\n\n", page(PAGE.read_text(encoding="utf-8"))), encoding="utf-8")
