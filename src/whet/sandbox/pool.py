"""Worker processes that can be killed: a function of ours or the user's, called with a deadline, from any thread.

No alarm signals, which only a main thread may use and which C code that never returns does not see: a worker that is
late is killed and another takes its place. A worker that dies is replaced, and its call repeated once.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from whet.sandbox import _frames

START_TIMEOUT_S = 60.0
_is_worker = False


class WorkerTimeout(Exception):
    """The call was not done by its deadline."""


class WorkerLost(Exception):
    """The worker died, and so did the one after it."""


class WorkerRaised(Exception):
    """What the function raised: `kind` is the name of its class."""

    def __init__(self, kind: str, message: str, where: str = "") -> None:
        super().__init__(f"{kind}: {message}{where}")
        self.kind = kind


class CannotSend(Exception):
    """The arguments of a call cannot be pickled."""


def mark_worker() -> None:
    """Says that this process is a worker itself."""
    global _is_worker
    _is_worker = True


def is_worker() -> bool:
    """Whether this process is a worker, which can be killed already."""
    return _is_worker


class Pool:
    """`size` workers, each started when it is first needed."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.counts: Counter[str] = Counter()
        """`calls`, `timeouts`, `lost` (workers that died) since the beginning."""
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._lock = threading.Lock()
        for _ in range(size):
            self._idle.put(None)

    def call(self, function: str, *args: Any, timeout_s: float, memory_mb: int | None = None) -> Any:
        """What `package.module:function` returns, which JSON must be able to hold.

        memory_mb: what the call may take beyond what the worker has. Raises `WorkerTimeout`, `WorkerLost`,
        `WorkerRaised` and `CannotSend`.
        """
        place = (os.getcwd(), sys.path)  # noqa: PTH109 - sent as text
        try:
            message = pickle.dumps((function, args, place, memory_mb))
        except Exception as error:  # noqa: BLE001 - a __reduce__ may raise anything
            raise CannotSend(f"{type(error).__name__}: {error}") from None
        self._count("calls")
        how = ""
        for _ in range(2):
            try:
                return self._once(message, timeout_s)
            except _frames.Closed as error:
                how = str(error)
                self._count("lost")
        raise WorkerLost(f"the process that it ran in ended, and so did the next one ({how})")

    def close(self) -> None:
        """Ends the idle workers."""
        for _ in range(self.size):
            worker = self._idle.get()
            if worker is not None:
                worker.kill()
            self._idle.put(None)

    def _once(self, message: bytes, timeout_s: float) -> Any:
        worker = self._idle.get()
        keep = None
        try:
            worker = worker or _Worker()
            answer = worker.ask(message, timeout_s)
            keep = worker
        except TimeoutError:
            self._count("timeouts")
            raise WorkerTimeout(f"not done after {timeout_s:g} s") from None
        finally:
            if keep is None and worker is not None:
                worker.kill()
            self._idle.put(keep)
        if "raised" in answer:
            raise WorkerRaised(answer["raised"], answer["message"], answer["where"])
        return answer["value"]

    def _count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1


class _Worker:
    """A process and the socket to it."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        # -P: a random.py in the working directory is nobody's random
        command = [sys.executable, "-P", "-m", "whet.sandbox._worker", str(theirs.fileno()), str(os.getpid())]
        with theirs:
            self._process = spawn(command, pass_fds=(theirs.fileno(),))
        try:
            self.ask(_NOTHING, START_TIMEOUT_S)
        except BaseException as error:
            self.kill()
            if isinstance(error, TimeoutError):  # not the call's own deadline
                raise _frames.Closed(f"it did not start in {START_TIMEOUT_S:g} s") from None
            raise

    def ask(self, message: bytes, timeout_s: float) -> Any:
        """The answer to a call. Raises `TimeoutError` and `Closed`; the worker is of no use then."""
        deadline = time.monotonic() + timeout_s
        self._channel.settimeout(timeout_s)
        try:
            _frames.send(self._channel, message)
            return json.loads(_frames.receive(self._channel, deadline))
        except _frames.Closed:
            self._process.kill()  # it has ended as a rule, and then keeps the code that it ended with
            code = self._process.wait()
            raise _frames.Closed(f"signal {-code}" if code < 0 else f"exit code {code}") from None

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


_NOTHING = pickle.dumps(("builtins:len", ("",), (os.sep, sys.path), None))
_spawner = ThreadPoolExecutor(1, "whet-spawn")
_shared: Pool | None = None


def spawn(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """A child that a parent-death signal of its own ends with this process.

    Linux sends that signal when the *thread* that started the child ends, so one thread starts them all.
    """

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)

    return _spawner.submit(start).result()


def shared() -> Pool:
    """The pool of this process, one worker per core and at most eight."""
    global _shared
    if _shared is None:
        _shared = Pool(min(os.cpu_count() or 1, 8))
        atexit.register(_shared.close)
    return _shared


def lost_since() -> int | None:
    """How many workers of this process's pool have died, or were killed for being late, since the last time this was
    asked; None when there is no pool."""
    if _shared is None:
        return None
    total = _shared.counts["lost"] + _shared.counts["timeouts"]
    told, _shared.counts["told"] = _shared.counts["told"], total
    return total - told


def _after_fork() -> None:
    """A fork has neither the workers nor the thread."""
    global _shared, _spawner
    _shared, _spawner = None, ThreadPoolExecutor(1, "whet-spawn")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
