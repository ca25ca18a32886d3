"""Rows of programs that cannot be right are found before anything is made."""

from typing import Any

import pytest

from whet import registry
from whet.errors import DataError, VerifierError
from whet.training.failures import check_rewards
from whet.types import Example


def rows(count: int, **bad: Any) -> list[Example]:
    """The last of them with other columns or another demonstration."""
    good = {"demonstration": "```python\ndef f(): return 1\n```", "tests": "assert f() == 1"}
    found = [good] * (count - 1) + [good | bad]
    return [
        Example(
            id=f"row {n}", prompt="f?", demonstration=row["demonstration"], columns={"tests": row["tests"]}
        )
        for n, row in enumerate(found)
    ]


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (
            {"demonstration": "```python\ndef f(): return 2\n```"},
            r"the reference of row 8 fails its tests \(wrong",
        ),
        ({"tests": "assert f() ="}, "the tests of row 8 do not parse"),
        ({"tests": 3}, "row 8 has tests = 3"),
        ({"tests": "import pytest\nassert f()"}, "no program passes the tests of row 8: they import pytest"),
    ],
)
def test_a_row_of_programs_that_cannot_be_right_is_refused(bad: dict[str, Any], match: str) -> None:
    task = registry.build("tasks", {"name": "tiny:Rows", "verifier": "code_tests"})
    check_rewards(task, rows(9), 1.0)
    with pytest.raises((DataError, VerifierError), match=match):
        check_rewards(task, rows(9, **bad), 1.0)
