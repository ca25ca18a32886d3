"""Whether programs of a model can be run here, and what keeps them in."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from whet import sandbox
from whet.doctor.finding import Finding
from whet.errors import WhetError
from whet.sandbox import _confine

_FORBIDDEN = {
    "a file of the host": "open('/etc/passwd')",
    "another process": "import os\nos.fork()",
    "the network": "import socket\nsocket.socket()",
}


def findings() -> Iterable[Finding]:
    """One row: a program is run, and must not reach what it has no right to."""
    try:
        reached = [
            what for what, code in _FORBIDDEN.items() if sandbox.run_python(code).kind != "PermissionError"
        ]
    except WhetError as error:
        yield Finding(
            what="sandbox",
            status="WARN",
            found=str(error).partition(". ")[0],
            next_step="needed by code tasks, strategy_2048 and calculator only",
        )
        return
    if reached:
        yield Finding(
            what="sandbox",
            status="FAIL",
            found=f"a program reached {', '.join(reached)}",
            next_step="run no programs of a model on this machine",
        )
        return
    more = "bubblewrap" if shutil.which("bwrap") else "no bubblewrap"
    yield Finding(what="sandbox", status="OK", found=f"Landlock {_confine.landlock_abi()}, seccomp; {more}")
