"""How programs of a model are kept apart in this process: the section `sandbox` of a config."""

from __future__ import annotations

from whet.registry import Settings
from whet.sandbox._fork_server import Way
from whet.sandbox.limits import Isolation


class SandboxConfig(Settings):
    """How programs that a model wrote are run. It matters to tasks and verifiers that run them, and to no other."""

    isolation: Isolation = "landlock"
    """landlock: Landlock, seccomp and limits of the kernel; nothing to install. bubblewrap: namespaces around that, for
    which the system package bubblewrap has to be there; about half as fast."""
    unsafe: bool = False
    """Run them without protection of files, network and processes, where the platform has none. Time and memory are
    limited as far as the platform can."""


_now = SandboxConfig()


def use(settings: SandboxConfig) -> None:
    """From now on every session of this process is isolated in this way."""
    global _now
    _now = settings


def way_now() -> Way:
    """The way in use."""
    return Way(is_bubblewrapped=_now.isolation == "bubblewrap", is_unsafe=_now.unsafe)
