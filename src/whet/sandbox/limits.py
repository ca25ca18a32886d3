"""What a program may use, and what came of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from whet.errors import ConfigError, WhetError

Status = Literal["ok", "raised", "timeout", "memory", "died"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use."""

    timeout_s: float = 5.0
    """Wall time of one call, or of the program itself."""
    total_s: float | None = None
    """Wall time of the session's calls together, the program's own definition included; None is no limit."""
    cpu_s: int = 30
    """CPU time of the whole session."""
    memory_mb: int = 512
    """Address space, the interpreter's own 30 MB included."""
    file_mb: int = 16
    """Size of one file; what is printed counts as one."""
    disk_mb: int = 64
    """All files of the scratch folder together; looked at 20 times a second. What is removed stays until the end."""
    open_files: int = 64
    threads: int = 256
    """Looked at 20 times a second."""
    output_kb: int = 64
    """How much of what is printed is kept."""
    packages: tuple[str, ...] = ()
    """Folders with packages that the program may import, read and nothing more."""

    def __post_init__(self) -> None:
        names = (
            "timeout_s",
            "cpu_s",
            "memory_mb",
            "file_mb",
            "disk_mb",
            "open_files",
            "threads",
            "output_kb",
        )
        if self.total_s is not None and not self.total_s > 0:
            raise ConfigError(f"total_s of a sandbox is above zero; found {self.total_s!r}")
        if bad := [f"{name} = {getattr(self, name)!r}" for name in names if not getattr(self, name) > 0]:
            raise ConfigError(f"limits of a sandbox are above zero; found {', '.join(bad)}")
        if self.memory_mb < 64 or self.open_files < 16:
            raise ConfigError("a program in the sandbox needs memory_mb >= 64 and open_files >= 16")

    def in_child(self) -> dict[str, Any]:
        """Those that the child sets for itself."""
        return {
            "cpu_s": self.cpu_s,
            "memory_mb": self.memory_mb,
            "file_mb": self.file_mb,
            "disk_mb": self.disk_mb,
            "open_files": self.open_files,
            "threads": self.threads,
            "packages": self.packages,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """What came of a program or of a call: facts about the program, never failures of ours."""

    status: Status
    """ok: it returned, or ran to its end. raised: an exception, or a value that is no plain data. timeout: wall or CPU
    time. memory: out of memory. died: it ended its process, or was ended for what it wrote."""
    value: Any = None
    """What a call returned: built-in types only."""
    stdout: str = ""
    stderr: str = ""
    wall_s: float = 0.0
    detail: str = ""
    """The exception and its line, or how it died."""
    kind: str = ""
    """The exception's class."""

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.status == "ok"


class SandboxError(WhetError):
    """The sandbox itself failed, or cannot be built here: never a fact about the program."""


def unsupported() -> str:
    """What a platform without Landlock gets told."""
    return (
        f"this platform ({sys.platform}) has no Landlock and no seccomp, which keep a program away from files, network "
        "and processes. Run on Linux 5.13 or newer; or set sandbox.unsafe=true where nobody minds what the programs "
        "of a model do: then nothing protects files, network and processes, and only time and memory are limited"
    )
