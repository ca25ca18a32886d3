"""A command line that answers at once."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "pydantic", "numpy", "matplotlib", "yaml")
ROOT = Path(__file__).resolve().parents[2]
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
VERBS = sorted(p.stem for p in (ROOT / "src/whet/cli").glob("[!_]*.py"))


def python(*arguments):
    """Standard output, and seconds of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_takes_less_than_three_tenths_of_a_second_of_processor_time_over_bare_python():
    bare = min(python("-c", "pass")[1] for _ in range(3))
    assert min(python("-m", "whet", "--help")[1] for _ in range(3)) - bare < 0.3


def test_help_loads_nothing_heavy():
    code = f"""
import sys
from whet.cli import main
try:
    main(["--help"])
except SystemExit:
    print("loaded:", *(m for m in {HEAVY} if m in sys.modules))
"""
    assert python("-c", code)[0].splitlines()[-1] == "loaded:"


def test_help_lists_every_verb_on_one_line(whet):
    ended = whet("--help")
    lines = ended.out.partition("Commands:\n")[2].splitlines()
    assert sorted(line.split()[0] for line in lines) == VERBS
    assert not [line for line in lines if line.endswith("...")]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(whet, verb):
    assert f"Usage: whet {verb} " in whet(verb, "--help").out


def test_the_version_is_that_of_the_package(whet):
    assert whet("--version").out == "whet 0.2.0\n"


def test_threads_wait_briefly_unless_the_environment_says_how():
    code = """
import os
from whet.cli import main
try:
    main(["--version"])
except SystemExit:
    print(*(os.environ.get(name) for name in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")))
"""

    def found(**settings):
        environment = {k: v for k, v in os.environ.items() if k not in WAITING} | settings
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()[-1]

    assert found() == "10000 1"
    assert found(GOMP_SPINCOUNT="7") == "7 1"
    assert found(OMP_WAIT_POLICY="ACTIVE") == "None None"
