"""Every checkpoint in a process of its own: none takes the others with it."""

import sys
import time
from pathlib import Path

import pytest

from processes import assert_ends
from whet.evals.metrics import metrics_of, to_json
from whet.evals.sweep import sweep

CHILD = """
import json, subprocess, sys, time
which, metrics = sys.argv[1:]
if which == "2":
    sys.exit("something\\nboom")
if which == "3":
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open("grandchild", "w").write(str(grandchild.pid))
    time.sleep(60)
if which == "4":
    print("hello")
else:
    print(json.dumps({"step": 9 if which == "final" else int(which), "metrics": json.loads(metrics)}))
"""


@pytest.fixture
def command(record):
    import json

    metrics = json.dumps(to_json(metrics_of([record("a"), record("b", value=0.0)])))
    return lambda checkpoint: [sys.executable, "-S", "-c", CHILD, checkpoint, metrics]


def test_a_sweep_goes_on_after_children_that_fail_hang_or_babble(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    start = time.monotonic()
    rows = sweep(tmp_path, ["1", "2", "3", "4", "final"], 1.5, command, seen.append)
    assert time.monotonic() - start < 10
    assert [(row.checkpoint, row.step, row.ok) for row in rows] == [
        ("1", 1, True), ("2", 2, False), ("3", 3, False), ("4", 4, False), ("final", 9, True),
    ]  # fmt: skip
    assert rows[0].metrics["pass@1"].mean == rows[-1].metrics["pass@1"].mean == 0.5
    assert rows[1].error == "exit code 1: boom"
    assert rows[2].error == "not done after 1.5 s"
    assert "'hello'" in rows[3].error
    assert seen == rows
    assert_ends(int(Path("grandchild").read_text()))


def test_a_command_that_does_not_exist_is_a_row(tmp_path):
    (row,) = sweep(tmp_path, ["final"], 1, lambda checkpoint: [str(tmp_path / "nothing")])
    assert "could not be started" in row.error
    assert row.step is None
