"""The other end of `pool`: calls the functions it is told to, until nobody asks any more.

It runs our own functions and the user's, on texts of a model; what a model wrote as a program runs in a `session`.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pickle
import resource
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from whet.sandbox import _frames, pool

_PR_SET_PDEATHSIG = 1


def main(descriptor: int, parent: int) -> None:
    """Serves the socket with this descriptor. Ends with its parent, however that ends."""
    pool.mark_worker()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which waits for what is running
    channel = socket.socket(fileno=descriptor)
    while os.getppid() == parent:
        try:
            message = _frames.receive(channel)
        except _frames.Closed:
            return
        _frames.send(channel, json.dumps(_answer(message)).encode())


def _answer(message: bytes) -> dict[str, Any]:
    """What the call returned, or what it raised."""
    try:
        function, args, place, memory_mb = pickle.loads(
            message
        )  # from our own process, and only ever this way
        _move_to(*place)
        _limit_memory(memory_mb)
        module, _, name = function.partition(":")
        value = getattr(importlib.import_module(module), name)(*args)
        json.dumps(value)
        return {"value": value}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it was, the caller hears of it
        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        return {"raised": type(error).__name__, "message": str(error)[:500], "where": where}
    finally:
        _limit_memory(None)


def _move_to(directory: str, path: list[str]) -> None:
    """To where the caller is, so that `./my_reward.py` and `my_package` mean the same here."""
    if Path.cwd() != Path(directory):
        os.chdir(directory)
    sys.path[:] = path


def _limit_memory(extra_mb: int | None) -> None:
    """Address space beyond what is in use now; None is no limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = hard
    statm = Path("/proc/self/statm")
    if extra_mb is not None and statm.exists():
        soft = int(statm.read_text().split()[0]) * resource.getpagesize() + extra_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
