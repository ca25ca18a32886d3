"""What the sandbox costs and what it keeps out: executions per CPU second, its start, data sets, hostile neighbours.

    python bench/sandbox.py [--isolation bubblewrap] [--humaneval FILE] [--mbpp FILE] [--hostile]

Prints one line per measure and, last, all of them as JSON. CPU time is that of this process, the fork server and its
children.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import whet
from whet import Example
from whet.config import SandboxConfig
from whet.sandbox import _fork_server, session, use
from whet.types import Score

SQUARE = "def f(x):\n    return x * x\n"
PATHOLOGICAL = (
    "while True: pass",
    "f = lambda x: [0] * 10**12 and __import__('time').sleep(60)",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "import os, signal\nf = lambda x: (signal.pause(), os.kill(os.getpid(), 9))",
    "import sys\nwhile True:\n    try: print('x' * 2**20)\n    except OSError: pass",
)


def cpu_s() -> float:
    """Of this process, its servers, and their children that have ended."""
    ticks = 0
    for pid in [pid for server in _fork_server._servers.values() for pid in descendants(server._process.pid)]:
        ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return sum(os.times()[:2]) + ticks / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """A process and all below it: bubblewrap puts two of its own above the server."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [pid, *(found for child in children for found in descendants(child))]


def rate(count: int) -> float:
    """Sessions of one call per CPU second."""
    start = cpu_s()
    for n in range(count):
        with session(SQUARE) as program:
            assert program.call("f", n).value == n * n
    return count / (cpu_s() - start)


def scored(task: Any, texts: Callable[[Example], str]) -> list[Score]:
    """The scores of all test examples, two at a time."""
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda e: task.score(e, texts(e)), task.examples("test")))


def data_set(name: str, path: Path) -> Iterator[tuple[str, Any]]:
    """References, stubs and the object that is equal to everything."""
    task = whet.task(name, path=path)
    start = time.perf_counter()
    references = scored(task, lambda e: e.demonstration or "")
    wall_s = time.perf_counter() - start
    failing = [e.id for e, s in zip(task.examples("test"), references, strict=True) if s.value < 1]
    yield f"{name}/references", f"{sum(s.value == 1 for s in references)}/{len(references)}"
    yield f"{name}/failing", failing
    yield f"{name}/references_s", round(wall_s, 1)
    for what, program in (("stubs", "def {}(*args): pass"), ("always_equal", ALWAYS_EQUAL)):
        texts = scored(task, lambda e, p=program: "```python\n" + p.format(e.columns["names"][-1]) + "\n```")  # type: ignore[misc]
        yield f"{name}/{what}", sum(s.value == 1 for s in texts)


ALWAYS_EQUAL = """
class Equal:
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = lambda self: 0
    __getattr__ = lambda self, name: self
    __call__ = lambda self, *args: self
def {}(*args): return Equal()
"""


def hostile(timeout_s: float, good: int, bad: int) -> Iterator[tuple[str, Any]]:
    """Good programs among hostile ones on two workers: their scores, and the time in all."""
    judge = whet.verifier("code_tests", timeout_s=timeout_s)
    example = Example(id="e", prompt="", columns={"tests": ["assert f(3) == 9"]})
    every = (good + bad) // bad
    programs = [
        PATHOLOGICAL[n // every % len(PATHOLOGICAL)] if n % every == 0 else SQUARE for n in range(good + bad)
    ]
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda p: judge.score(f"```python\n{p}\n```", "", example).value, programs))
    wall_s = time.perf_counter() - start
    yield (
        "hostile/good_right",
        f"{sum(v for v, p in zip(found, programs, strict=True) if p == SQUARE):g}/{good}",
    )
    yield "hostile/bad_right", sum(v for v, p in zip(found, programs, strict=True) if p != SQUARE)
    yield "hostile/wall_s", round(wall_s, 1)
    yield "hostile/over_bound", round(wall_s / (bad / 2 * timeout_s), 2)


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--isolation", choices=["landlock", "bubblewrap"], default="landlock")
    parser.add_argument("--humaneval", type=Path)
    parser.add_argument("--mbpp", type=Path)
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    use(SandboxConfig(isolation=args.isolation))
    found: dict[str, Any] = {"isolation": args.isolation}
    start = time.perf_counter()
    with session(SQUARE):
        found["start_s"] = round(time.perf_counter() - start, 3)
    server = next(iter(_fork_server._servers.values()))
    before = len(descendants(server._process.pid))
    found["executions_per_cpu_s"] = sorted(round(rate(args.count // 5)) for _ in range(5))
    found["left"] = {
        "processes": len(descendants(server._process.pid)) - before,
        "files": len(list(server.folder.iterdir())),
    }
    for name in ("humaneval", "mbpp"):
        if path := getattr(args, name):
            found |= data_set(name, path)
    if args.hostile:
        found |= hostile(timeout_s=2.0, good=900, bad=100)
    for key, value in found.items():
        print(f"{key:28} {value}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
