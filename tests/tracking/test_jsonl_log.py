from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from whet.errors import RunError
from whet.tracking.jsonl import JsonlLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "log.jsonl"


def test_each_record_is_one_line_with_its_keys_in_order(path):
    log = JsonlLog(path)
    log.log(1, {"z": 1.5, "a": 2.0})
    log.append({"text": "two\nlines, ünï"})
    log.close()
    assert path.read_text() == '{"step": 1, "z": 1.5, "a": 2.0}\n{"text": "two\\nlines, ünï"}\n'


def test_nan_and_infinities_become_null_wherever_they_are(path):
    log = JsonlLog(path)
    log.append({"x": float("nan"), "parts": {"y": [1.0, float("-inf")]}, "n": 3, "t": "NaN"})
    assert json.loads(path.read_text()) == {"x": None, "parts": {"y": [1.0, None]}, "n": 3, "t": "NaN"}


def test_half_of_a_surrogate_pair_is_written_and_comes_back(path):
    JsonlLog(path).append({"text": "a\ud83d"})
    assert json.loads(path.read_bytes()) == {"text": "a\ud83d"}


def test_a_line_can_be_read_as_soon_as_it_is_appended(path):
    log = JsonlLog(path)
    log.append({"step": 1})
    assert path.read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("torn", [b"{", b'{"step": 3}', b"\0" * 100, b"x" * 200_000])
def test_opening_cuts_off_a_torn_last_line(path, torn):
    path.parent.mkdir()
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + torn)
    JsonlLog(path).log(3, {})
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n{"step": 3}\n'


def test_a_log_that_is_only_a_torn_line_becomes_empty(path):
    path.parent.mkdir()
    path.write_bytes(b"{" * 100_000)
    assert JsonlLog(path).size_bytes == 0


def test_steps_after_a_checkpoint_are_taken_back_and_not_written_twice(path):
    log = JsonlLog(path)
    log.log(1, {"x": 1.0})
    size = log.size_bytes
    assert size == len('{"step": 1, "x": 1.0}\n')
    log.log(2, {"x": 2.0})
    log.close()
    again = JsonlLog(path)
    again.truncate(size)
    again.log(2, {"x": 2.5})
    assert path.read_text() == '{"step": 1, "x": 1.0}\n{"step": 2, "x": 2.5}\n'


def test_a_log_shorter_than_the_checkpoint_says_gives_a_warning_and_stays(path, caplog):
    log = JsonlLog(path)
    log.log(1, {})
    log.truncate(100)
    assert path.read_text() == '{"step": 1}\n'
    assert "88 bytes shorter than the checkpoint says" in caplog.text  # 100 - 12


def test_a_full_disk_leaves_whole_lines(path, monkeypatch):
    log = JsonlLog(path)
    log.log(1, {})
    write = os.write
    calls = []

    def half_then_full(descriptor: int, line: bytes) -> int:
        calls.append(line)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(descriptor, line[: len(line) // 2])

    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(RunError, match=r"log\.jsonl cannot be written: No space left on device"):
        log.log(2, {})
    assert len(calls) == 2
    assert path.read_text() == '{"step": 1}\n'


def test_a_write_that_takes_only_a_part_is_continued(path, monkeypatch):
    log = JsonlLog(path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:3]))
    log.log(12345, {})
    assert path.read_text() == '{"step": 12345}\n'
