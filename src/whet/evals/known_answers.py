"""Texts of which it is known whether they are right: the solutions of a task, and others made of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from whet.evals import attacks
from whet.interfaces import Task
from whet.rollouts.score import score_text
from whet.types import Example

Writer = Callable[[Example], str]

_FORMS = {**attacks.FORMS, "program": "```python\n{}\n```"}
_TRIED = 16


def writer(task: Task, pool: Sequence[Example]) -> Writer:
    """How a right answer is written: the data's demonstration, or the answer in the form that is paid best."""
    if all(example.demonstration is not None for example in pool):
        return lambda example: example.demonstration or ""
    tried = pool[:_TRIED]
    paid = {f: [score_text(task, e, _FORMS[f].format(e.answer)) for e in tried] for f in _FORMS}
    best = max(paid, key=lambda form: math.fsum(s.value for s in paid[form] if s.ok))
    return lambda e: _FORMS[best].format(e.answer) if e.demonstration is None else e.demonstration


def right(text: str) -> list[str]:
    """The same answer with blanks around it."""
    return [text + "\n", text + " "]


def wrong(example: Example, solved: Sequence[Example], write: Writer) -> list[str]:
    """What solves another example, and this one's solution with another number at its end."""
    own = write(example)
    others = (e for e in solved if e.answer != example.answer and e.prompt != example.prompt)
    found = [write(other)] if (other := next(others, None)) else []
    at, after = own.rfind(example.answer), own.rpartition(example.answer)[2]
    if re.fullmatch(r"-?\d{1,15}", example.answer) and at >= 0 and not re.search(r"\d", after):
        found += [own[:at] + number + after for number in _other_numbers(example.answer)]
    return found


def _other_numbers(gold: str) -> list[str]:
    """One more, ten times as much, the other sign, the same digits in another order, and two that are near."""
    value, sign, digits = int(gold), "-" * gold.startswith("-"), gold.lstrip("-")
    numbers = [value + 1, value * 10, -value - 1, -value, int(sign + digits[::-1])]
    if len(digits) > 2:
        numbers.append(int(sign + digits[0] + digits[2] + digits[1] + digits[3:]))
    return [
        *dict.fromkeys(str(n) for n in numbers if n != value),
        f"{gold}.4",
        f"{value - 1}.6" if value > 0 else "0.4",
    ]
