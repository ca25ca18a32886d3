"""What a program in the sandbox may do, and what its callers hear of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest

from whet.errors import ConfigError
from whet.sandbox import Limits, SandboxConfig, SandboxError, run_python, session, use
from whet.sandbox import _fork_server as fork_server
from whet.sandbox.limits import unsupported

QUICK = Limits(timeout_s=0.3, cpu_s=2)


def test_a_session_keeps_its_state_over_many_calls():
    with session("seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)") as program:
        assert [program.call("f", 0).value for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "value",
    [None, True, -3, 2**80, 0.1, "é\ud800\0", b"\x00\xff", [1, [2]], (1,), {1: (2, 3)}, {1, 2}, frozenset({1}), 2j,
     range(3), Fraction(1, 3), int],
)  # fmt: skip
def test_plain_data_goes_in_and_comes_back_with_its_types(value):
    with session("def f(x): return x") as program:
        back = program.call("f", value).value
    assert (type(back), back) == (type(value), value)


def test_a_subclass_comes_back_as_what_it_holds():
    code = "import collections\nclass L(list):\n    def __iter__(self): return iter([9])\ndef f(): return L([1])\n"
    code += "def g(): return collections.Counter('aab')"
    with session(code) as program:
        assert program.call("f").value == [1]
        assert program.call("g").value == {"a": 2, "b": 1}


def test_a_value_that_is_no_plain_data_is_told_apart_from_an_error_of_ours():
    with session("def f(): return object()") as program:
        result = program.call("f")
    assert (result.status, result.kind) == ("raised", "NotPlain")


def test_an_argument_that_is_no_plain_data_is_the_callers_mistake():
    with session("def f(x): return x") as program, pytest.raises(ValueError, match="type 'object'"):
        program.call("f", object())


def test_what_is_raised_is_named_with_its_line():
    with session("def f(x):\n    return 1 / x") as program:
        result = program.call("f", 0)
    assert (result.status, result.kind, result.value) == ("raised", "ZeroDivisionError", None)
    assert result.detail == "ZeroDivisionError: division by zero, line 2 of the program"


def test_code_that_does_not_compile_is_raised_when_the_session_starts():
    with session("def f(:") as program:
        assert (program.started.status, program.started.kind) == ("raised", "SyntaxError")


def test_the_server_starts_though_a_lock_on_descriptor_3_is_let_go_in_forked_children():
    code = """
import os
from whet.sandbox import session
os.dup2(0, 3)
os.register_at_fork(after_in_child=lambda: os.close(3))
with session("def f(): return 1") as program:
    print(program.call("f").value)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_after_a_call_that_was_too_slow_every_other_has_its_status_at_once():
    with session("def f():\n    while True: pass\ndef g(): return 1", QUICK) as program:
        assert program.call("f").status == "timeout"
        start = time.monotonic()
        assert program.call("g").status == "timeout"
        assert time.monotonic() - start < 0.1


def test_memory_is_limited_and_the_session_goes_on():
    with session("def f(): return len(bytearray(10**10))\ndef g(): return 1") as program:
        assert program.call("f").status == "memory"
        assert program.call("g").value == 1


def test_cpu_time_is_limited_over_all_calls():
    limits = Limits(timeout_s=5, cpu_s=1)
    with session("def f():\n    while True: pass", limits) as program:
        result = program.call("f")
    assert (result.status, result.detail) == ("timeout", "CPU time used up")


def test_a_program_reads_its_input_and_prints():
    result = run_python("import sys\nprint(input()[::-1])\nprint('no', file=sys.stderr)", "abc\n")
    assert (result.status, result.stdout, result.stderr) == ("ok", "cba\n", "no\n")


@pytest.mark.parametrize(("end", "status"), [("0", "ok"), ("", "ok"), ("1", "raised"), ("'0'", "raised")])
def test_a_program_may_end_itself_in_order(end, status):
    assert run_python(f"import sys\nprint(1)\nsys.exit({end})").status == status


def test_a_program_that_ends_its_process_has_not_run_to_its_end():
    result = run_python("import os\nprint(1, flush=True)\nos._exit(0)")
    assert (result.status, result.detail, result.stdout) == (
        "died",
        "the process ended itself with exit code 0",
        "1\n",
    )


def test_a_failing_program_writes_its_traceback_to_stderr():
    result = run_python("def f():\n    raise ValueError('no')\nf()")
    assert result.status == "raised"
    assert 'File "<program>", line 2, in f' in result.stderr
    assert result.stderr.endswith("ValueError: no\n")


def test_threads_and_files_in_the_scratch_folder_are_allowed():
    code = "import threading\nt = threading.Thread(target=lambda: open('a', 'w').write('x'))\nt.start()\nt.join()\n"
    assert run_python(code + "print(open('a').read())").stdout == "x\n"


@pytest.mark.parametrize(
    ("code", "kind"), [("def f(:", "SyntaxError"), ("f = int\nraise KeyError(1)", "KeyError")]
)
def test_calls_of_a_program_that_failed_to_start_say_how(code, kind):
    with session(code) as program:
        assert program.started.kind == kind
        assert program.call("f") == program.started


def test_a_call_may_have_keywords_and_input_may_be_bytes():
    with session("def f(x, by=1): return x * by") as program:
        assert program.call("f", 3, by=4).value == 12
    assert run_python("print(input())", stdin=b"abc").stdout == "abc\n"


def test_an_exit_with_words_and_a_flood_of_output_are_told_in_words():
    assert run_python("import sys\nsys.exit('bad thing')").detail == "SystemExit: 'bad thing'"
    assert "printed, or written to a file, more than file_mb" in run_python("print('x' * 10**8)").detail


def test_temporary_files_work_and_stay_until_the_end():
    code = "import os, tempfile\ndef f():\n    with tempfile.NamedTemporaryFile('w+') as file:\n"
    code += "        file.write('a')\n        file.seek(0)\n        return file.read(), len(os.listdir())"
    with session(code) as program:
        text, count = program.call("f").value
    assert text == "a"
    assert count >= 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("threading.Thread(target=threading.Event().wait, daemon=True).start()", "too many threads"),
        ("open(str(time.time()), 'wb').write(bytes(2**20))", "files are too large"),
    ],
)
def test_more_threads_or_files_than_allowed_end_the_program(line, said):
    limits = Limits(timeout_s=20, threads=8, disk_mb=8)
    code = f"import threading, time\nthreading.stack_size(2**15)\ndef f():\n    while True:\n        {line}\n"
    with session(code + "        time.sleep(0.001)", limits) as program:
        result = program.call("f")
        assert program.call("f").status == "died"
    assert result.status == "died"
    assert said in result.detail


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_that_leaves_a_session_takes_nothing_from_its_parent():
    with session("def f(x): return x") as program:
        if (child := os.fork()) == 0:
            program.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert program.call("f", 3).value == 3


def test_what_is_printed_is_kept_up_to_the_limit():
    assert len(run_python("print('x' * 5000)", limits=Limits(output_kb=1)).stdout) == 1024


def test_two_runs_draw_the_same_random_numbers_and_the_same_order_of_sets():
    code = "import random\nprint(random.random(), list({'a', 'b', 'c', 'd', 'e'}))"
    assert run_python(code).stdout == run_python(code).stdout


def test_packages_are_there_only_when_they_are_named(tmp_path):
    (tmp_path / "mine.py").write_text("x = 5")
    tmp_path.chmod(0o755)
    assert run_python("import mine").kind == "ModuleNotFoundError"
    assert run_python("import mine\nprint(mine.x)", limits=Limits(packages=(str(tmp_path),))).stdout == "5\n"


def test_many_threads_each_have_their_own_program():
    found = {}

    def one(n):
        with session(f"def f(): return {n}") as program:
            found[n] = program.call("f").value

    threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: n for n in range(12)}


def test_a_server_that_was_lost_is_started_again():
    with session("def f(): return 1") as program:
        program._server._process.kill()
        program._server._process.wait()
    with session("def f(): return 2") as program:
        assert program.call("f").value == 2


@pytest.mark.parametrize("bad", [{"timeout_s": 0}, {"memory_mb": 8}, {"open_files": 4}, {"cpu_s": -1}])
def test_limits_that_no_program_can_run_in_are_refused(bad):
    with pytest.raises(ConfigError):
        Limits(**bad)


def test_without_landlock_nothing_runs_unless_one_says_so(monkeypatch):
    monkeypatch.setattr(fork_server._confine, "landlock_abi", lambda: 0)
    fork_server.close_servers()
    with pytest.raises(SandboxError, match=r"no Landlock .* sandbox.unsafe=true"):
        session("1")
    use(SandboxConfig(unsafe=True))
    try:
        with session("def f(): return 1") as program:
            assert program.call("f").value == 1
    finally:
        use(SandboxConfig())


def test_another_platform_is_told_what_is_not_protected():
    assert "nothing protects files, network and processes" in unsupported()


def test_bubblewrap_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(fork_server.shutil, "which", lambda name: None)
    use(SandboxConfig(isolation="bubblewrap"))
    try:
        with pytest.raises(SandboxError, match="install the system package bubblewrap"):
            session("1")
    finally:
        use(SandboxConfig())


def test_all_calls_together_have_their_own_limit():
    with session("import time\ndef f(): time.sleep(0.1)", Limits(timeout_s=5, total_s=0.25)) as program:
        assert [program.call("f").status for _ in range(4)] == ["ok", "ok", "timeout", "timeout"]


@pytest.mark.parametrize("depth", [90, 101, 300, 490, 900, 100_000])
def test_a_value_of_any_depth_is_a_fact_about_the_program(depth):
    code = f"def f():\n    x = []\n    for _ in range({depth}): x = [x]\n    return x"
    with session(code) as program:
        assert program.call("f").status in (("ok",) if depth < 100 else ("died", "raised"))


@pytest.mark.parametrize(
    "value", ["{k * (2**61 - 1) for k in range(1, 20000)}", "dict.fromkeys(range(20000))"]
)
def test_a_value_that_would_cost_its_square_to_read_is_refused_at_once(value):
    with session(f"def f(): return {value}", Limits(timeout_s=1.5)) as program:
        start = time.monotonic()
        assert program.call("f").status in ("died", "timeout")  # to make it may cost its square too
    assert time.monotonic() - start < 3


def test_a_server_that_ends_under_a_program_says_nothing_of_the_program():
    with session("import time\ndef f():\n    time.sleep(5)") as program:
        threading.Timer(0.3, program._server._process.kill).start()
        with pytest.raises(SandboxError, match="server ended while a program ran"):
            program.call("f")
    with session("def f(): return 2") as program:
        assert program.call("f").value == 2


def test_a_virtual_environment_is_nothing_that_a_program_can_read():
    import numpy

    assert run_python(f"import os\nos.listdir({numpy.__path__[0]!r})").kind == "PermissionError"


def test_folders_of_a_process_that_was_killed_are_swept():
    gone = subprocess.run(
        [sys.executable, "-c", "import os; from whet.sandbox import session; s = session('1'); "
         "print(s._server.folder, flush=True); os.kill(os.getpid(), 9)"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    assert Path(gone).is_dir()
    fork_server.close_servers()
    with session("1"):
        assert not Path(gone).exists()
