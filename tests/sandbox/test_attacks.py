"""What a program may not do, tried: none is scored, none touches the host, none changes what a neighbour gets."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import attacks
from whet.sandbox import Limits, Session, _fork_server, sessions
from whet.sandbox._fork_server import Way, check_support
from whet.sandbox.checks import check
from whet.sandbox.limits import SandboxError

SQUARE = "f = lambda x: x * x"
TESTS = "assert f(3) == 9\nassert f(-2) == 4\nassert type(f(2)) is int"
LIMITS = Limits(timeout_s=0.4, cpu_s=2, memory_mb=256)
NOBODY = 65534


def _usable_by_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An interpreter and the server's files where another user can read them; skips when there is none."""
    if os.getuid() != 0:
        pytest.skip("only root can start the server as another user")
    system = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    probe = [system or "", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if system is None or subprocess.run(probe, user=NOBODY, group=NOBODY, check=False).returncode:
        pytest.skip("no Python 3.11 that another user can run")
    ours = tmp_path / "server"
    shutil.copytree(_fork_server._OURS, ours)
    for folder in (ours, *ours.resolve().parents):
        if not folder.stat().st_mode & stat.S_IXOTH and folder.is_relative_to(Path("/tmp")):
            folder.chmod(folder.stat().st_mode | 0o055)
    monkeypatch.setattr(_fork_server, "_OURS", ours)
    monkeypatch.setattr(_fork_server, "_python", lambda: system)


WAYS = {
    "this user": Way(),
    "another user": Way(user=NOBODY),
    "bubblewrap": Way(is_bubblewrapped=True),
}


@pytest.fixture(
    scope="module",
    params=[
        "this user",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("another user", "bubblewrap")),
    ],
)
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    found = WAYS[request.param]
    try:
        check_support(found)
    except SandboxError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patched:
        if found.user is not None:
            _usable_by_nobody(patched, tmp_path_factory.mktemp("nobody"))
        patched.setattr(sessions, "way_now", lambda: found)
        yield found
        _fork_server.close_servers()


@pytest.fixture(scope="module")
def neighbour(way: Way) -> Iterator[Session]:
    """An honest program that runs beside all attacks."""
    with sessions.session("open('mine', 'w').write('9')\ndef f(x): return open('mine').read()") as session:
        yield session


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Fills in the places of the host; afterwards they are as they were."""
    host = tmp_path_factory.mktemp("host")
    host.chmod(0o777)
    secret = host / "secret"
    secret.write_text("9")
    secret.chmod(0o666)
    library = Path(sysconfig.get_path("stdlib")) / "this.py"
    before = library.stat().st_size
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(str(host / "datagrams"))
        (host / "datagrams").chmod(0o777)
        local.bind(str(host / "socket"))
        local.listen()
        names = {"secret": secret, "host": host, "library": library, "port": server.getsockname()[1]}
        yield lambda code: re.sub(r"\{(secret|host|library|port)\}", lambda m: str(names[m[1]]), code)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
        datagrams.setblocking(False)
        with pytest.raises(BlockingIOError):
            datagrams.recv(1)
    assert secret.read_text() == "9"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o666
    assert sorted(p.name for p in host.iterdir()) == ["datagrams", "secret", "socket"]
    assert library.stat().st_size == before


@pytest.mark.parametrize(
    ("family", "attack"), [(family, name) for family, found in attacks.FAMILIES.items() for name in found]
)
def test_an_attack_wins_nothing_and_a_neighbour_notices_nothing(
    neighbour: Session, place: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, family: str, attack: str
) -> None:
    monkeypatch.setenv("WHET_SECRET", "9")
    program = place(attacks.FAMILIES[family][attack])
    server = neighbour._server
    assert not check(program, TESTS, names=("f",), limits=LIMITS).ok
    children = Path(f"/proc/{server._process.pid}/task/{server._process.pid}/children").read_text().split()
    assert len(children) == 1  # the neighbour, or bubblewrap's own child
    assert neighbour.call("f", 3).value == "9"
    assert neighbour._server._process.poll() is None


def test_the_tests_that_no_attack_passes_are_passed_by_what_is_asked(way: Way) -> None:
    assert check(SQUARE, TESTS, names=("f",)).ok


def test_there_are_at_least_forty_attacks_in_eight_families() -> None:
    assert len(attacks.FAMILIES) == 8
    assert sum(len(family) for family in attacks.FAMILIES.values()) >= 40


def test_nothing_is_left_after_many_programs(way: Way) -> None:
    with sessions.session("def f(x): return x"):
        pass
    server = _fork_server._servers[way]
    before = len(list(Path("/proc/self/fd").iterdir()))
    folders = sorted(server.folder.iterdir())  # the neighbour's, where there is one
    for n in range(50):
        with sessions.session("open('a', 'w').write('x')\ndef f(x): return x") as session:
            assert session.call("f", n).value == n
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert sorted(server.folder.iterdir()) == folders
    children = Path(f"/proc/{server._process.pid}/task/{server._process.pid}/children").read_text().split()
    assert len(children) <= 1
    assert sys.platform == "linux"
