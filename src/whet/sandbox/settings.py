"""How programs of a model are kept apart in this process."""

from __future__ import annotations

from whet.config import SandboxConfig
from whet.sandbox._fork_server import Way

_now = SandboxConfig()


def use(settings: SandboxConfig) -> None:
    """From now on every session of this process is isolated in this way."""
    global _now
    _now = settings


def way_now() -> Way:
    """The way in use."""
    return Way(is_bubblewrapped=_now.isolation == "bubblewrap", is_unsafe=_now.unsafe)
