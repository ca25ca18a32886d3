"""The same text gets the same verdict, or the difference is shown."""

import dataclasses

import pytest

from whet.evals.evaluate import evaluate
from whet.evals.metrics import metrics_of
from whet.evals.records import StaleRecords
from whet.evals.rescore import rescore
from whet.types import Score


@pytest.fixture
def result(policy, engine, plan):
    return evaluate(policy, engine, plan)


def test_stored_texts_score_as_they_did(result, plan):
    again = rescore(result.records, plan.task, plan.examples)
    assert again.changed == ()
    assert metrics_of(again.records) == result.metrics


def test_a_changed_verdict_is_found(result, plan):
    forged = [dataclasses.replace(result.records[4], score=Score(value=1.0)), *result.records[5:]]
    ((old, new),) = rescore(forged, plan.task, plan.examples).changed
    assert (old.problem, old.score.value, new.score.value) == ("test-5", 1.0, 0.0)


def test_a_changed_reason_is_found(result, plan):
    forged = dataclasses.replace(result.records[0], score=Score(value=1.0, detail="guessed"))
    assert len(rescore([forged], plan.task, plan.examples).changed) == 1


def test_records_of_another_problem_are_refused(result, plan):
    unknown = dataclasses.replace(result.records[0], problem="elsewhere")
    with pytest.raises(StaleRecords, match="elsewhere"):
        rescore([unknown], plan.task, plan.examples)
    reworded = dataclasses.replace(result.records[0], prompt="1 + 2 is")
    with pytest.raises(StaleRecords, match="another prompt"):
        rescore([reworded], plan.task, plan.examples)
