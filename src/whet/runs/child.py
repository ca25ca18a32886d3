"""Child processes that do not outlive the process that started them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Collection, Sequence
from typing import Any


def start(command: Sequence[str], **streams: Any) -> subprocess.Popen[Any]:
    """Starts a command in a session of its own, with nothing to read; `streams` are those of `subprocess.Popen`.

    Ctrl-C in the terminal does not reach it: whoever started it must `end` it.
    """
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **streams)


def end(children: Collection[subprocess.Popen[Any]], grace_s: float = 0.0) -> None:
    """Ends children and all that they started; does nothing where all have ended.

    With `grace_s` each is asked first (SIGTERM) and has that long to save what it has. A second Ctrl-C ends the
    wait.
    """
    try:
        if grace_s:
            _ask(children, time.monotonic() + grace_s)
    finally:
        for child in children:
            _kill(child)


def _kill(child: subprocess.Popen[Any]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in filter(None, (child.stdout, child.stderr)):
        stream.close()


def _ask(children: Collection[subprocess.Popen[Any]], deadline: float) -> None:
    for child in children:
        child.terminate()  # not its own children: a worker that dies first would fail what is to be saved
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))
