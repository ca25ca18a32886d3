"""The benchmark of the mathematical verifier: its oracle, and its parts on a few problems."""

import random
from pathlib import Path

import pytest
from mpmath import mp

import math_verifier
from whet.tasks.math import Math

FIXTURE = Path(__file__).parents[1] / "fixtures" / "math"
EXAMPLES = [*Math(path=FIXTURE).load("train"), *Math(path=FIXTURE).load("test")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\frac{3}{8}", "0.375"),
        ("3\\frac{1}{2}", "3.5"),
        ("-\\frac{1}{4}", "-0.25"),
        ("11,\\!880", "11880"),
        ("2^{10}", "1024"),
        ("3\\sqrt{4}", "6"),
        ("90^\\circ", "90"),
        ("x+1", None),
        ("1,2", None),
        ("\\frac{1}{0}", None),
    ],
)
def test_the_oracle_knows_plain_numbers_only(text: str, value: str | None) -> None:
    assert math_verifier.oracle(text) == (None if value is None else mp.mpf(value))


def test_perturbations_change_the_value() -> None:
    texts = list(math_verifier.perturbed("\\frac{3}{8}", random.Random(0)))
    values = [math_verifier.oracle(text) for text in texts]
    assert sum(value is not None and value != 0.375 for value in values) >= 9


def test_every_rewriting_of_the_fixture_is_right_and_no_perturbation() -> None:
    math_verifier.VERIFIER.warm_up()
    assert math_verifier.rewritings(EXAMPLES)["faults"] == []
    assert math_verifier.perturbations(EXAMPLES, 150)["accepted"] == []
