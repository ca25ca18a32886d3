from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from whet.errors import ConfigError
from whet.tracking.console import Console, sparkline
from whet.tracking.jsonl import JsonlLog
from whet.tracking.open import RunView, build_trackers, names
from whet.tracking.tensorboard import TensorBoard

METRICS = {"reward/mean": 0.4125, "completions/mean_length": 17.25, "perf/tokens_per_s": 12345.6}


@pytest.fixture
def run(tmp_path: Path) -> RunView:
    return RunView(
        directory=tmp_path,
        train_log=tmp_path / "logs" / "train_log.jsonl",
        tensorboard=tmp_path / "tensorboard",
        max_steps=300,
    )


def clock(*times: float) -> Callable[[], float]:
    return iter(times).__next__


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads back."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory)).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_the_trackers_of_the_package_are_found_by_their_files():
    assert {"console", "jsonl", "tensorboard"} <= set(names())
    assert not {"open", "metrics"} & set(names())


def test_a_run_opens_the_trackers_that_its_config_names_once_each(run):
    opened = build_trackers(["jsonl", "tensorboard", "console", "jsonl"], run)
    assert isinstance(opened[0], JsonlLog)  # the record, whose failure ends the run
    assert [type(t.tracker) for t in opened[1:]] == [TensorBoard, Console]
    for tracker in opened:
        tracker.log(1, METRICS)
        tracker.close()
    assert run.train_log.read_text().startswith('{"step": 1, "reward/mean": 0.4125')


@pytest.mark.parametrize("name", ["wandb2", "open", "metrics"])
def test_an_unknown_tracker_is_refused_with_the_ones_there_are(run, name):
    there_are = "console, jsonl, tensorboard, trackio, wandb"
    with pytest.raises(ConfigError, match=f"'{name}' is no tracker; expected one of {there_are}"):
        build_trackers([name], run)


def test_a_tracker_can_be_a_class_in_a_file_of_ones_own(run, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "class Mine:\n"
        "    def __init__(self, run): self.seen = [run.max_steps]\n"
        "    open = classmethod(lambda cls, run: cls(run))\n"
        "    def log(self, step, metrics): self.seen.append(step)\n"
        "    def close(self): pass\n"
    )
    (tracker,) = build_trackers([f"{file}:Mine"], run)
    tracker.log(4, {})
    assert tracker.tracker.seen == [300, 4]


def test_tensorboard_reads_back_what_was_logged_before_it_is_closed(run):
    tracker = TensorBoard.open(run)
    tracker.log(1, {"reward/mean": 0.5, "eval/echo/pass@1": 0.25})
    tracker.log(2, {"reward/mean": 0.75})
    assert scalars(run.tensorboard) == {"reward/mean": [(1, 0.5), (2, 0.75)], "eval/echo/pass@1": [(1, 0.25)]}


def test_tensorboard_forgets_the_steps_that_a_resumed_run_takes_back(run):
    first = TensorBoard(run.tensorboard)
    for step in (1, 2, 3):
        first.log(step, {"reward/mean": step / 4})
    first.close()
    second = TensorBoard(run.tensorboard, resume_step=1)
    second.log(2, {"reward/mean": 8.0})
    second.close()
    assert scalars(run.tensorboard) == {"reward/mean": [(1, 0.25), (2, 8.0)]}


def test_the_console_prints_one_plain_line_a_step_when_not_on_a_terminal():
    out = io.StringIO()
    console = Console(300, out, clock(0.0, 2.0, 5.0))
    console.log(11, METRICS)
    console.log(12, METRICS)
    console.log(14, {**METRICS, "eval/echo/pass@1": 0.5, "eval/echo/pass@1_low": 0.4})
    console.close()
    same = "reward  0.412  length   17.2  tokens/s  12,346"
    assert out.getvalue().splitlines() == [
        f"step   11/300  {same}",
        f"step   12/300  {same}  eta 0:09:36",  # 288 steps to go, 2 s each
        f"step   14/300  {same}  eval/echo/pass@1 0.500  eta 0:07:57",  # 286 steps, 5/3 s each: 476.7 s
    ]


def test_the_console_leaves_the_accuracies_of_tags_to_the_log():
    out = io.StringIO()
    Console(stream=out).log(5, {"eval/echo/pass@1": 0.5, "eval/echo/tag/length=2/pass@1": 0.25})
    assert out.getvalue() == "step    5  eval/echo/pass@1 0.500\n"


def test_the_console_shows_other_metrics_when_its_columns_are_missing():
    out = io.StringIO()
    Console(stream=out).log(5, {"loss/sft": 1.23456})
    assert out.getvalue() == "step    5  loss/sft 1.235\n"


def test_the_console_estimates_the_time_from_recent_steps():
    out = io.StringIO()
    times = [float(i) for i in range(30)] + [29.0 + 10.0 * i for i in range(1, 31)]
    console = Console(160, out, clock(*times))
    for step in range(60):
        console.log(step, {"loss": 1.0})
    assert out.getvalue().splitlines()[-1].endswith("eta 0:16:50")  # 101 steps, 10 s each


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_console_shows_a_live_line_on_a_terminal_and_keeps_evaluations_above_it():
    out = Terminal()
    console = Console(4, out, clock(0.0, 1.0, 2.0))
    console.log(1, {"reward/mean": 0.0})
    console.log(2, {"reward/mean": 0.5, "eval/echo/pass@1": 0.25})
    console.log(3, {"reward/mean": 1.0})
    console.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "step    3/4  reward  1.000  eta 0:00:01  ▁▅█" in text
    assert "eval/echo/pass@1 0.250" in text
    assert out.getvalue().endswith("\x1b[?25h")  # the cursor is back


def test_a_sparkline_goes_from_the_smallest_to_the_largest_value():
    assert sparkline(deque([0.0, 1.0, 7.0, 3.0])) == "▁▂█▄"
    assert sparkline(deque([2.0, 2.0])) == "▁▁"
    assert sparkline(deque()) == ""
