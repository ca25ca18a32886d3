"""Workers that can be killed: deadlines, deaths, and what the caller hears."""

from __future__ import annotations

import os
import threading
import time

import pytest

from whet.sandbox.pool import CannotSend, Pool, WorkerLost, WorkerRaised, WorkerTimeout


@pytest.fixture(scope="module")
def pool():
    made = Pool(2)
    yield made
    made.close()


def test_a_call_returns_what_the_function_returns(pool):
    assert pool.call("math:hypot", 3, 4, timeout_s=5) == 5.0


def test_what_the_function_raises_is_told_with_its_class(pool):
    with pytest.raises(WorkerRaised, match="ValueError: math domain error") as caught:
        pool.call("math:sqrt", -1, timeout_s=5)
    assert caught.value.kind == "ValueError"


def test_a_function_that_never_returns_is_killed_at_its_deadline(pool):
    start = time.monotonic()
    with pytest.raises(WorkerTimeout):
        pool.call("time:sleep", 60, timeout_s=0.2)
    assert time.monotonic() - start < 1.0


def test_a_pattern_that_holds_the_interpreter_is_killed_too(pool):
    with pytest.raises(WorkerTimeout):
        pool.call("re:fullmatch", "(a+)+b", "a" * 60, timeout_s=0.3)
    assert pool.call("math:sqrt", 4, timeout_s=5) == 2


def test_a_worker_that_dies_is_replaced_and_its_call_repeated_once(pool):
    before = pool.counts["lost"]
    with pytest.raises(WorkerLost, match=r"and so did the next one \(signal 6\)"):
        pool.call("os:abort", timeout_s=5)
    assert pool.counts["lost"] - before == 2
    assert pool.call("math:sqrt", 4, timeout_s=5) == 2


def test_a_file_of_the_working_directory_is_no_module_of_the_worker(tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    fresh = Pool(1)
    assert fresh.call("random:randint", 7, 7, timeout_s=60) == 7
    fresh.close()


def test_a_worker_that_dies_once_costs_nothing_but_time(pool, tmp_path, monkeypatch):
    (tmp_path / "dies_once.py").write_text(
        "import os, pathlib\n"
        "def f(path):\n"
        "    if not pathlib.Path(path).exists():\n"
        "        pathlib.Path(path).write_text('')\n"
        "        os._exit(3)\n"
        "    return 'done'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert pool.call("dies_once:f", str(tmp_path / "mark"), timeout_s=5) == "done"


def test_memory_beyond_the_limit_is_an_error_of_the_call_alone(pool):
    with pytest.raises(WorkerRaised, match="MemoryError"):
        pool.call("builtins:bytearray", 2**30, timeout_s=5, memory_mb=100)
    assert pool.call("math:sqrt", 4, timeout_s=5) == 2


def test_arguments_that_cannot_be_sent_are_named(pool):
    with pytest.raises(CannotSend):
        pool.call("builtins:id", lambda: None, timeout_s=5)


def test_a_worker_is_where_its_caller_is(pool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pool.call("os:getcwd", timeout_s=5) == str(tmp_path)


def test_two_workers_serve_many_threads(pool):
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(pool.call("math:sqrt", n * n, timeout_s=5)))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(20))


def test_workers_end_when_their_parent_is_killed(tmp_path):
    import subprocess
    import sys

    code = (
        "import os, threading\n"
        "from whet.sandbox.pool import Pool\n"
        "pool = Pool(1)\n"
        "print(pool.call('os:getpid', timeout_s=20), flush=True)\n"
        "threading.Thread(target=pool.call, args=('time:sleep', 60), kwargs={'timeout_s': 60}, daemon=True).start()\n"
        "import time; time.sleep(0.1)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    worker = int(told.stdout)
    for _ in range(50):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"the worker {worker} is still there")
