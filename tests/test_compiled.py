"""C sources that become libraries, and the ways in which they do not."""

import logging
import os
import shutil
import subprocess
import sys

import pytest

from whet import compiled

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="this machine has no C compiler"
)
SEVEN = "int number(void) { return 7; }\n"
TWO_PROCESSES = """
import sys
from whet import compiled
compiled.__file__ = sys.argv[1]
print(compiled.load("number.c").number())
"""
# A compiler that begins when two of it have come, or after ten seconds.
MEETING = """#!/bin/sh
case "$*" in *--version*) exec {compiler} "$@";; esac
touch {directory}/$$
for i in $(seq 100); do [ $(ls {directory} | wc -l) -ge 2 ] && break; sleep 0.1; done
exec {compiler} "$@"
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Where sources lie. Nothing is loaded yet, the cache is empty, and the environment says nothing of a compiler."""
    (tmp_path / "sources").mkdir()
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "sources" / "compiled.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("WHET_COMPILE", raising=False)
    compiled.load.cache_clear()
    yield tmp_path / "sources"
    compiled.load.cache_clear()


@pytest.fixture
def said(caplog):
    """The lines that a person who asks for them sees, and their levels."""
    caplog.set_level(logging.DEBUG, logger="whet")
    return lambda: [(r.levelname, r.getMessage()) for r in caplog.records]


def written(folder, text=SEVEN):
    (folder / "number.c").write_text(text)
    return "number.c"


def cached(folder):
    """Every file in the cache."""
    return [p for p in (folder.parent / "cache").rglob("*") if p.is_file()]


def again(name):
    """What another process would find."""
    compiled.load.cache_clear()
    return compiled.load(name)


@needs_compiler
def test_a_source_becomes_a_library(folder, said):
    assert compiled.load(written(folder)).number() == 7
    assert said() == []


@needs_compiler
def test_a_library_is_compiled_once_and_found_again(folder):
    name = written(folder)
    compiled.load(name)
    (library,) = cached(folder)
    os.utime(library, (1_000_000_000, 1_000_000_000))
    assert again(name).number() == 7
    assert cached(folder) == [library]
    assert library.stat().st_mtime == 1_000_000_000


@needs_compiler
def test_a_changed_source_is_another_library(folder):
    compiled.load(written(folder))
    assert again(written(folder, SEVEN.replace("7", "8"))).number() == 8
    assert len(cached(folder)) == 2


@needs_compiler
def test_the_environment_may_name_the_compiler(folder, monkeypatch):
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    (folder / "mine").write_text(f'#!/bin/sh\ntouch {folder}/called\nexec {real} "$@"\n')
    (folder / "mine").chmod(0o755)
    monkeypatch.setenv("CC", str(folder / "mine"))
    assert compiled.load(written(folder)).number() == 7
    assert (folder / "called").exists()


@needs_compiler
def test_two_processes_that_compile_at_once_both_get_it(folder):
    written(folder)
    meeting = folder / "meeting"
    meeting.mkdir()
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    (folder / "cc").write_text(MEETING.format(compiler=real, directory=meeting))
    (folder / "cc").chmod(0o755)
    command = [sys.executable, "-c", TWO_PROCESSES, compiled.__file__]
    environment = os.environ | {"CC": str(folder / "cc")}
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    assert [p.communicate(timeout=60)[0].split() for p in processes] == [[b"7"], [b"7"]]
    assert len(list(meeting.iterdir())) == 2  # neither found what the other had made
    assert len(cached(folder)) == 1


def test_without_a_compiler_there_is_none_and_one_line_says_so(folder, said, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    name = written(folder)
    assert [compiled.load(name), compiled.load(name)] == [None, None]
    ((level, text),) = said()
    assert level == "INFO"
    assert "number.c" in text


def test_a_compiler_that_is_not_there_gives_none_and_one_line_says_so(folder, said, monkeypatch):
    monkeypatch.setenv("CC", str(folder / "no_such_compiler"))
    assert compiled.load(written(folder)) is None
    ((level, text),) = said()
    assert level == "INFO"
    assert "no_such_compiler" in text


def test_a_compiler_that_does_not_say_which_it_is_gives_none(folder, said, monkeypatch):
    (folder / "broken").write_text("#!/bin/sh\nexit 1\n")
    (folder / "broken").chmod(0o755)
    monkeypatch.setenv("CC", str(folder / "broken"))
    assert compiled.load(written(folder)) is None
    assert [level for level, _ in said()] == ["INFO"]


@needs_compiler
def test_it_can_be_turned_off(folder, monkeypatch):
    monkeypatch.setenv("WHET_COMPILE", "0")
    name = written(folder)
    assert compiled.load(name) is None
    assert cached(folder) == []
    monkeypatch.setenv("WHET_COMPILE", "1")
    assert again(name).number() == 7


@needs_compiler
def test_a_source_that_does_not_compile_gives_none_and_leaves_nothing_behind(folder, said):
    assert compiled.load(written(folder, "int number(void) { return seven; }\n")) is None
    ((level, text),) = said()
    assert level == "INFO"
    assert "number.c is not compiled" in text
    assert cached(folder) == []
    assert again(written(folder)).number() == 7


@needs_compiler
def test_a_cache_that_cannot_be_written_gives_none(folder, said, monkeypatch):
    (folder / "file").touch()  # not even root makes a folder in it
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    name = written(folder)
    assert compiled.load(name) is None
    ((level, text),) = said()
    assert level == "INFO"
    assert "number.c is not compiled" in text
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "other"))
    assert again(name).number() == 7


@needs_compiler
def test_a_library_that_is_cut_short_is_made_again(folder, said, monkeypatch):
    name = written(folder)
    compiled.load(name)
    (whole,) = cached(folder)
    cut = folder / "other" / "whet" / whole.name
    cut.parent.mkdir(parents=True)
    cut.write_bytes(whole.read_bytes()[:100])
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "other"))
    assert again(name).number() == 7
    assert said() == []
    assert cut.stat().st_size > 100


@needs_compiler
def test_the_compiler_may_be_named_with_arguments(folder, monkeypatch):
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    monkeypatch.setenv("CC", f"{real} -DSEVEN=7")
    assert compiled.load(written(folder, SEVEN.replace("7", "SEVEN"))).number() == 7


@needs_compiler
def test_a_machine_without_a_home_gives_none(folder, said, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(compiled.Path, "home", homeless)
    assert compiled.load(written(folder)) is None
    assert [level for level, _ in said()] == ["INFO"]
