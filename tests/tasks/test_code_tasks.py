"""HumanEval and MBPP: their references pass, stubs do not, and the tests stay out of reach.

The rows are in the formats of the published files and were written for these tests.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import whet
from whet.errors import DataError

FIXTURES = Path(__file__).parents[1] / "fixtures" / "code"


@pytest.fixture(params=["humaneval", "mbpp"])
def task(request):
    return whet.task(request.param, path=FIXTURES / f"{request.param}.jsonl")


def test_every_reference_has_the_full_value(task):
    assert [task.score(e, e.demonstration).value for e in task.examples("test")] == [1.0] * len(
        task.examples("test")
    )


def test_a_stub_has_none(task):
    for example in task.examples("test"):
        stub = f"```python\ndef {example.columns['names'][-1]}(*args): pass\n```"
        assert task.score(example, stub).value == 0.0


def test_rows_come_in_the_order_of_the_file_packed_or_not(tmp_path):
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress((FIXTURES / "humaneval.jsonl").read_bytes()))
    found = whet.task("humaneval", path=packed).examples("test")
    assert [example.id for example in found] == ["Own/0", "Own/1", "Own/2"]


def test_helpers_of_the_prompt_are_the_data_sets_own_where_tests_use_them():
    example = whet.task("humaneval", path=FIXTURES / "humaneval.jsonl").examples("test")[1]
    cheat = "```python\ndef shift(text): return text\ndef unshift(text): return text\n```"
    task = whet.task("humaneval", path=FIXTURES / "humaneval.jsonl")
    assert task.score(example, cheat).value == 0.0


def test_mbpp_shows_one_test_and_keeps_the_others():
    task = whet.task("mbpp", path=FIXTURES / "mbpp.jsonl")
    example = task.examples("test")[0]
    assert "assert sum(1, 2) == 3" in example.prompt
    assert "assert sum(0, 0)" not in example.prompt
    assert task.score(example, "```python\ndef sum(a, b): return 3\n```").value == 0.0


def test_a_file_is_the_test_split_and_training_needs_another(task):
    assert task.examples("train") == ()
    both = whet.task(task.name, path=task.path, train_path=task.path)
    assert len(both.examples("train")) == len(task.examples("test"))


def test_a_row_that_lacks_what_is_needed_is_named(tmp_path):
    (tmp_path / "bad.jsonl").write_text(
        '{"task_id": 1, "text": "t", "code": "def f(: x", "test_list": ["assert f()"]}'
    )
    with pytest.raises(DataError, match=r"line 1: the reference in 'code' is no Python"):
        whet.task("mbpp", path=tmp_path / "bad.jsonl").examples("test")
