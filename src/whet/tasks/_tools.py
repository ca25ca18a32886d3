"""What a policy may use in its turns."""

import inspect
from pathlib import Path

from whet.sandbox import Limits, session
from whet.text import expressions
from whet.text.expressions import NotAnExpression, read_expression

_LIMITS = Limits(timeout_s=2.0, cpu_s=2, memory_mb=128)


def calculate(expression: str) -> str:
    """What a calculator shows: the exact value, as `7` or `22/7`, or `error: ` and what it cannot read."""
    try:
        return str(read_expression(expression).value)
    except NotAnExpression as error:
        return f"error: {error}"


def calculate_apart(calls: list[str]) -> list[str]:
    """The same for the calls of a policy, in the sandbox: a tool that reads what a model wrote has no rights."""
    program = Path(expressions.__file__).read_text(encoding="utf-8") + "\n\n" + inspect.getsource(calculate)
    with session(program, _LIMITS) as tool:
        results = [tool.call("calculate", call) for call in calls]
    return [result.value if result.ok else f"error: {result.status}" for result in results]
