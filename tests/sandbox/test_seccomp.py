"""The filter of both architectures, run by a machine of our own: which calls pass, and with which arguments.

aarch64 was not run on hardware; its program is held against the same table and the same rules.
"""

from __future__ import annotations

import struct

import pytest

from whet.sandbox import _seccomp, _syscalls

PID = 4321
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, EPERM, ENOSYS, SUCCESS = 0x7FFF0000, 0x80000000, 0x50001, 0x50026, 0x50000
DENIED = {  # name: numbers on x86-64 and aarch64, from the kernel's tables
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "mount": (165, 40),
    "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "keyctl": (250, 219), "io_uring_setup": (425, 425),
    "memfd_create": (319, 279), "shmget": (29, 194), "fchmod": (91, 52), "fchown": (93, 55), "utimensat": (280, 88),
    "setsid": (112, 157), "setuid": (105, 146), "capset": (126, 91), "symlinkat": (266, 36), "linkat": (265, 37),
    "mkdirat": (258, 34), "pidfd_send_signal": (424, 424), "rt_sigqueueinfo": (129, 138), "truncate": (76, 45),
    "openat2": (437, 437), "userfaultfd": (323, 282), "sendmsg": (46, 211), "tkill": (200, 130),
    "renameat2": (316, 276), "clone with another table": (437, 437), "a call of the future": (900, 900),
}  # fmt: skip


def run(program: bytes, number: int, architecture: int, args: tuple[int, ...] = ()) -> int:
    """What the filter returns for a call: an interpreter of classic BPF as seccomp uses it."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(args + (0,) * 6)[:6])
    lines = list(struct.iter_unpack("HBBI", program))
    at, value = 0, 0
    while True:
        code, if_true, if_false, constant = lines[at]
        at += 1
        if code == 0x20:  # load a word
            (value,) = struct.unpack_from("=I", data, constant)
        elif code == 0x54:  # and
            value &= constant
        elif code == 0x05:  # jump
            at += constant
        elif code == 0x06:  # return
            return constant
        else:
            holds = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[code]
            at += if_true if holds else if_false


@pytest.fixture(params=sorted(ARCHITECTURES))
def machine(request):
    return request.param


@pytest.fixture
def verdict(machine):
    program = _seccomp.program(machine, PID)

    def of(call, *args):
        number = getattr(call, machine)
        return None if number is None else run(program, number, ARCHITECTURES[machine], args)

    return of


def test_every_listed_call_passes(verdict):
    assert {verdict(call) for call in _syscalls.ALLOWED} <= {ALLOW, None}


def test_every_other_call_is_refused(machine):
    program = _seccomp.program(machine, PID)
    listed = {getattr(c, machine) for c in (*_syscalls.ALLOWED, *_syscalls.CHECKED)}
    passes = {n for n in range(1200) if run(program, n, ARCHITECTURES[machine], (2**32 - 1,) * 6) != EPERM}
    pretended = {getattr(c, machine) for c in _syscalls.PRETENDED} - {None}
    assert {run(program, n, ARCHITECTURES[machine]) for n in pretended} == {SUCCESS}
    assert passes - listed - pretended == {_syscalls.CLONE3}
    assert run(program, _syscalls.CLONE3, ARCHITECTURES[machine]) == ENOSYS


@pytest.mark.parametrize("name", sorted(DENIED))
def test_a_dangerous_call_is_refused(machine, name):
    number = DENIED[name][sorted(ARCHITECTURES).index(machine) ^ 1]
    assert run(_seccomp.program(machine, PID), number, ARCHITECTURES[machine]) == EPERM


@pytest.mark.parametrize(
    ("name", "args", "passes"),
    [
        ("clone", (0x3D0F00,), True),  # pthread_create
        ("clone", (17,), False),  # fork: SIGCHLD
        ("clone", (0x4111,), False),  # vfork
        ("clone", (0x3D0F00 | 0x10000000,), False),  # a thread in a new user namespace
        ("kill", (PID, 9), True),
        ("kill", (PID + 1, 9), False),
        ("kill", (0, 9), False),
        ("kill", (2**64 - 1, 9), False),
        ("tgkill", (PID, 5, 6), True),
        ("tgkill", (1, 1, 6), False),
        ("openat", (0, 0, 0o1), True),
        ("openat", (0, 0, 0o1000), False),  # O_RDONLY | O_TRUNC
        ("openat", (0, 0, 0o1001), True),
        ("openat", (0, 0, 0o1002), True),
        ("openat", (0, 0, 0o1003), False),  # neither reading nor writing, and emptying
        ("openat", (0, 0, 0o20200002), False),  # O_TMPFILE | O_RDWR
        ("ioctl", (1, 0x5401), True),
        ("ioctl", (1, 0x5412), False),  # TIOCSTI
        ("fcntl", (1, 2), True),
        ("fcntl", (1, 8), False),  # F_SETOWN
        ("socketpair", (1, 1), True),
        ("socketpair", (1, 1 | 0o2000000), True),  # SOCK_STREAM | SOCK_CLOEXEC
        ("socketpair", (1, 2), False),  # SOCK_DGRAM
        ("socketpair", (2, 1), False),
        ("prlimit64", (0,), True),
        ("prlimit64", (1,), False),
    ],
)
def test_some_calls_pass_for_good_arguments_only(verdict, name, args, passes):
    call = next(c for c in _syscalls.CHECKED if c.name == name)
    assert verdict(call, *args) == (ALLOW if passes else EPERM)


def test_calls_of_another_architecture_end_the_process(machine):
    program = _seccomp.program(machine, PID)
    assert run(program, 0, 0x40000003) == KILL  # 32-bit x86
    assert run(program, 63, ARCHITECTURES["aarch64" if machine == "x86_64" else "x86_64"]) == KILL


def test_the_second_numbers_of_x86_end_the_process():
    assert run(_seccomp.program("x86_64", PID), 0x40000000 | 520, ARCHITECTURES["x86_64"]) == KILL
