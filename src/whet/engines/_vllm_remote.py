"""A worker in another process, and the process itself where whet starts it. Every call has a time limit."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from safetensors.torch import save
from torch import Tensor

from whet.engines._vllm_server import HOST, SERVER_NAME, body_of, pieces_of
from whet.engines._vllm_worker import Ask, Held, Piece, Setup
from whet.errors import EngineError
from whet.types import SamplingParams

SERVER = ("-m", "whet.engines.vllm")
_END_S = 5.0


class ServerProcess:
    """A server that this process started, and that ends with it."""

    def __init__(self, python: str) -> None:
        listener = socket.create_server((HOST, 0))
        # A person may want to read it after the run, so nothing removes it.
        self.log = Path(tempfile.mkstemp(prefix="whet_vllm_", suffix=".log")[1])
        with listener, self.log.open("wb") as log:
            self.url = f"http://{HOST}:{listener.getsockname()[1]}"
            self._process = subprocess.Popen(
                [python, *SERVER, "--fd", str(listener.fileno())],
                stdin=subprocess.PIPE,  # its end is what tells the server to end, even after a SIGKILL here
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C is for the trainer, which ends it once the run is saved
            )
        self.end = weakref.finalize(self, _end, self._process)

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def epitaph(self) -> str:
        """How the process ended, where it has, and the last that it said."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(1.0)
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
            said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
            return f" (exit code {code}, log {self.log}, its end: {said[:200]})"
        return f" (process {self.pid}, log {self.log})"


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class RemoteWorker:
    """The other end of a server's calls."""

    def __init__(self, url: str, timeout_s: float, process: ServerProcess | None = None) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._process = process

    def load(self, setup: Setup) -> None:
        """Makes the model, without its weights; nothing where it is there already."""
        self._answer("/load", json.dumps(asdict(setup)).encode())

    def held(self) -> Held:
        """The weights that it has."""
        return Held(**self._answer("/held"))

    def update(self, held: Held, tensors: Mapping[str, Tensor]) -> None:
        """Takes weights under transformers' names, all of them, and is then known by this version and checksum."""
        self._answer(f"/update?{urlencode(held._asdict())}", save(dict(tensors)))

    def generate(
        self, asks: Sequence[Ask], params: SamplingParams, stop_ids: Iterable[int]
    ) -> Iterator[list[Piece]]:
        """Tokens as they are sampled, until each completion has ended; closing the iterator ends them all."""
        body = json.dumps(body_of(asks, params, stop_ids)).encode()
        with self._call("/generate", body) as response:
            while line := self._content(response.readline()):
                yield pieces_of(line)

    def cancel(self, places: Iterable[int]) -> None:
        """Ends completions that are not needed any more."""
        self._answer("/cancel", json.dumps({"places": list(places)}).encode())

    def _answer(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        with self._call(path, body) as response:
            return self._content(response.read())

    @contextmanager
    def _call(self, path: str, body: bytes | None) -> Iterator[http.client.HTTPResponse]:
        """One connection a call: none is found broken that an earlier call left behind."""
        place = urlsplit(self._url)
        connection = http.client.HTTPConnection(place.hostname or HOST, place.port, timeout=self._timeout_s)
        what = urlsplit(path).path
        try:
            connection.request("POST" if body is not None else "GET", path, body)
            yield self._accepted(connection.getresponse())
        except TimeoutError as error:
            raise EngineError(
                f"the vLLM server at {self._url} did not answer {what} within {self._timeout_s:g} s{self._epitaph()}: "
                "raise engine.timeout_s if it needs longer, else end it; then resume the run"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            way_on = (
                "Resume the run: it starts another" if self._process else "Start it again and resume the run"
            )
            raise EngineError(
                f"the vLLM server at {self._url} was lost in {what}: {type(error).__name__}: {error}{self._epitaph()}. "
                f"{way_on}"
            ) from error
        finally:
            connection.close()

    def _accepted(self, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        if response.status == 200:
            return response
        said = response.read().decode(errors="replace")
        if response.getheader("Server", "").startswith(SERVER_NAME):
            self._content(said.encode())
        raise EngineError(
            f"{self._url} answered {response.status} {said[:100]!r}: expected a server of whet, started with "
            "python -m whet.engines.vllm; that of vLLM itself takes no weights"
        )

    def _content(self, line: bytes) -> dict[str, Any]:
        """What a line holds. An empty one, where one is due, is an answer that was cut off."""
        if not line:
            raise http.client.IncompleteRead(line)
        content: dict[str, Any] = json.loads(line)
        if "error" in content:
            raise EngineError(f"the vLLM server at {self._url}: {content['error']}")
        return content

    def _epitaph(self) -> str:
        return self._process.epitaph() if self._process is not None else ""
