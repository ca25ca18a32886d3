"""Parquet files and local data sets through the packages that write them: pyarrow and datasets."""

from pathlib import Path

import pytest

from whet.errors import DataError
from whet.tasks._files import read_rows
from whet.tasks._hub import hub_rows
from whet.tasks.jsonl import Jsonl

pytestmark = pytest.mark.peer

ROWS = [
    {"prompt": [{"role": "user", "content": "2+2"}], "reward_model": {"ground_truth": "4"}, "n": 1},
    {"prompt": [{"role": "user", "content": "3+3"}], "reward_model": {"ground_truth": "6"}, "n": None},
]


def test_parquet_keeps_nested_values_and_nulls(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    rows = read_rows(path)
    assert [dict(row.fields) for row in rows] == ROWS
    assert rows[1].where == f"{path}, row 2"
    task = Jsonl(path=path, test_path=path, answer="reward_model.ground_truth", verifier="numeric")
    assert [(e.prompt, e.answer) for e in task.examples("train")] == [("2+2", "4"), ("3+3", "6")]


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"rows.parquet cannot be read as Parquet"):
        read_rows(path)


def test_a_hub_that_cannot_be_reached_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError, match=r"someone/nothing.*cannot be loaded: .*Without the Hub: download its files"
    ):
        hub_rows("someone/nothing", "train")


def test_a_data_set_of_the_library_gives_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "owner/sums").mkdir(parents=True)
    (tmp_path / "owner/sums/train.jsonl").write_text('{"prompt": "2+2", "answer": "4"}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (row,) = hub_rows("owner/sums", "train")
    assert (dict(row.fields), row.where) == ({"prompt": "2+2", "answer": "4"}, "owner/sums, train row 1")
    with pytest.raises(DataError, match=r"split gone.*cannot be loaded"):
        hub_rows("owner/sums", "gone")
