"""MATH from files: prompts, answers, tags, and rows without an answer."""

import json
import logging
from pathlib import Path

import pytest

from whet.errors import DataError
from whet.tasks.math import Math

FOLDER = Path(__file__).parents[1] / "fixtures" / "math"  # problems of the project's own, in the form of MATH


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_the_answer_is_the_last_box_of_the_solution() -> None:
    assert [e.answer for e in Math(path=FOLDER).examples("train")] == [
        "12", "\\frac{3}{8}", "3\\sqrt{3}", "[-1,4]", "-2, 3", "\\begin{pmatrix} 1 & 4 \\\\ 0 & 1 \\end{pmatrix}",
        "25\\%", "6\\text{ meters}",
    ]  # fmt: skip


def test_level_and_type_are_tags() -> None:
    assert Math(path=FOLDER).examples("train")[0].tags == {"level": "1", "type": "Algebra"}


def test_a_difficulty_is_a_level(tmp_path: Path) -> None:
    rows = [{"problem": f"p{n}", "answer": "1", "difficulty": 5.0, "type": "Algebra"} for n in range(40)]
    example = Math(path=write(tmp_path / "train.json", rows)).examples("train")[0]
    assert example.tags == {"level": "5", "type": "Algebra"}


def test_a_field_with_the_answer_counts_before_the_solution(tmp_path: Path) -> None:
    rows = [{"problem": f"p{n}", "answer": "2", "solution": "\\boxed{1}"} for n in range(40)]
    example = Math(path=write(tmp_path / "train.json", rows)).examples("train")[0]
    assert example.answer == "2" and example.demonstration.endswith("The answer is $\\boxed{2}$.")


@pytest.mark.parametrize(
    ("form", "mark", "ending"),
    [
        ("boxed", "\\boxed{}", "so $x = \\boxed{12}$."),
        ("hash", "####", "\n#### 12"),
        ("tags", "<answer>", "</think>\n<answer>12</answer>"),
    ],
)
def test_prompt_and_demonstration_have_the_format(form: str, mark: str, ending: str) -> None:
    example = Math(path=FOLDER, format=form).examples("train")[0]
    assert mark in example.prompt and example.prompt.endswith("+ 5 = 9$.\nSolution:")
    assert example.demonstration.endswith(ending)


def test_a_single_file_is_split_by_its_problems() -> None:
    task = Math(path=FOLDER / "train.jsonl", test_frac=0.5)
    train, test = task.examples("train"), task.examples("test")
    assert train and test and len(train) + len(test) == 8


UNANSWERED = [{"problem": f"p{n}", "answer": None if n in (3, 5) else str(n)} for n in range(20)]


def test_rows_without_an_answer_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "train.json", UNANSWERED)
    with pytest.raises(
        DataError,
        match=r"train.json, row 4: expected an answer.*2 of 20 rows \(4, 6\).*skip_unanswered=true leaves them",
    ):
        Math(path=path).examples("train")


def test_rows_without_an_answer_are_left_out_on_demand_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = Math(path=write(tmp_path / "train.json", UNANSWERED), skip_unanswered=True)
    with caplog.at_level(logging.WARNING):
        examples = [*task.examples("train"), *task.examples("test")]
    assert len(examples) == 18
    assert {e.id for e in examples} == {f"train/{n}" for n in range(20) if n not in (3, 5)}
    assert "left out 2 of 20 rows without an answer: 4, 6" in caplog.text


def test_a_folder_without_the_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no file of the split test; expected test\.jsonl, test\.json, "):
        Math(path=tmp_path).examples("test")


def test_an_empty_side_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is on the test side of the split by test_frac 0\.001"):
        Math(path=write(tmp_path / "train.json", UNANSWERED[:2]), test_frac=0.001).examples("test")


def test_a_prompt_format_without_the_problem_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a text with \{problem\}"):
        Math(path=FOLDER, prompt_format="Answer:")


def test_a_rewritten_answer_scores_and_another_does_not() -> None:
    task = Math(path=FOLDER)
    example = task.examples("train")[1]
    assert task.score(example, "It is $\\boxed{0.375}$.").detail == "restated"
    assert task.score(example, "It is $\\boxed{3/8}$.").value == 1.0
    assert task.score(example, "It is $\\boxed{8/3}$.").value == 0.0
