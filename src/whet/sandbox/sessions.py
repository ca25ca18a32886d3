"""Programs of a model, each in a child of its own: `session(code).call("f", 1)`, `run_python(code, stdin)`.

A child can read the interpreter, write plain files into a scratch folder that is removed, use its share of time and
memory, and nothing else: no network, no processes, no signals to others. What it sends back is plain data.

It does not protect against bugs of the kernel or of the processor, against a program that learns which files exist
(not what is in them), or reads the clock, the machine's name and load, and the packages of the interpreter that the
virtual environment was made from; and what runs at once shares the cores.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from whet.sandbox import _frames, _values
from whet.sandbox._fork_server import server_for
from whet.sandbox.limits import Limits, SandboxError, SandboxResult
from whet.sandbox.settings import way_now

_START_S = 30.0
_GO_S = 0.2
_MOST_BYTES = 2**24
_SIGXCPU = 24

Answering = Callable[[str, list[str]], dict[str, Any]]
"""What a checker's question gets: `{"value": json text}` or `{"raised": why}`."""


def session(code: str, limits: Limits = Limits(), name: str = "program") -> Session:  # noqa: B008 - frozen
    """A child that has run `code` as the module `name`, ready for calls; `started` says what came of that.

    Use it in a `with`, or close it. Raises `SandboxError` when there can be no sandbox here.
    """
    return Session(code, limits, name)


def run_python(code: str, stdin: str | bytes = "", limits: Limits = Limits()) -> SandboxResult:  # noqa: B008 - frozen
    """Runs a program from its beginning to its end, as `__main__`, with `stdin` to read.

    `sys.exit()` and `sys.exit(0)` are an end like another; any other code is status `raised`.
    """
    with Session(code, limits, "__main__", stdin) as program:
        result = program.started
    if result.kind == "SystemExit" and result.detail.partition(",")[0] in (
        "SystemExit: None",
        "SystemExit: 0",
    ):
        return SandboxResult(status="ok", stdout=result.stdout, stderr=result.stderr, wall_s=result.wall_s)
    return result


class Session:
    """One child. Not for several threads at once."""

    def __init__(
        self,
        code: str,
        limits: Limits,
        name: str,
        stdin: str | bytes = "",
        answering: Answering | None = None,
    ) -> None:
        self._limits = limits
        self._answering = answering
        self._nonce = secrets.token_hex(16)
        self._owner = os.getpid()
        self._number = 0
        self._ended: SandboxResult | None = None
        self._pid = 0
        self._is_ready = False
        self._left_s = limits.total_s
        for is_last in (False, True):
            self._server = server_for(way_now())
            try:
                self._start(name, stdin)
                self.started = self._do(limits.timeout_s, do="define", code=code)
                """What came of running the code itself."""
                return
            except BaseException as error:
                self.close()
                if is_last or not (isinstance(error, SandboxError) and self._server.is_lost):
                    raise

    def call(self, name: str, *args: Any, **keywords: Any) -> SandboxResult:
        """Calls a function of the program, such as `f` or `Class.method`, with plain data.

        Where the program's own code failed, or a call ended the child, every further call has that result. Raises
        `ValueError` for arguments that are no plain data.
        """
        if not self.started.ok:
            return self.started
        sent, named = [_values.dumps(arg) for arg in args], _values.dumps(keywords)
        return self._do(self._limits.timeout_s, do="call", name=name, args=sent, keywords=named, keep=False)

    def close(self) -> None:
        """Ends the child and removes its folder."""
        is_copy = os.getpid() != self._owner  # in a fork
        if is_copy or self._pid == 0 or self._channel.fileno() < 0:
            return
        if self._ended is None:
            self._channel.shutdown(socket.SHUT_WR)  # no more requests: an honest child goes by itself
        if self._ended is not None or not self._has_gone(_GO_S):
            self._kill()
        self._let_go()

    def _let_go(self) -> None:
        self._channel.close()
        for stream in self._streams:
            os.close(stream)
        try:
            os.rmdir(self._scratch)  # noqa: PTH106 - empty as a rule, and a session should cost little
        except OSError:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _relay(self, **request: Any) -> SandboxResult:
        """A call for a checker: the value is the text that the program sent, for another sandbox to read."""
        return self._do(self._limits.timeout_s, decode=False, **request)

    def _start(self, name: str, stdin: str | bytes) -> None:
        self._pid, self._is_ready = 0, False
        entry = _stream(stdin if isinstance(stdin, bytes) else stdin.encode("utf-8", "surrogatepass"))
        self._streams, self._read = [_stream(), _stream()], [0, 0]
        self._channel, theirs = socket.socketpair()
        self._scratch = self._server.scratch()
        request = {
            "scratch": self._scratch,
            "nonce": self._nonce,
            "name": name,
            "limits": self._limits.in_child(),
        }
        try:
            with theirs:
                self._pid = self._server.start(request, [theirs.fileno(), entry, *self._streams])
        finally:
            os.close(entry)
            if self._pid == 0:  # there is no child to close with
                self._let_go()

    def _wait_until_ready(self) -> None:
        try:
            ready = _frames.receive(self._channel, time.monotonic() + _START_S)
        except (_frames.Closed, TimeoutError) as error:
            ready = repr(error).encode()
        self._is_ready = json.loads(ready if ready[:1] == b"{" else b"{}").get("nonce") == self._nonce
        if not self._is_ready:
            raise SandboxError(
                f"the sandbox could not confine a program: {self._printed(1) or ready.decode()}"
            )

    def _do(self, timeout_s: float, decode: bool = True, **request: Any) -> SandboxResult:
        if self._ended is not None:
            return self._ended
        if self._left_s is not None:
            timeout_s = max(0.001, min(timeout_s, self._left_s))
        start = time.monotonic()
        try:
            about = self._exchange(request, timeout_s, decode)
        except TimeoutError:
            about = {"status": "timeout", "detail": f"not done after {timeout_s:g} s"}
        except _Died as error:
            about = error.about
        if about["status"] in ("timeout", "died"):
            self._kill()
            if self._server.is_lost:  # then nothing can be said of the program
                self._ended = SandboxResult(**about)
                raise SandboxError("the sandbox's server ended while a program ran; it is started anew")
        if self._left_s is not None:
            self._left_s -= time.monotonic() - start
        result = SandboxResult(
            **about, wall_s=time.monotonic() - start, stdout=self._printed(0), stderr=self._printed(1)
        )
        if about["status"] in ("timeout", "died"):
            self._ended = result
        return result

    def _exchange(self, request: dict[str, Any], timeout_s: float, decode: bool) -> dict[str, Any]:
        self._number += 1
        try:
            self._channel.settimeout(timeout_s)
            _frames.send(self._channel, json.dumps({"number": self._number, **request}).encode())
            if not self._is_ready:  # the first request is on its way while the child gets ready
                self._wait_until_ready()
            deadline = time.monotonic() + timeout_s
            while True:
                message = self._message(deadline)
                if "ask" not in message or self._answering is None:
                    return _checked(message, decode)
                reply = self._answering(message["ask"], message["args"])
                self._channel.settimeout(max(0.001, deadline - time.monotonic()))
                _frames.send(self._channel, json.dumps(reply).encode())
        except _frames.Closed as error:
            raise _Died(f"the process ended ({error})") from None

    def _message(self, deadline: float) -> dict[str, Any]:
        """The child's next message, if it is one that this request can get."""
        text = _frames.receive(self._channel, deadline, _MOST_BYTES)
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if type(message) is not dict:
            raise _Died("it wrote something else than an answer")
        if "ended" in message:
            code = message["ended"]
            if code == -_SIGXCPU:
                raise _Died("CPU time used up", "timeout")
            raise _Died(_shown(message.get("why")) or f"the process ended itself with {_ending(code)}")
        asks = "ask" in message and self._answering is not None
        if message.get("nonce") != self._nonce or not (asks or message.get("number") == self._number):
            raise _Died("it wrote something else than an answer")
        return message

    def _kill(self) -> None:
        """Ends the child and waits for its end."""
        self._server.kill(self._pid)
        self._has_gone(_START_S)

    def _has_gone(self, timeout_s: float) -> bool:
        """Whether the child's end, which the server announces by closing its side, comes in time."""
        deadline = time.monotonic() + timeout_s
        try:
            while not self._server.is_lost and (left := deadline - time.monotonic()) > 0:
                self._channel.settimeout(left)
                if not self._channel.recv(2**16):
                    return True
        except TimeoutError:
            return False
        except OSError:
            pass  # the server has gone, and its children with it
        return self._server.is_lost

    def _printed(self, which: int) -> str:
        """What the child has printed since the last time, up to the limit."""
        start, end = self._read[which], os.fstat(self._streams[which]).st_size
        if end <= start:
            return ""
        self._read[which] = end
        most = self._limits.output_kb * 1024
        return os.pread(self._streams[which], most, start).decode("utf-8", "replace")


class _Died(Exception):
    """The child has gone, or must go."""

    def __init__(self, detail: str, status: str = "died") -> None:
        super().__init__(detail)
        self.about = {"status": status, "detail": detail}


def _checked(message: dict[str, Any], decode: bool) -> dict[str, Any]:
    """The parts of a result, read as the words of a stranger. Without `decode` the value stays the text that it was."""
    status = message.get("status")
    if status == "ok":
        text = message.get("value")
        if not isinstance(text, str):
            raise _Died("it wrote something else than an answer")
        if not decode:
            return {"status": "ok", "value": text}
        try:
            return {"status": "ok", "value": _values.loads(text)}
        except _values.NotPlain as error:
            raise _Died(f"it wrote something else than an answer ({error})") from None
    if status not in ("raised", "memory"):
        raise _Died("it wrote something else than an answer")
    return {"status": status, "detail": _shown(message.get("detail")), "kind": _shown(message.get("kind"))}


def _shown(text: object) -> str:
    """A text of the program that can be printed anywhere."""
    return text[:400].encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else ""


def _ending(code: Any) -> str:
    return f"signal {-code}" if isinstance(code, int) and code < 0 else f"exit code {code}"


def _stream(content: bytes | None = None) -> int:
    """A file without a name, with this content; the program's output has its file size limit."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("stream")
    else:
        descriptor, path = tempfile.mkstemp()
        Path(path).unlink()
    if content:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
