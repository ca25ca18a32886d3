"""C sources of the package, compiled by the machine's own compiler when they are first used. Without one, torch does
the same work, more slowly: `load` then gives None.

The library lies in the user's cache under a name that its source, compiler and processor determine.
`WHET_COMPILE=0` turns this off.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

_log = logging.getLogger(__name__)
_FLAGS: tuple[list[str], ...] = tuple(
    [*threads, *processor]
    for threads in (["-fopenmp"], [])
    for processor in (["-march=native"], ["-mcpu=native"], [])
)
"""On the threads that torch has or on one; for the very processor, as one compiler or the other says it, or for any."""
SMALL = 8192
"""Numbers that one thread works through as fast as it wakes another; `decoder.c` says the same."""
_KINDS = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "f": ctypes.c_float}


@functools.cache
def load(name: str) -> ctypes.CDLL | None:
    """The library of the source `name` beside this file; None where it cannot be had."""
    if os.environ.get("WHET_COMPILE") == "0":
        return None
    try:
        return _library(Path(__file__).with_name(name))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        _log.info("%s is not compiled (%s): torch does its work, more slowly", name, error)
        return None


def declared(name: str, **signatures: str) -> ctypes.CDLL | None:
    """The same library, told what its functions take; they return nothing.

    signatures: of each function a letter an argument, `p` a pointer, `n` a whole number, `f` a number with a fraction.
    """
    library = load(name)
    for function, kinds in signatures.items() if library is not None else ():
        found = getattr(library, function)
        found.argtypes, found.restype = [_KINDS[kind] for kind in kinds], None
    return library


def parts(count: int, smallest: int = 1) -> int:
    """In how many parts `count` things are done: one for each thread of torch, none smaller than `smallest`."""
    return max(1, min(torch.get_num_threads(), count // smallest))


def _library(source: Path) -> ctypes.CDLL:
    """From the cache, or compiled: also where what lies in the cache is damaged."""
    command = _compiler()
    path = cache() / f"{source.stem}-{_identity(source, command)}.so"
    if path.exists():
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            path.unlink(missing_ok=True)
    _compile(source, command, path)
    return ctypes.CDLL(str(path))


def _compiler() -> list[str]:
    found = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise FileNotFoundError("no cc, gcc or clang is installed")
    return shlex.split(found)


def cache() -> Path:
    """Where libraries lie. Raises `RuntimeError` where there is no home."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "whet"


def _identity(source: Path, compiler: list[str]) -> str:
    """Of all sources: they include each other."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, timeout=20, check=True).stdout
    sources = b"".join(path.read_bytes() for path in sorted(source.parent.glob("*.[ch]")))
    return hashlib.sha256(sources + version + f"{_FLAGS}{_processor()}".encode()).hexdigest()[:16]


def _processor() -> str:
    """What tells processors apart for which the compiler writes different code."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    return platform.platform() + "".join(
        sorted({line for line in lines if line.startswith(("flags", "model name", "Features"))})
    )


def _compile(source: Path, compiler: list[str], path: Path) -> None:
    """Under a temporary name first, so that a library exists completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        made = Path(directory) / path.name
        for flags in _FLAGS:
            command = [*compiler, "-O3", *flags, "-shared", "-fPIC", "-o", str(made), str(source), "-lm"]
            if subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 0:
                made.replace(path)
                return
        subprocess.run(command, capture_output=True, timeout=120, check=True)
