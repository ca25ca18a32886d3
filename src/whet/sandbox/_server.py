"""The fork server: a small warm interpreter whose children each run one program. Standard library only.

Requests are packets on the socket whose descriptor is the argument: `{"start": {...}}` with the child's socket and its
standard streams, `{"kill": pid}`. It ends when the socket closes, and its children with it.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, NamedTuple

_HERE = os.path.dirname(__file__)  # noqa: PTH120 - pathlib would be in every child
sys.path.insert(0, _HERE)
import _child  # type: ignore[import-not-found]  # noqa: E402
import _confine  # type: ignore[import-not-found]  # noqa: E402

sys.path.remove(_HERE)

CONTROL = 3
_STREAMS = 4
_WATCH_S = 0.05
_MOST_FILES = 10_000
_PRELOADED = (  # what programs import most; each costs every child some of its fork
    *("bisect", "collections", "collections.abc", "copy", "functools", "heapq", "itertools"),
    *("math", "operator", "random", "re", "string", "typing"),
)


class _Child(NamedTuple):
    """A child, and the server's copy of its socket."""

    pidfd: int | None
    channel: int
    scratch: str
    limits: dict[str, int]


class Server:
    """The children, by pid."""

    def __init__(self, settings: dict[str, Any], control: socket.socket) -> None:
        self._settings = settings
        self._control = control
        self._cages: dict[tuple[str, ...], Any] = {}
        self._children: dict[int, _Child] = {}
        self._stopped: dict[int, str] = {}
        """Why the server itself ended a child."""
        self._looked = 0.0

    def run(self) -> None:
        """Serves until nobody asks any more."""
        while True:
            pidfds = [child.pidfd for child in self._children.values() if child.pidfd is not None]
            blind = len(pidfds) < len(self._children)  # no pidfd on this system: look every few milliseconds
            control = self._control.fileno()
            poll = select.poll()  # select() knows no descriptor above 1023
            for descriptor in (control, *pidfds):
                poll.register(descriptor, select.POLLIN)
            wait_ms = 5 if blind else 1000 * _WATCH_S if self._children else None
            ready = [descriptor for descriptor, _ in poll.poll(wait_ms)]
            if blind or len(ready) > (control in ready):
                self._reap()
            if control in ready and not self._serve():
                break
            if time.monotonic() - self._looked > _WATCH_S:
                self._watch()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _watch(self) -> None:
        """Ends the children that have more than a limit of the kernel's can count."""
        for pid, child in self._children.items():
            if pid not in self._stopped and (why := _excess(pid, child)):
                self._stopped[pid] = why
                os.kill(pid, signal.SIGKILL)
        self._looked = time.monotonic()

    def _serve(self) -> bool:
        """One request; False when there will be no more."""
        message, descriptors, _, _ = socket.recv_fds(self._control, 2**16, _STREAMS)
        if not message:
            return False
        request = json.loads(message)
        if "start" in request:
            try:
                answer: dict[str, Any] = {"pid": self._start(request["start"], descriptors)}
            except OSError as error:  # no process or descriptor is left: the other children go on
                answer = {"failed": str(error)}
            for descriptor in descriptors[1 if "pid" in answer else 0 :]:
                os.close(descriptor)
            self._control.send(json.dumps(answer).encode())
        elif request["kill"] in self._children:
            os.kill(request["kill"], signal.SIGKILL)
        return True

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> int:
        cage = self._cage(tuple(request["limits"]["packages"]))
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                _become(self._settings["standard"], request, descriptors, cage)
            except BaseException as error:  # noqa: BLE001 - a child must never become a second server
                code = _failed(error)
            finally:
                os._exit(code)
        pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        self._children[pid] = _Child(pidfd, descriptors[0], request["scratch"], request["limits"])
        return pid

    def _cage(self, packages: tuple[str, ...]) -> Any:
        """For programs that may import these packages; None with `unsafe`."""
        if packages not in self._cages:
            readable = [*self._settings["readable"], *packages]
            self._cages[packages] = None if self._settings["unsafe"] else _confine.Cage(readable)
        return self._cages[packages]

    def _reap(self) -> None:
        """Tells how children ended, after whatever they said themselves."""
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid)
            if child.pidfd is not None:
                os.close(child.pidfd)
            with socket.socket(fileno=child.channel) as last:
                last.setblocking(False)
                ended = os.waitstatus_to_exitcode(status)
                body = json.dumps({"ended": ended, "why": self._stopped.pop(pid, "")}).encode()
                with contextlib.suppress(OSError):  # where nobody listens, or the child has filled the socket
                    last.send(struct.pack("!I", len(body)) + body)


def _excess(pid: int, child: _Child) -> str:
    """What a child has too much of, if anything: files of its folder, or threads."""
    used = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(child.scratch) as entries:
        for count, entry in enumerate(entries):
            used += entry.stat(follow_symlinks=False).st_size + 4096
            if used > child.limits["disk_mb"] * 2**20 or count > _MOST_FILES:
                return "its files are too large"
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
        if int(stat.read().rpartition(b")")[2].split()[17]) > child.limits["threads"]:
            return "it has too many threads"
    return ""


def _failed(error: BaseException) -> int:
    """71 when the child cannot be confined; a loss of the connection is an ordinary end."""
    if type(error).__name__ == "Closed":
        return 0
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return 71


def _become(standard: list[str], request: dict[str, Any], descriptors: list[int], cage: Any) -> None:
    """Turns this fork of the server into a child, and serves until its end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.setsid()
    for target, source in (
        (3, descriptors[0]),
        (0, descriptors[1]),
        (1, descriptors[2]),
        (2, descriptors[3]),
    ):
        os.dup2(source, target, inheritable=False)
    channel = socket.socket(fileno=3)
    os.chdir(request["scratch"])
    sys.path[:] = [*standard, *request["limits"]["packages"]]
    _confine.set_limits(request["limits"])
    if cage is None:
        os.closerange(4, _confine._MOST_DESCRIPTORS)
    else:
        cage.enter(request["scratch"])
    _child.serve(channel, request["nonce"], request["name"])


def main() -> None:
    """Reads the settings, imports what programs often need, and serves."""
    given = int(sys.argv[1])
    if given != CONTROL:  # a child's own socket takes this place, and nothing that it is sent may have it
        os.dup2(given, CONTROL, inheritable=False)
        os.close(given)
    control = socket.socket(fileno=CONTROL)
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # which `site` makes, and it stays out
    for name in _PRELOADED:
        __import__(name)
    parent, settings = os.getppid(), json.loads(control.recv(2**16))
    if sys.platform == "linux":
        _confine._libc.prctl(1, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        return
    gc.collect()
    gc.freeze()  # so that a child's collector does not copy every page
    control.send(b"ready")
    Server({**settings, "standard": list(sys.path)}, control).run()


if __name__ == "__main__":
    main()
