"""Examples from any file of JSON lines, and what is said about a file that does not fit."""

import json
from pathlib import Path

import pytest

from whet.errors import ConfigError, DataError
from whet.tasks.jsonl import Jsonl


@pytest.fixture
def write(tmp_path: Path):
    def write(*rows: object, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), encoding="utf-8")
        return path

    return write


def test_fields_go_where_the_settings_say(write) -> None:
    row = {"q": "2+2?", "a": 4, "how": "four", "key": "k1", "level": "easy", "extra": [1, 2]}
    task = Jsonl(
        path=write(row), test_path=write(row, name="t.jsonl"),
        prompt="q", answer="a", demonstration="how", id="key", tags=("level",), prompt_format="Q: {prompt}\nA:",
    )  # fmt: skip
    example = task.examples("train")[0]
    assert (example.id, example.prompt, example.answer) == ("k1", "Q: 2+2?\nA:", "4")
    assert (example.demonstration, dict(example.tags)) == ("four", {"level": "easy"})
    assert dict(example.columns) == {"question": "2+2?", "level": "easy", "extra": [1, 2]}


def test_without_an_id_field_file_and_line_are_the_id(write) -> None:
    rows = [{"prompt": str(i), "answer": "x"} for i in range(3)]
    task = Jsonl(path=write(rows[0], "", rows[1]), test_path=write(rows[2], name="t.jsonl"))
    assert [e.id for e in task.examples("train")] == ["rows/1", "rows/3"]
    assert task.examples("train")[0].demonstration is None


def test_a_hash_of_the_question_splits_one_file(write) -> None:
    path = write(*({"prompt": f"question {i}", "answer": "x"} for i in range(1000)))
    task = Jsonl(path=path, test_frac=0.2)
    train, test = ({e.prompt for e in task.examples(split)} for split in ("train", "test"))
    assert not train & test and len(train | test) == 1000
    assert 150 < len(test) < 250  # 200 expected, 4 standard deviations are 51
    twice = Jsonl(
        path=write(*({"prompt": f"QUESTION  {i}", "answer": "x"} for i in range(1000)), name="b.jsonl"),
        test_frac=0.2,
    )
    assert {e.prompt.lower().replace("  ", " ") for e in twice.examples("test")} == test


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"prompt": "a", "answer": "b"}', '{"prompt": "a", '], "line 2: expected a JSON object"),
        (['{"prompt": "a", "answer": "b"}', "", "[1]"], r"line 3: expected a JSON object, found '\[1\]'"),
        (['{"prompt": "a", "solution": "b"}'], "line 1 has no field 'answer'; it has: prompt, solution"),
        (['{"prompt": "a", "answer": null}'], "line 1: expected text in 'answer', found null"),
        (['{"prompt": ["a"], "answer": "b"}'], r"line 1: expected text in 'prompt', found \[\"a\"\]"),
        (['{"prompt": "a", "answer": true}'], "line 1: expected text in 'answer', found true"),
        ([""], "is empty; expected one JSON object per line"),
        (["\n\n"], "is empty"),
        (['{"prompt": "a", "answer": ' + "9" * 5000 + "}"], "line 1: expected a JSON object"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_with_the_place(write, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Jsonl(path=write(*lines)).examples("train")


def test_two_rows_with_one_id_are_named_both(write) -> None:
    rows = [{"prompt": p, "answer": "x", "id": "same"} for p in "ab"]
    with pytest.raises(DataError, match=r"line 2: the id 'same' is also that of .*rows.jsonl, line 1"):
        Jsonl(path=write(*rows), id="id").examples("train")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.jsonl is not a file"):
        Jsonl(path=tmp_path / "gone.jsonl").examples("train")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "\xff\xfe"}')
    with pytest.raises(DataError, match=r"rows.jsonl is not UTF-8 text \(byte 12\)"):
        Jsonl(path=path).examples("train")


@pytest.mark.parametrize(("frac", "split"), [(0.0001, "test"), (0.9999, "train")])
def test_a_side_without_rows_is_an_error(write, frac: float, split: str) -> None:
    with pytest.raises(
        DataError, match=rf"no row of .* is on the {split} side of the split by test_frac {frac}"
    ):
        Jsonl(path=write({"prompt": "a", "answer": "b"}), test_frac=frac).examples(split)


def test_a_task_without_a_verifier_asks_for_one(write) -> None:
    path = write({"prompt": "a", "answer": "b"})
    task = Jsonl(path=path, test_path=path)
    with pytest.raises(ConfigError, match=r"task\.verifier=numeric"):
        task.score(task.examples("train")[0], "b")


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "a", "answer": "b"}\r\n{"prompt": "c", "answer": "d"}\r\n')
    assert [e.answer for e in Jsonl(path=path, test_path=path).examples("train")] == ["b", "d"]
