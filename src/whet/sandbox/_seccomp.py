"""The seccomp filter, as a program for the kernel's classic BPF machine. Standard library only."""

from __future__ import annotations

import struct
from collections.abc import Sequence

if __package__:
    from whet.sandbox import _syscalls
else:  # in the fork server, which knows nothing of whet
    import _syscalls  # type: ignore[import-not-found, no-redef]

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = 1, 38
SUCCESS = ERRNO | 0

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _JUMP, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x05, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT = 0x40000000

_O_ACCMODE, _O_TRUNC, _O_TMPFILE = 0o3, 0o1000, 0o20000000
_O_WRONLY, _O_RDWR = 1, 2
_AF_UNIX, _SOCK_STREAM = 1, 1
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020080  # every CLONE_NEW* flag: namespaces, time included
_IOCTLS = (
    0x5401,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)  # dup, flags, locks, pipe size; none that makes signals

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, constant."""

_DENY: list[Instruction] = [(_RETURN, 0, 0, ERRNO | EPERM)]


def program(machine: str, pid: int) -> bytes:
    """The filter of a process: `struct sock_filter` one after another.

    machine: `x86_64` or `aarch64`. pid: of the process that it is for, the only one that it may signal.
    """
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        *_search(_intervals(machine, pid)),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _intervals(machine: str, pid: int) -> list[tuple[int, list[Instruction]]]:
    """First numbers of stretches of calls that are treated alike, in order, and what is done."""
    done: dict[int | None, list[Instruction]] = {_syscalls.CLONE3: [(_RETURN, 0, 0, ERRNO | ENOSYS)]}
    for plain in _syscalls.ALLOWED:
        done[getattr(plain, machine)] = [(_RETURN, 0, 0, ALLOW)]
    for plain in _syscalls.PRETENDED:
        done[getattr(plain, machine)] = [(_RETURN, 0, 0, SUCCESS)]
    for call in _syscalls.CHECKED:
        argument = (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * call.argument)
        done[getattr(call, machine)] = [argument, *_rule(call.rule, pid), *_DENY]
    last = max(number for number in done if number is not None)
    found: list[tuple[int, list[Instruction]]] = []
    for number in range(last + 2):
        lines = done.get(number, _DENY)
        if not found or found[-1][1] != lines:
            found.append((number, lines))
    if machine == "x86_64":  # the numbers of the x32 interface mean other calls
        found.append((_X32_BIT, [(_RETURN, 0, 0, KILL)]))
    return found


def _search(intervals: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """Finds the interval of a number by halving: the kernel tries every number when it takes a filter."""
    if len(intervals) == 1:
        return intervals[0][1]
    half = len(intervals) // 2
    below, above = _search(intervals[:half]), _search(intervals[half:])
    if len(below) < 256:
        return [(_AT_LEAST, len(below), 0, intervals[half][0]), *below, *above]
    return [(_AT_LEAST, 0, 1, intervals[half][0]), (_JUMP, 0, 0, len(below)), *below, *above]


def _rule(name: str, pid: int) -> list[Instruction]:
    """Returns ALLOW for a good argument (its low half, which is all that these calls look at), else falls through."""
    if name == "plain_file":  # with a name; and early Landlock lets a file that may only be read be emptied
        return [
            (_ANY_BIT, 6, 0, _O_TMPFILE),
            (_ANY_BIT, 1, 0, _O_TRUNC),
            (_RETURN, 0, 0, ALLOW),
            (_AND, 0, 0, _O_ACCMODE),
            (_EQUAL, 1, 0, _O_WRONLY),
            (_EQUAL, 0, 1, _O_RDWR),
            (_RETURN, 0, 0, ALLOW),
        ]
    if name == "unix_stream":  # a datagram could be sent to any socket of the host
        return [
            (_EQUAL, 0, 4, _AF_UNIX),
            (_LOAD, 0, 0, _ARGUMENTS_AT + 8),
            (_AND, 0, 0, 0xF),
            (_EQUAL, 0, 1, _SOCK_STREAM),
            (_RETURN, 0, 0, ALLOW),
        ]
    if name == "thread_only":
        return [(_ANY_BIT, 2, 0, _CLONE_NEW), (_ANY_BIT, 0, 1, _CLONE_THREAD), (_RETURN, 0, 0, ALLOW)]
    values: dict[str, Sequence[int]] = {
        "plain_ioctl": _IOCTLS,
        "plain_fcntl": _FCNTLS,
        "itself_only": (pid,),
        "itself_or_zero": (0, pid),
    }
    return [line for value in values[name] for line in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, ALLOW))]
