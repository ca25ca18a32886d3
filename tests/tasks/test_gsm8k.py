"""GSM8K from files: prompts, demonstrations and answers in each format."""

import json
import sys
from pathlib import Path

import pytest

from whet.errors import ConfigError, DataError
from whet.tasks.gsm8k import Gsm8k

FOLDER = Path(__file__).parents[1] / "fixtures" / "gsm8k"
REASONING = "Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 72 clips altogether in April and May."


def test_the_splits_are_the_rows_of_the_files_in_order() -> None:
    task = Gsm8k(path=FOLDER)
    train, test = task.examples("train"), task.examples("test")
    assert [e.answer for e in train[:4]] == ["72", "10", "5", "42"]
    assert [e.answer for e in test] == ["18", "3", "70000", "540", "2125", "114200", "-10", "-3"]
    assert [e.id for e in test[:2]] == ["gsm8k/test/0", "gsm8k/test/1"]


@pytest.mark.parametrize(
    ("form", "demonstration"),
    [
        ("hash", f" {REASONING}\n#### 72"),
        ("tags", f" <think>{REASONING}</think>\n<answer>72</answer>"),
        ("boxed", f" {REASONING}\nThe answer is \\boxed{{72}}."),
    ],
)
def test_the_demonstration_ends_in_the_answer_of_the_format(form: str, demonstration: str) -> None:
    assert Gsm8k(path=FOLDER, format=form).examples("train")[0].demonstration == demonstration


@pytest.mark.parametrize("form", ["hash", "tags", "boxed"])
def test_the_prompt_asks_for_the_format_and_shows_the_question(form: str) -> None:
    prompt = Gsm8k(path=FOLDER, format=form).examples("train")[0].prompt
    assert {"hash": "####", "tags": "<answer>", "boxed": "\\boxed{}"}[form] in prompt
    assert prompt.endswith("altogether in April and May?\nAnswer:")


def test_a_short_prompt_needs_no_instruction() -> None:
    task = Gsm8k(path=FOLDER, prompt_format="Question: {question}\nAnswer:")
    assert task.examples("train")[0].prompt.startswith("Question: Natalia sold clips to 48 of her friends")


def test_calculator_marks_are_kept_on_demand() -> None:
    assert "<<" not in "".join(e.demonstration for e in Gsm8k(path=FOLDER).examples("train"))
    kept = Gsm8k(path=FOLDER, calculator_marks=True).examples("train")[0]
    assert "48/2 = <<48/2=24>>24 clips" in kept.demonstration


def test_one_file_serves_whichever_split_is_asked_for() -> None:
    task = Gsm8k(path=FOLDER / "test.jsonl")
    assert [e.answer for e in task.examples("train")] == [e.answer for e in task.examples("test")]
    assert len(task.examples("train")) == 8


def test_the_steps_of_the_solution_are_a_tag() -> None:
    examples = Gsm8k(path=FOLDER).examples("train")
    assert examples[0].tags == {"steps": "2"}
    assert {e.tags["steps"] for e in examples} <= {*"1234567", "8+"}


def test_corrupted_gold_does_not_score() -> None:
    task = Gsm8k(path=FOLDER)
    for example in [*task.examples("train"), *task.examples("test")]:
        solution = example.demonstration.rpartition("#### ")[0]
        for wrong in (int(example.answer) + 1, -int(example.answer), int(example.answer) * 10):
            assert task.score(example, f"{solution}#### {wrong}").value == 0.0


def test_a_row_without_an_answer_mark_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "q", "answer": "#### 1"}\n{"question": "q", "answer": "just 1"}\n')
    with pytest.raises(
        DataError, match=r"rows.jsonl, line 2: expected a solution that ends in '#### answer'"
    ):
        Gsm8k(path=path).examples("test")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a file"):
        Gsm8k(path=tmp_path / "nowhere").examples("test")


def test_without_a_path_the_extra_package_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        ConfigError, match=r"no/such:main from the Hub needs the package datasets: pip install datasets"
    ):
        Gsm8k(hub_name="no/such").examples("test")


def test_without_a_path_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [json.loads(line) for line in (FOLDER / "test.jsonl").read_text().splitlines()]
    asked = []

    class FakeDatasets:
        @staticmethod
        def load_dataset(*args: str, split: str) -> list[dict[str, str]]:
            asked.append((*args, split))
            return rows

    monkeypatch.setitem(sys.modules, "datasets", FakeDatasets)
    task = Gsm8k(hub_name="fake/gsm8k")
    assert [e.answer for e in task.examples("test")][:3] == ["18", "3", "70000"]
    assert asked == [("fake/gsm8k", "main", "test")]


def test_a_prompt_format_without_the_question_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a text with \{question\}"):
        Gsm8k(path=FOLDER, prompt_format="Answer:")
