"""Examples from the rows of a file, and what is said about rows that do not fit."""

import json
import sys
from pathlib import Path

import pytest

from whet.errors import ConfigError, DataError
from whet.tasks._hub import hub_rows
from whet.tasks.jsonl import Jsonl
from whet.verifiers.exact import Exact


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
    assert dict(example.columns) == {"question": "2+2?", **row}


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
        (
            ['{"prompt": "a", "solution": "b"}'],
            "line 1 has no field 'answer'; it has: prompt, solution. Did you mean task.answer=solution",
        ),
        (
            ['{"promt": "a", "answer": "b"}'],
            "line 1 has no field 'prompt'; it has: promt, answer. Did you mean task.prompt=promt",
        ),
        (
            ['{"x": "a", "answer": "b"}'],
            "line 1 has no field 'prompt'; it has: x, answer. Name the field in task.prompt",
        ),
        (
            ['{"prompt": "a", "answer": null}'],
            "line 1: expected text in 'answer', found null .task.answer=null if no answer is compared",
        ),
        (['{"prompt": {"a": 1}, "answer": "b"}'], r"line 1: expected text in 'prompt', found {\"a\": 1}"),
        (
            ['{"prompt": "a", "answer": ["b", "c"]}'],
            r"line 1: expected text in 'answer', found \[\"b\", \"c\"\]",
        ),
        (['{"prompt": "a", "answer": NaN}'], "line 1: expected text in 'answer', found null"),
        ([""], "is empty; expected one row or more"),
        (["\n\n"], "is empty"),
        (['{"prompt": "a", "answer": ' + "9" * 5000 + "}"], "line 1: expected a JSON object"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_with_the_place(write, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Jsonl(path=write(*lines), verifier=Exact(name="exact")).examples("train")


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


def both(path: Path, **settings: object) -> Jsonl:
    """A task whose train split is the whole file."""
    return Jsonl(path=path, test_path=path, **settings)


def test_numbers_and_bools_are_written_as_json_writes_them(write) -> None:
    rows = [{"prompt": 1, "answer": value} for value in (4, 4.5, True, False, "x")]
    assert [e.answer for e in both(write(*rows)).examples("train")] == ["4", "4.5", "true", "false", "x"]


def test_a_dotted_name_reaches_into_an_object(write) -> None:
    row = {"prompt": "a", "reward_model": {"style": "rule", "ground_truth": "7"}}
    task = both(write(row), answer="reward_model.ground_truth", verifier=Exact(name="exact"))
    assert task.examples("train")[0].answer == "7"
    with pytest.raises(DataError, match=r"no field 'reward_model.truth'; it has: prompt, reward_model"):
        both(write(row), answer="reward_model.truth", verifier=Exact(name="exact")).examples("train")


def test_where_nothing_is_scored_an_answer_may_be_missing(write) -> None:
    path = write({"prompt": "a", "completion": "b"})
    assert [e.answer for e in both(path, demonstration="completion").examples("train")] == [""]
    scored = both(path, answer=None, verifier=Exact(name="exact"))
    assert [e.answer for e in scored.examples("train")] == [""]


def test_a_verifier_that_compares_says_that_there_is_no_answer(write) -> None:
    task = both(write({"prompt": "a"}), answer=None, verifier=Exact(name="exact"))
    with pytest.raises(
        DataError, match=r"exact compares with the answer, and rows/1 has none: .*task\.answer"
    ):
        task.score(task.examples("train")[0], "")


def test_a_row_whose_demonstration_is_null_has_none(write) -> None:
    rows = [{"prompt": "a", "answer": "b", "how": how} for how in ("because", None)]
    demonstrations = [e.demonstration for e in both(write(*rows), demonstration="how").examples("train")]
    assert demonstrations == ["because", None]


def test_the_text_around_the_prompt_moves_no_question_to_the_other_side(write) -> None:
    path = write(*({"prompt": f"question {i}", "answer": "x"} for i in range(200)))
    plain, formatted = (Jsonl(path=path, prompt_format=form) for form in ("{prompt}", "Think. {prompt}"))
    for split in ("train", "test"):
        assert [e.id for e in plain.examples(split)] == [e.id for e in formatted.examples(split)]


# --- conversations ---

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]


def test_messages_are_taken_without_further_settings(write) -> None:
    (example,) = both(write({"messages": [*ASKED, {"role": "assistant", "content": "4"}]})).examples("train")
    assert [dict(m) for m in example.messages] == ASKED
    assert (example.prompt, example.demonstration, example.answer) == ("2+2?", "4", "")
    assert example.columns["question"] == "2+2?"


def test_messages_in_a_cell_of_a_table_are_no_prompt(write) -> None:
    with pytest.raises(DataError, match="expected a list of messages in 'messages'"):
        both(write({"messages": json.dumps(ASKED), "answer": "4"})).examples("train")


def test_a_prompt_wins_over_messages(write) -> None:
    (example,) = both(write({"prompt": "a", "messages": ASKED, "answer": "b"})).examples("train")
    assert (example.prompt, example.messages) == ("a", ())


def test_a_conversational_prompt_and_completion_are_read(write) -> None:
    row = {"prompt": ASKED, "completion": [{"role": "assistant", "content": "four"}]}
    (example,) = both(write(row), demonstration="completion").examples("train")
    assert [dict(m) for m in example.messages] == ASKED
    assert (example.prompt, example.demonstration) == ("2+2?", "four")


def test_messages_of_sharegpt_and_parts_of_text_are_read(write) -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "2+2?"},
            {"from": "gpt", "value": "4"},
            {"from": "human", "value": "Sure?"},
        ]
    }
    parts = {
        "conversations": [{"role": "user", "content": [{"type": "text", "text": t} for t in ("a", "b")]}]
    }
    first, second = both(write(row, parts), prompt="conversations").examples("train")
    assert [m["role"] for m in first.messages] == ["user", "assistant", "user"]
    assert (first.prompt, first.demonstration, first.columns["question"]) == ("Sure?", None, "2+2?\n4\nSure?")
    assert second.prompt == "ab"


def test_the_format_goes_around_the_last_message(write) -> None:
    (example,) = both(write({"messages": ASKED}), prompt_format="{prompt} Think.").examples("train")
    assert [m["content"] for m in example.messages] == ["Be brief.", "2+2? Think."]
    assert (example.prompt, example.columns["question"]) == ("2+2? Think.", "2+2?")


def test_the_last_message_alone_does_not_make_two_conversations_the_same_question(write) -> None:
    def row(first: str) -> dict[str, object]:
        told = [("user", first), ("assistant", "Ready?"), ("user", "yes")]
        return {"messages": [{"role": role, "content": text} for role, text in told]}

    task = Jsonl(path=write(*(row(f"topic {i}") for i in range(100))), test_frac=0.5)
    assert (
        len(task.examples("train")) > 30 < len(task.examples("test"))
    )  # all on one side, if they were the same


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected a list of messages in 'messages'"),
        (["hello"], "message 1 of 'messages': expected {role, content}, found \"hello\""),
        (
            [{"role": "bot", "content": "a"}],
            'message 1 .*expected the role system, user, assistant, found "bot"',
        ),
        (
            [*ASKED, {"role": "assistant", "content": None}],
            "message 3 .*expected text as its content, found null",
        ),
        ([{"role": "user"}], "message 1 .*expected text as its content, found null"),
        ([{"role": "user", "content": [{"type": "image"}]}], "message 1 .*expected text as its content"),
        ([ASKED[0]], "expected 'messages' to end with a user's message.*found system"),
        (
            [{"role": "assistant", "content": "a"}],
            "expected 'messages' to end with a user's message.*found assistant",
        ),
        (
            [*ASKED, {"role": "assistant", "content": "", "tool_calls": [{}]}],
            "message 3 .*tool calls are not read",
        ),
    ],
)
def test_a_conversation_that_does_not_fit_is_an_error_with_the_row(
    write, value: object, message: str
) -> None:
    with pytest.raises(DataError, match=rf"rows.jsonl, line 2: {message}"):
        both(write({"messages": ASKED}, {"messages": value})).examples("train")


def test_two_demonstrations_of_one_row_are_refused(write) -> None:
    row = {"messages": [*ASKED, {"role": "assistant", "content": "4"}], "completion": "four"}
    with pytest.raises(
        DataError, match=r"line 1: 'messages' ends with the assistant's answer, and task\.demonstra"
    ):
        both(write(row), demonstration="completion").examples("train")


def test_a_completion_of_several_messages_is_refused(write) -> None:
    row = {"prompt": "a", "completion": [{"role": "assistant", "content": "b"}, *ASKED]}
    with pytest.raises(
        DataError, match="line 1: expected one message of the assistant in 'completion', found assis"
    ):
        both(write(row), demonstration="completion").examples("train")


# --- data sets of the Hub ---


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """A Hub whose every split has three rows named after it; what it was asked for."""
    asked: list[tuple[object, ...]] = []

    class FakeDatasets:
        @staticmethod
        def load_dataset(name: str, config: str | None, split: str) -> list[dict[str, str]]:
            asked.append((name, config, split))
            if split == "gone":
                raise ValueError("Unknown split 'gone'. Should be one of ['train']")
            return [{"prompt": f"{split} {i}", "answer": "x"} for i in range(3)]

    hub_rows.cache_clear()
    monkeypatch.setitem(sys.modules, "datasets", FakeDatasets)
    return asked


def test_a_name_of_the_hub_is_loaded_with_its_configuration_and_splits(hub) -> None:
    task = Jsonl(path="someone/sums:small", test_path="someone/sums:small", hub_test_split="validation")
    assert [e.prompt for e in task.examples("train")] == ["train 0", "train 1", "train 2"]
    assert task.examples("test")[0].id == "someone/sums:small/validation/1"
    assert hub == [("someone/sums", "small", "train"), ("someone/sums", "small", "validation")]


def test_a_split_that_is_missing_says_so_and_what_to_do_instead(hub) -> None:
    with pytest.raises(
        DataError, match=r"someone/sums \(split gone\) cannot be loaded: Unknown split.*download its files"
    ):
        Jsonl(path="someone/sums", hub_split="gone").examples("train")


def test_a_missing_file_in_a_folder_is_not_looked_for_on_the_hub(hub) -> None:
    with pytest.raises(DataError, match=r"data/train.jsonl is not a file"):
        Jsonl(path="data/train.jsonl").examples("train")
    assert hub == []


def test_without_the_extra_a_name_of_the_hub_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    hub_rows.cache_clear()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install datasets \(.*'\.\[data\]'\)"):
        Jsonl(path="someone/sums").examples("train")


def test_a_test_frac_of_one_keeps_the_whole_file_for_testing_in_its_order(write) -> None:
    rows = [{"prompt": f"{n}?", "answer": str(n)} for n in range(30)]
    task = Jsonl(path=write(*rows), test_frac=1, verifier=Exact(name="exact"))
    assert [e.answer for e in task.examples("test")] == [str(n) for n in range(30)]


def test_a_split_that_there_is_not_is_named(write) -> None:
    task = Jsonl(path=write({"prompt": "1?", "answer": "1"}), verifier=Exact(name="exact"))
    with pytest.raises(DataError, match="the splits train and test; found 'val'"):
        task.examples("val")  # type: ignore[arg-type]
