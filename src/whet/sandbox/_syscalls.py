"""The system calls that a confined program may make, with their numbers on x86-64 and aarch64.

Everything else gets EPERM: new processes, sockets, other processes' memory, owners, modes and times of files, keys,
shared memory that outlives a process, namespaces, io_uring. Sources: `syscall_64.tbl` and `asm-generic/unistd.h` of
Linux 6.12. None: the architecture has no such call.
"""

from __future__ import annotations

from typing import NamedTuple


class Call(NamedTuple):
    """A system call and its numbers."""

    name: str
    x86_64: int | None
    aarch64: int | None


ALLOWED = tuple(
    Call(*row)
    for row in (
        ("read", 0, 63), ("write", 1, 64), ("close", 3, 57), ("fstat", 5, 80), ("stat", 4, None),
        ("lstat", 6, None), ("poll", 7, None), ("ppoll", 271, 73), ("lseek", 8, 62), ("mmap", 9, 222),
        ("mprotect", 10, 226), ("munmap", 11, 215), ("brk", 12, 214), ("rt_sigaction", 13, 134),
        ("rt_sigprocmask", 14, 135), ("rt_sigreturn", 15, 139), ("pread64", 17, 67), ("pwrite64", 18, 68),
        ("readv", 19, 65), ("writev", 20, 66), ("access", 21, None), ("pipe", 22, None), ("pipe2", 293, 59),
        ("select", 23, None), ("pselect6", 270, 72), ("sched_yield", 24, 124), ("mremap", 25, 216),
        ("msync", 26, 227), ("madvise", 28, 233), ("dup", 32, 23), ("dup2", 33, None), ("dup3", 292, 24),
        ("pause", 34, None), ("nanosleep", 35, 101), ("clock_nanosleep", 230, 115), ("getitimer", 36, 102),
        ("alarm", 37, None), ("setitimer", 38, 103), ("getpid", 39, 172), ("sendfile", 40, 71),
        ("sendto", 44, 206), ("recvfrom", 45, 207), ("shutdown", 48, 210), ("getsockname", 51, 204),
        ("getpeername", 52, 205), ("getsockopt", 55, 209), ("exit", 60, 93), ("exit_group", 231, 94),
        ("uname", 63, 160), ("flock", 73, 32), ("fsync", 74, 82), ("fdatasync", 75, 83),
        ("ftruncate", 77, 46), ("getdents64", 217, 61), ("getcwd", 79, 17), ("chdir", 80, 49),
        ("fchdir", 81, 50), ("newfstatat", 262, 79), ("statx", 332, 291),
        ("faccessat", 269, 48), ("faccessat2", 439, 439), ("readlink", 89, None), ("readlinkat", 267, 78),
        ("umask", 95, 166), ("gettimeofday", 96, 169), ("getrlimit", 97, 163), ("getrusage", 98, 165),
        ("sysinfo", 99, 179), ("times", 100, 153), ("getuid", 102, 174), ("getgid", 104, 176),
        ("geteuid", 107, 175), ("getegid", 108, 177), ("getppid", 110, 173), ("getpgrp", 111, None),
        ("getgroups", 115, 158), ("getresuid", 118, 148), ("getresgid", 120, 150), ("getpgid", 121, 155),
        ("getsid", 124, 156), ("rt_sigpending", 127, 136), ("rt_sigtimedwait", 128, 137),
        ("rt_sigsuspend", 130, 133), ("sigaltstack", 131, 132), ("statfs", 137, 43), ("fstatfs", 138, 44),
        ("arch_prctl", 158, None), ("gettid", 186, 178), ("time", 201, None), ("futex", 202, 98),
        ("sched_getaffinity", 204, 123), ("epoll_create", 213, None), ("restart_syscall", 219, 128),
        ("fadvise64", 221, 223), ("set_tid_address", 218, 96), ("clock_gettime", 228, 113),
        ("clock_getres", 229, 114), ("epoll_wait", 232, None), ("epoll_ctl", 233, 21),
        ("set_robust_list", 273, 99), ("epoll_pwait", 281, 22), ("eventfd2", 290, 19),
        ("epoll_create1", 291, 20), ("getrandom", 318, 278), ("copy_file_range", 326, 285),
        ("membarrier", 324, 283), ("rseq", 334, 293), ("close_range", 436, 436),
    )
)  # fmt: skip


PRETENDED = (Call("unlink", 87, None), Call("unlinkat", 263, 35))
"""Calls that do nothing and report success. A file that had no name any more could not be counted, and a program that
tidies up after itself should go on."""


class Checked(NamedTuple):
    """A call that is allowed for some values of one argument only."""

    name: str
    x86_64: int | None
    aarch64: int | None
    argument: int
    rule: str
    """A name in `_seccomp`."""


CHECKED = (
    Checked("open", 2, None, 1, "plain_file"),
    Checked("openat", 257, 56, 2, "plain_file"),
    Checked("ioctl", 16, 29, 1, "plain_ioctl"),
    Checked("fcntl", 72, 25, 1, "plain_fcntl"),
    Checked("socketpair", 53, 199, 0, "unix_stream"),
    Checked("clone", 56, 220, 0, "thread_only"),
    Checked("kill", 62, 129, 0, "itself_only"),
    Checked("tgkill", 234, 131, 0, "itself_only"),
    Checked("prlimit64", 302, 261, 0, "itself_or_zero"),
)

CLONE3 = 435
"""ENOSYS on both, so that libc falls back to clone, whose flags a filter can see."""
