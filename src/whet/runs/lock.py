"""One process at a time writes into a directory; the system lets go of a lock when its process dies."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whet.errors import RunError

_TRIES = 10
_PAUSE_S = 0.05
_held: set[int] = set()


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Keeps every other process that asks from holding the directory too.

    Raises `RunError` naming the process that holds it. A forked child does not inherit the lock, so a worker that
    outlives a killed owner does not keep the directory locked.
    """
    descriptor = os.open(_file(directory), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:  # not in a forked child
            _held.remove(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # for a child too that has not closed its copy yet
            os.close(descriptor)


def is_held(directory: Path) -> bool:
    """Whether a living process holds the directory."""
    try:
        descriptor = os.open(_file(directory), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _file(directory: Path) -> Path:
    return directory / ".lock"


def _acquire(descriptor: int, directory: Path) -> None:
    for attempt in range(_TRIES):  # a reader that asks whether the lock is held has it for a moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if attempt == _TRIES - 1:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
                raise RunError(f"{directory} is in use by {holder}: wait for it, or stop it") from error
            time.sleep(_PAUSE_S)
        else:
            return


def _let_go() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
