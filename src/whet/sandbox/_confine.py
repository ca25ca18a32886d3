"""Takes rights away from the process that calls it. It runs in the child: standard library only.

Landlock (files, TCP, signals), seccomp (system calls), limits, capabilities. Documentation: `landlock(7)`,
`seccomp(2)`, `setrlimit(2)`, `capabilities(7)`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable

if __package__:
    from whet.sandbox import _seccomp
else:
    import _seccomp  # type: ignore[import-not-found, no-redef]

MACHINES = ("x86_64", "aarch64")
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_CAPSET = {"x86_64": 126, "aarch64": 91}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_SIGKILL = 9
_CAPABILITY_VERSION = struct.pack("Ii", 0x20080522, 0)
_MOST_DESCRIPTORS = 2**16
_PLACE = 0x5EC0_3B7F
"""Stands for the pid in the filter, until there is one."""

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_DIR
_SCRATCH = _READ | 1 << 1 | 1 << 8  # write, make a plain file: no folders, so it stays flat
_TRUNCATE = 1 << 14
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def landlock_abi() -> int:
    """The version of Landlock that this kernel offers; 0 is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def has_seccomp() -> bool:
    """Whether this kernel takes filters, on an architecture that there is one for."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return False
    action = ctypes.c_uint32(_seccomp.ERRNO)
    return int(_libc.syscall(_SECCOMP[platform.machine()], 2, 0, ctypes.byref(action))) == 0


def set_limits(limits: dict[str, int]) -> None:
    """Limits of the process: `cpu_s`, `memory_mb` (address space), `file_mb`, `open_files`; no core file."""
    hard = {
        resource.RLIMIT_AS: limits["memory_mb"] * 2**20,
        resource.RLIMIT_FSIZE: limits["file_mb"] * 2**20,
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for which, value in hard.items():
        try:
            resource.setrlimit(which, (value, value))
        except (OSError, ValueError):
            if sys.platform == "linux":
                raise  # elsewhere only with sandbox.unsafe, which says so
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"], limits["cpu_s"] + 1))


class Cage:
    """What the children of a server have in common, prepared once."""

    def __init__(self, readable: Iterable[str]) -> None:
        """readable: files and folders; one that this user cannot reach is left out."""
        self._machine = platform.machine()
        self._code = _seccomp.program(self._machine, _PLACE)
        self._rules = [_rule(_open("/dev/null"), _READ_FILE | 1 << 1)]
        for path in readable:
            with contextlib.suppress(PermissionError, FileNotFoundError):
                self._rules.append(_rule(_open(path), _READ if os.path.isdir(path) else _READ_FILE))  # noqa: PTH112
        abi = landlock_abi()
        self._files = _FILE_RIGHTS[min(abi, 5)]
        network = 0b11 if abi >= 4 else 0  # bind and connect
        scoped = 0b11 if abi >= 6 else 0  # abstract sockets and signals
        size = 24 if abi >= 6 else 16 if abi >= 4 else 8
        self._attributes = struct.pack("QQQ", self._files, network, scoped), ctypes.c_size_t(size)

    def enter(self, scratch: str) -> None:
        """Takes away everything but reading what is readable, and plain files in the folder `scratch`.

        For good, and for every thread; no descriptor beyond 3 is left. Raises `OSError` when the kernel refuses.
        """
        for option, value in (
            (_PR_SET_PDEATHSIG, _SIGKILL),
            (_PR_SET_DUMPABLE, 0),
            (_PR_SET_NO_NEW_PRIVS, 1),
        ):
            _check(_libc.prctl(option, value, 0, 0, 0), "prctl")
        ruleset = _check(_libc.syscall(_CREATE_RULESET, *self._attributes, 0), "landlock")
        own = _rule(_open(scratch), (_SCRATCH | _TRUNCATE) & self._files)
        for rule in (*self._rules, own):
            _check(_libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), "landlock")
        _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock")
        os.closerange(4, _MOST_DESCRIPTORS)
        _check(_libc.syscall(_CAPSET[self._machine], _CAPABILITY_VERSION, bytes(24)), "capset")
        code = self._code.replace(struct.pack("I", _PLACE), struct.pack("I", os.getpid()))
        buffer = ctypes.create_string_buffer(code, len(code))
        fprog = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
        _check(_libc.syscall(_SECCOMP[self._machine], 1, 0, fprog), "seccomp")


def _open(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _rule(descriptor: int, rights: int) -> bytes:
    """`struct landlock_path_beneath_attr`."""
    return struct.pack("=Qi", rights, descriptor)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
