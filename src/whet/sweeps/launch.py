"""Runs the members of a sweep, each in a process of its own, so that none can take the others with it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from whet.runs import child
from whet.sweeps.members import Member

GRACE_S = 60.0
"""A member that is ended has this long to save what it has learned."""
_PAUSE_S = 0.1

Command = Callable[[Member], Sequence[str] | None]
"""The command line that takes a member further; None where nothing is to be done."""


@dataclass(frozen=True, slots=True)
class _Running:
    member: Member
    process: subprocess.Popen[Any]
    since: float


def run_members(
    members: Sequence[Member],
    jobs: int,
    timeout_s: float,
    on_event: Callable[[Member, str], None] = lambda member, said: None,
    command: Command = Member.command,
) -> None:
    """Takes every member to its end, `jobs` at a time. One that fails or takes too long does not stop the rest.

    A member past `timeout_s` is stopped, with what it has learned saved. What has been done is read from the members
    themselves. However this ends, no process is left behind.
    """
    waiting, running = list(members), list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running += _start(waiting.pop(0), command, on_event)
            running = [r for r in running if not _is_over(r, timeout_s, on_event)]
            time.sleep(_PAUSE_S if running else 0)
    finally:
        child.end([r.process for r in running], GRACE_S)


def _start(member: Member, command: Command, on_event: Callable[[Member, str], None]) -> list[_Running]:
    line = command(member)
    if line is None:
        on_event(member, f"{member.state}: left as it is")
        return []
    on_event(member, "goes on" if member.run else "starts")
    member.directory.mkdir(parents=True, exist_ok=True)
    with member.output.open("wb") as output:
        try:
            process = child.start(line, stdout=output, stderr=subprocess.STDOUT)
        except OSError as error:
            output.write(f"could not be started: {error}".encode())
            return []
    return [_Running(member, process, time.monotonic())]


def _is_over(running: _Running, timeout_s: float, on_event: Callable[[Member, str], None]) -> bool:
    seconds = time.monotonic() - running.since
    if running.process.poll() is None:
        if seconds < timeout_s:
            return False
        child.end([running.process], GRACE_S)
        on_event(running.member, f"not done after {timeout_s:g} s: stopped")
        return True
    child.end([running.process])  # what it may have left behind
    said = running.member.error or "finished"
    on_event(running.member, f"{said} ({seconds:.0f} s)")
    return True
