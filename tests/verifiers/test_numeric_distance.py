"""Graded credit by distance, at every edge of the table."""

import pytest
from pydantic import ValidationError

from whet.verifiers.numeric_distance import NumericDistance


@pytest.mark.parametrize(
    ("text", "credit"),
    [
        ("50", 1.0),
        ("50.0", 1.0),
        ("51", 0.7),
        ("49", 0.7),
        ("50.5", 0.7),
        ("52", 0.4),
        ("51.5", 0.4),
        ("53", 0.1),
        ("45", 0.1),
        ("56", -0.2),
        ("40", -0.2),
        ("39", -0.5),
        ("-50", -0.5),
        ("1e9", -0.5),
        ("", -1.0),
        ("fifty", -1.0),
    ],
)
def test_the_default_table_gives_the_credit_of_the_distance(text: str, credit: float) -> None:
    assert NumericDistance().score(text, "50").value == credit


def test_only_the_exact_number_has_no_fault() -> None:
    details = [NumericDistance().score(text, "50").detail for text in ("50", "51", "none")]
    assert details == ["", "wrong", "no_answer"]


def test_another_table_is_a_setting() -> None:
    verifier = NumericDistance(credits=((0, 2), (0.5, 1)), beyond=0, no_number=-3)
    assert [verifier.score(text, "1").value for text in ("1", "1.5", "1.51", "x")] == [2, 1, 0, -3]


@pytest.mark.parametrize("credits", [(), ((1, 0.5), (0, 1.0)), ((1, 0.5), (1, 0.2))])
def test_a_table_whose_distances_do_not_rise_is_refused(credits: object) -> None:
    with pytest.raises(ValidationError):
        NumericDistance(credits=credits)
