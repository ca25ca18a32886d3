"""Runs what may hang, crash or attack, outside this process.

`pool`: our functions and the user's, in workers that can be killed. `session` and `run_python`: programs that a model
wrote, in children without rights; `sessions` says what that does not protect against.
"""

from whet.config import SandboxConfig
from whet.sandbox.limits import Limits, SandboxError, SandboxResult
from whet.sandbox.sessions import Session, run_python, session
from whet.sandbox.settings import use

__all__ = [
    "Limits",
    "SandboxConfig",
    "SandboxError",
    "SandboxResult",
    "Session",
    "run_python",
    "session",
    "use",
]
