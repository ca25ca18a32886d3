"""Held-out is held out."""

import pytest

from whet.errors import DataError
from whet.evals.overlap import check_overlap
from whet.types import Example

TRAIN = [Example(id=f"train-{i}", prompt=f"What is {i} + 1?") for i in range(50)]
TEST = [Example(id=f"test-{i}", prompt=f"What is {i} + 2?") for i in range(50)]


def test_one_planted_question_is_refused_and_named():
    planted = [*TEST[:20], Example(id="planted", prompt="what is  7 + 1?"), *TEST[20:]]
    with pytest.raises(DataError, match=r"1 of 51 .*planted.*eval\.allow_overlap") as error:
        check_overlap(TRAIN, planted)
    assert "test-" not in str(error.value)


def test_separate_questions_pass():
    assert check_overlap(TRAIN, TEST) == 0


def test_an_allowed_overlap_is_counted():
    assert check_overlap(TRAIN, [*TRAIN[:3], *TEST], allow=True) == 3
