"""Whether this machine is ready for whet: versions, device, memory, disk, extras, keys and the Hub."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from whet import keys
from whet.doctor import extras, sandbox
from whet.doctor.finding import Finding
from whet.doctor.machine import disk_bytes, existing, memory_bytes, size
from whet.errors import ConfigError
from whet.tracking.open import check_trackers
from whet.tracking.reach import why_unreachable

HUB = "Hub"
LOW_MEMORY_BYTES = 2e9
LOW_DISK_BYTES = 5e9
_TRUE = {"1", "on", "yes", "true"}
_GIT_TIMEOUT_S = 2


def findings(runs_root: Path) -> list[Finding]:
    """Every row. Services are asked side by side, each for 3 s at the most."""
    rows = [*_python(), *_torch()]  # torch first: numpy must not be imported by two threads at once
    checks: list[Callable[[], Iterable[Finding]]] = [
        _memory,
        lambda: _disk(runs_root),
        _git,
        _code_in_c,
        sandbox.findings,
        extras.findings,
        _keys,
        _hub,
        _trackers,
    ]
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda check: list(check()), checks)
        return rows + [row for some in found for row in some]


def _python() -> Iterable[Finding]:
    from packaging.specifiers import SpecifierSet

    wanted = metadata.metadata("whet")["Requires-Python"]
    is_right = SpecifierSet(wanted).contains(platform.python_version(), prereleases=True)
    yield Finding(
        what="Python",
        status="OK" if is_right else "FAIL",
        found=f"{platform.python_version()}, {sys.executable}",
        next_step=""
        if is_right
        else f"whet needs Python {wanted}: make an environment with it (docs/install.md)",
    )
    yield Finding(what="whet", status="OK", found=f"{metadata.version('whet')}, {Path(__file__).parents[1]}")


def _torch() -> Iterable[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library of it does not load
        yield Finding(
            what="torch", status="FAIL", found=f"cannot be imported: {error}", next_step="pip install torch"
        )
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    yield Finding(
        what="torch", status="OK", found=f"{torch.__version__}, {build}, {torch.get_num_threads()} threads"
    )
    if torch.cuda.is_available():
        yield from (_gpu(index) for index in range(torch.cuda.device_count()))
    elif shutil.which("nvidia-smi"):
        yield Finding(
            what="device",
            status="WARN",
            found="cpu, although this machine has a driver of NVIDIA",
            next_step="install a CUDA build of torch that fits the driver (docs/install.md)",
        )
    else:
        yield Finding(what="device", status="OK", found=f"cpu, bf16 in hardware: {_cpu_bf16()}")


def _gpu(index: int) -> Finding:
    import torch

    free, total = torch.cuda.mem_get_info(index)
    bf16 = "yes" if torch.cuda.is_bf16_supported() else "no"
    name = torch.cuda.get_device_name(index)
    return Finding(
        what="device",
        status="OK",
        found=f"cuda:{index} {name}, {size(free)} of {size(total)} free, bf16: {bf16}",
    )


def _cpu_bf16() -> str:
    """Linux says it on x86; elsewhere it is not known."""
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return "unknown"
    return "yes" if {"avx512_bf16", "amx_bf16"} & set(flags) else "no" if flags else "unknown"


def _memory() -> Iterable[Finding]:
    free, total = memory_bytes()
    is_low = free < LOW_MEMORY_BYTES
    yield Finding(
        what="memory",
        status="WARN" if is_low else "OK",
        found=f"{size(free)} of {size(total)} free",
        next_step="end what else is running; `whet check CONFIG` says what a run will take" if is_low else "",
    )


def _disk(runs_root: Path) -> Iterable[Finding]:
    free, place = disk_bytes(runs_root), existing(runs_root)
    where = f"{size(free)} free for runs in {runs_root.absolute()}"
    if not (place.is_dir() and os.access(place, os.W_OK)):
        yield Finding(
            what="disk",
            status="FAIL",
            found=f"{place} cannot be written to",
            next_step="name another place in WHET_RUNS or runs_root",
        )
    elif free < LOW_DISK_BYTES:
        yield Finding(
            what="disk",
            status="WARN",
            found=where,
            next_step="make room, name another place in WHET_RUNS, or set keep_checkpoints",
        )
    else:
        yield Finding(what="disk", status="OK", found=where)


def _git() -> Iterable[Finding]:
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=_GIT_TIMEOUT_S)
        yield Finding(what="git", status="OK", found=said.stdout.strip().removeprefix("git version "))
    except (OSError, subprocess.TimeoutExpired):
        yield Finding(
            what="git",
            status="WARN",
            found="not found",
            next_step="install it: without it a run does not note the commit of your code",
        )


def _code_in_c() -> Iterable[Finding]:
    """Compiled now, where it is not yet: what a first run would otherwise wait for."""
    from whet import compiled

    if compiled.load("decoder.c") is not None:
        yield Finding(what="code in C", status="OK", found=f"compiled, in {compiled.cache()}")
        return
    is_off = os.environ.get("WHET_COMPILE") == "0"
    yield Finding(
        what="code in C",
        status="WARN",
        found="WHET_COMPILE=0 turns it off" if is_off else "not compiled",
        next_step=f"{'unset it' if is_off else 'install gcc or clang'}: on a CPU torch needs longer for the same",
    )


def _keys() -> Iterable[Finding]:
    """`.env`, whose values are never shown."""
    try:
        names, differing = keys.names(), keys.conflicts()
        keys.refuse_conflicts()
    except ConfigError as error:
        yield Finding(what=keys.FILE, status="FAIL", found=str(error), next_step="mend that file")
        return
    if differing:
        yield Finding(
            what=keys.FILE,
            status="WARN",
            found=f"{', '.join(differing)} differ in the environment, which wins",
            next_step="unset the one that is not meant",
        )
    else:
        yield Finding(what=keys.FILE, status="OK", found=", ".join(names) if names else "none here")


def _hub() -> Iterable[Finding]:
    """OK when the Hub answers, and only then."""
    token = f"token: {'yes' if _has_token() else 'no'}"
    offline = next(
        (n for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(n, "").lower() in _TRUE), ""
    )
    if offline:
        yield Finding(
            what=HUB,
            status="WARN",
            found=f"{offline} is set: only what is in the cache is found, {token}",
            next_step=f"unset {offline} to download models and data",
        )
        return
    url = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    why = why_unreachable(url)
    yield Finding(
        what=HUB,
        status="WARN" if why else "OK",
        found=f"{keys.hide(url)} cannot be reached ({why}), {token}"
        if why
        else f"{keys.hide(url)} answers, {token}",
        next_step="name models and data by path, or set HF_ENDPOINT to a mirror" if why else "",
    )


def _has_token() -> bool:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    file = Path(os.environ.get("HF_TOKEN_PATH", home / "token"))
    return bool(os.environ.get("HF_TOKEN")) or file.is_file()


def _trackers() -> Iterable[Finding]:
    """Whether the trackers whose packages are here could start."""
    for name in ("wandb", "trackio"):
        if extras.lacks(name):
            continue
        try:
            check_trackers([name])
        except ConfigError as error:
            yield Finding(
                what=f"tracker {name}", status="WARN", found=str(error), next_step="only if you use it"
            )
        else:
            yield Finding(what=f"tracker {name}", status="OK", found="could start")
