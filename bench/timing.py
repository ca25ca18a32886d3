"""Wall and CPU time of things that take turns, memory of a process, and what a report says of the machine."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one run; `parts` says where the CPU time went."""

    wall_s: float
    cpu_s: float
    parts: Mapping[str, float]


class Stopwatch:
    """Sums up the CPU seconds of named parts: beside other work they are steadier than the wall's."""

    def __init__(self) -> None:
        self._parts: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.process_time()
        try:
            yield
        finally:
            self._parts[part] += time.process_time() - start

    def around(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed as a part."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self(part):
                return call(*args, **kwargs)

        return timed

    def take(self) -> dict[str, float]:
        """The parts since the last call."""
        parts, self._parts = dict(self._parts), defaultdict(float)
        return parts


def spent(run: Callable[[], Any], parts: Callable[[], Mapping[str, float]] = dict) -> Spent:
    """What a call takes, all threads of this process together; `parts` is asked afterwards."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Spent(wall, cpu, parts())


def take_turns(runs: Mapping[str, Callable[[], Spent]], repetitions: int) -> dict[str, list[Spent]]:
    """A, B, C, A, B, C, ...: what drifts on the machine then meets all of them."""
    found: dict[str, list[Spent]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            found[name].append(run())
            print(f"  {name}: {found[name][-1].wall_s:.2f} s", file=sys.stderr, flush=True)
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def summary(runs: Sequence[Spent], **amounts: float) -> dict[str, Any]:
    """Spread of wall and CPU seconds, median of each part, and each amount per second of the medians."""
    wall, cpu = spread([r.wall_s for r in runs]), spread([r.cpu_s for r in runs])
    parts = {name: median(r.parts.get(name, 0.0) for r in runs) for name in runs[0].parts}
    rates = {f"{name}_per_s": amount / wall["median"] for name, amount in amounts.items()}
    rates |= {f"{name}_per_cpu_s": amount / cpu["median"] for name, amount in amounts.items()}
    return {"wall_s": wall, "cpu_s": cpu, **rates, "parts_cpu_s": parts, "runs": len(runs)}


def times_faster(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> dict[str, float]:
    """The peer's median seconds over ours."""
    return {of: peer[of]["median"] / ours[of]["median"] for of in ("wall_s", "cpu_s")}


def one_core() -> None:
    """Keeps this process and its children on one core and one thread, the same core for whoever is compared."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def machine() -> dict[str, Any]:
    """Processor, cores, threads, load, and versions."""
    packages = ("whet", "torch", "transformers", "trl", "vllm")
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "vector": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: found for name in packages if (found := _version(name))},
        "commit": _commit(),
    }


def cpu_name() -> str:
    """As the system calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def resident_bytes(peak: bool = False) -> int:
    """Memory of this process now, or the most it has held since `forget_peak`."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    name = "VmHWM:" if peak else "VmRSS:"
    line = next(x for x in status.read_text(encoding="utf-8").splitlines() if x.startswith(name))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Gives freed memory back to the system and starts the peak anew from what is held."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def in_own_process(arguments: Sequence[str]) -> dict[str, Any]:
    """The last line that a Python command prints, read as JSON."""
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(name: str, found: Mapping[str, Any], table: str, as_json: bool) -> None:
    """Writes `results/NAME.json` and `.md`, and prints one of them."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(found, indent=2)
    about = found["machine"]
    head = ", ".join(f"{k} {v}" for k, v in about.items())
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(f"{table}\n\n{head}\n", encoding="utf-8")
    print(json.dumps(found) if as_json else f"{table}\n\n{head}")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a column per key of the first row."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_cell(row.get(n, "")) for n in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return (
        f"{value:.4g}"
        if isinstance(value, float) and abs(value) < 1000
        else (f"{value:.0f}" if isinstance(value, float) else str(value))
    )
