"""Starts the fork server, and children through it: one server for each way of isolation in this process."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.sandbox import _confine
from whet.sandbox.limits import SandboxError, unsupported
from whet.sandbox.pool import spawn

_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"),
    *("/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom", "/dev/random", "/dev/zero"),
)
_ANSWER_S = 30.0
_PREFIX = "whet-sandbox-"
_OURS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Way:
    """How children are kept apart."""

    is_bubblewrapped: bool = False
    is_unsafe: bool = False
    user: int | None = None
    """Another user than this process's own, which only root can choose."""


class ForkServer:
    """A server process and the folder above its children's scratch folders."""

    def __init__(self, way: Way) -> None:
        """Raises `SandboxError` when this kernel lacks what the way needs."""
        if not way.is_unsafe:
            check_support(way)
        self._lock = threading.Lock()
        self._counter = itertools.count()
        self.user = way.user
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self.folder.chmod(0o711)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_ANSWER_S)
        command = [_python(), "-I", "-S", "-B", "-X", "utf8", str(_OURS / "_server.py")]
        if way.is_bubblewrapped:
            command = [*_bubblewrap(self.folder), *command]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        with theirs:
            self._process = _start(command, theirs.fileno(), self._said.fileno(), way.user)
        self._tell({"readable": _readable(), "unsafe": way.is_unsafe})
        self.is_lost = False

    def start(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """The pid of a new child, which owns these descriptors: its socket and its three standard streams.

        Raises `SandboxError` when the server is lost.
        """
        message = json.dumps({"start": request}).encode()
        with self._lock:
            try:
                socket.send_fds(self._control, [message], descriptors)
                answer = json.loads(self._control.recv(2**12))
            except (OSError, ValueError) as error:
                self.is_lost = True
                raise SandboxError(f"the sandbox's server is lost ({error!r}); it is started anew") from None
        if "pid" not in answer:
            raise SandboxError(f"the sandbox cannot start another program: {answer['failed']}")
        return int(answer["pid"])

    def scratch(self) -> str:
        """A new empty folder for one child."""
        folder = f"{self.folder}/{next(self._counter)}"
        try:
            os.mkdir(folder, 0o700)  # noqa: PTH102 - a path of pathlib costs more than the folder
        except OSError as error:
            self.is_lost = not self.folder.is_dir()
            raise SandboxError(f"the sandbox has no room for a program's folder ({error})") from None
        if self.user is not None:
            os.chown(folder, self.user, self.user)
        return folder

    def kill(self, pid: int) -> None:
        """Ends a child at once, if it is still there."""
        with self._lock:
            try:
                self._control.send(json.dumps({"kill": pid}).encode())
            except OSError:
                self.is_lost = True  # and its children with it

    def close(self) -> None:
        """Ends the server and its children."""
        self._control.close()
        self._process.kill()
        self._process.wait()
        self._said.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tell(self, settings: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(settings).encode())
            ready = self._control.recv(2**12)
        except OSError:
            ready = b""
        if ready != b"ready":
            self._process.kill()
            self._process.wait()
            said = os.pread(self._said.fileno(), 2**16, 0).decode(errors="replace")
            self.close()
            raise SandboxError(
                f"the sandbox's server did not start: {said.strip()[-500:] or 'no word from it'}"
            )


def check_support(way: Way) -> None:
    """Raises `SandboxError` that says what this kernel or system lacks, and what to do."""
    if not (sys.platform == "linux" and _confine.has_seccomp()):
        raise SandboxError(unsupported())
    if not _confine.landlock_abi():
        raise SandboxError(
            "this kernel offers no Landlock (Linux 5.13 or newer has it, where `landlock` is in the list that "
            "/sys/kernel/security/lsm shows; boot with lsm=landlock,... to turn it on). Programs of a model are not "
            "run without it; sandbox.unsafe=true runs them unprotected"
        )
    if way.is_bubblewrapped and not shutil.which("bwrap"):
        raise SandboxError(
            "sandbox.isolation=bubblewrap needs the program bwrap: install the system package bubblewrap, or leave "
            "sandbox.isolation=landlock, which needs nothing"
        )


_servers: dict[Way, ForkServer] = {}
_servers_lock = threading.Lock()


def server_for(way: Way) -> ForkServer:
    """The server of this process for a way of isolation, started when it is first needed and when it was lost."""
    with _servers_lock:
        found = _servers.get(way)
        if found is None or found.is_lost:
            if found is not None:
                found.close()
            _servers[way] = ForkServer(way)
        return _servers[way]


def close_servers() -> None:
    """Ends every server; the next session starts one again."""
    with _servers_lock:
        while _servers:
            _servers.popitem()[1].close()


def _after_fork() -> None:
    """A fork has none of the servers, and may have been made while another thread held the lock."""
    global _servers_lock
    _servers.clear()
    _servers_lock = threading.Lock()


atexit.register(close_servers)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _python() -> str:
    """The interpreter itself, not that of a virtual environment, whose packages are no program's business."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _start(command: list[str], descriptor: int, said: int, user: int | None) -> subprocess.Popen[bytes]:
    identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    return spawn(
        [*command, str(descriptor)],
        pass_fds=(descriptor,),
        stdout=subprocess.DEVNULL,
        stderr=said,
        env={"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
        cwd="/",
        **identity,
    )


def _sweep() -> None:
    """Removes the folders of processes that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, OSError):
            continue  # not ours to judge


def _needed() -> list[str]:
    """The standard library and what it links to."""
    own = [
        str(Path(os.__file__).parent),
        sysconfig.get_config_var("LIBDIR"),
    ]  # not those of a virtual environment
    return [p for p in (*own, *_SYSTEM) if p and p != "/" and Path(p).exists()]


def _readable() -> list[str]:
    """The same without links and what lies in another: each costs every child a little."""
    found = {str(Path(p).resolve()) for p in _needed()}
    return sorted(p for p in found if not any(str(above) in found for above in Path(p).parents))


def _bubblewrap(scratch: Path) -> list[str]:
    """A world of its own: no network, no processes, no files but the interpreter, and `scratch` to write in."""
    shown = {
        p
        for p in (*_needed(), str(Path(_python()).resolve()), str(_OURS))
        if not p.startswith(("/dev", "/usr"))
    }
    binds = [word for path in sorted(shown) for word in ("--ro-bind", path, path)]
    return [
        "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
        "--setenv", "LANG", "C.UTF-8", "--setenv", "PYTHONHASHSEED", "0", "--cap-drop", "ALL",
        "--tmpfs", "/tmp", "--ro-bind", "/usr", "/usr", *binds, "--proc", "/proc", "--dev", "/dev",
        "--bind", str(scratch), str(scratch), "--chdir", "/", "--",
    ]  # fmt: skip
