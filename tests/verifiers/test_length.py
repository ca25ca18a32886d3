"""The length penalty: nothing up to the target, then a parabola down to the floor."""

import pytest
from pydantic import ValidationError

from whet.verifiers.length import Length


@pytest.mark.parametrize(
    ("length", "value"),
    [
        (0, 0.0),
        (10, 0.0),
        (15, -0.5 * (5 / 20) ** 2),  # -0.03125
        (20, -0.125),  # -0.5 * (10 / 20)^2
        (30, -0.5),
        (31, -0.5),
        (1000, -0.5),
    ],
)
def test_the_penalty_grows_with_the_square_of_the_excess(length: int, value: float) -> None:
    score = Length(target_length=10, max_length=30).score("x" * length, "")
    assert score.value == pytest.approx(value, abs=1e-12)
    assert score.detail == ("too_long" if length > 10 else "")


def test_words_may_be_counted_instead_of_characters() -> None:
    verifier = Length(unit="words", target_length=2, max_length=4, floor=-1.0)
    assert [verifier.score(text, "").value for text in ("long words", "a b c", "a b c d")] == [0, -0.25, -1]


@pytest.mark.parametrize("settings", [{"target_length": 5, "max_length": 5}, {"floor": 0.5}])
def test_settings_that_make_no_penalty_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Length(**settings)
