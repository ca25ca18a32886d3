"""Files of rows in every format, and what is said about a file that does not fit."""

import gzip
from pathlib import Path

import pytest

from whet.errors import ConfigError, DataError
from whet.tasks._files import read_rows

ROWS = [{"prompt": "2+2", "answer": 4}, {"prompt": 'a, "b"\nc', "answer": None}]
LINES = '{"prompt": "2+2", "answer": 4}\n{"prompt": "a, \\"b\\"\\nc", "answer": null}\n'
LIST = "[" + LINES.strip().replace("\n", ",") + "]"
TABLE = 'prompt,answer\n2+2,4\n"a, ""b""\nc",\n'


@pytest.fixture
def read(tmp_path: Path):
    def read(name: str, content: str | bytes):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_rows(path)

    return read


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.jsonl", LINES, ["line 1", "line 2"]),
        ("a.ndjson", LINES, ["line 1", "line 2"]),
        ("a.json", LINES, ["line 1", "line 2"]),
        ("a.json", LIST, ["row 1", "row 2"]),
        ("a.json", f'{{"version": 1, "data": {LIST}}}', ["row 1", "row 2"]),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0), ["line 1", "line 2"]),
    ],
)
def test_rows_of_json_keep_their_values_and_their_places(read, name: str, content, places: list[str]) -> None:
    rows = read(name, content)
    assert [dict(row.fields) for row in rows] == ROWS
    assert [row.where.rpartition(", ")[2] for row in rows] == places


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", TABLE),
        ("a.CSV", TABLE.replace("\n", "\r\n").replace('b""\r\n', 'b""\n')),
        ("a.csv", TABLE.replace(",", ";").replace("a;", "a,")),
        ("a.csv", "\ufeff" + TABLE.replace("prompt,answer", "prompt , answer")),
        ("a.tsv", TABLE.replace(",", "\t").replace("a\t", "a,")),
        ("a.csv.gz", gzip.compress(TABLE.encode(), mtime=0)),
    ],
)
def test_cells_of_a_table_are_text_and_empty_ones_null(read, name: str, content) -> None:
    rows = read(name, content)
    assert [dict(row.fields) for row in rows] == [
        {"prompt": "2+2", "answer": "4"},
        {"prompt": 'a, "b"\nc', "answer": None},
    ]
    assert [row.where.rpartition(" ")[2] for row in rows] == ["2", "3"]


def test_what_is_quoted_in_a_header_does_not_decide_the_delimiter(read) -> None:
    (row,) = read("a.csv", '"prompt, in full, as asked";answer\n1,5;2\n')
    assert dict(row.fields) == {"prompt, in full, as asked": "1,5", "answer": "2"}


def test_empty_lines_before_a_header_are_counted(read) -> None:
    assert read("a.csv", "\n\nprompt,answer\n2+2,4\n")[0].where.endswith("line 4")


def test_a_row_of_a_table_begins_where_the_one_before_ends(read) -> None:
    rows = read("a.csv", 'prompt\n"two\nlines"\n\nlast\n')
    assert [row.where.rpartition(" ")[2] for row in rows] == ["2", "5"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '[{"prompt": "a"}, 7]', "a.json, row 2: expected an object, found 7"),
        ("a.json", '[{"prompt": "a"},', "a.json: expected a list of JSON objects"),
        (
            "a.json",
            '{"prompt": "a"}',
            "a.json: expected a list of objects, alone or under data, rows, examples",
        ),
        ("a.json", "[]", "a.json is empty"),
        (
            "a.csv",
            "prompt,answer\n1,2\n3,4,5\n",
            r"a.csv, line 3: expected 2 cells \(prompt, answer\), found 3",
        ),
        (
            "a.csv",
            "prompt,prompt\n1,2\n",
            "a.csv, line 1: expected different names of fields, found prompt, prompt",
        ),
        ("a.csv", 'prompt\n"a"b\n', "a.csv, line 2: "),
        ("a.csv", 'prompt\n"never closed\n', "a.csv, line 2: unexpected end of data"),
        ("a.csv", "prompt,answer\n", "a.csv is empty"),
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", b"prompt\n\xff\n", r"a.csv is not UTF-8 text \(byte 7\); save it as UTF-8"),
        ("a.jsonl.gz", b"not packed", "a.jsonl.gz cannot be unpacked"),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-9], "a.jsonl.gz cannot be unpacked"),
        (
            "a.txt",
            "2+2",
            "a.txt: the ending says how a file is read; expected one of .jsonl, .ndjson, .json, .csv",
        ),
        ("a", "2+2", "a: the ending says how a file is read"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_the_place(read, name: str, content, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(name, content)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; name one file of it"):
        read_rows(tmp_path)


def test_parquet_without_the_extra_gives_the_command(read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"needs the package pyarrow: pip install pyarrow"):
        read("a.parquet", b"PAR1")


def test_a_blank_after_a_comma_of_a_csv_is_no_part_of_the_answer(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text('prompt, answer\na, 1\nb, "2, 3"\n')
    assert [row.fields["answer"] for row in read_rows(file)] == ["1", "2, 3"]
