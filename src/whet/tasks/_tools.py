"""What a policy may use in its turns."""

from whet.text.expressions import NotAnExpression, read_expression


def calculate(expression: str) -> str:
    """What a calculator shows: the exact value, as `7` or `22/7`, or `error: ` and what it cannot read."""
    try:
        return str(read_expression(expression).value)
    except NotAnExpression as error:
        return f"error: {error}"
