"""Carries the calls of a worker over loopback HTTP: JSON, and safetensors for the weights. Nothing is unpickled.

    GET  /held                 -> {"version": 3, "checksum": "..."}
    POST /load                 the fields of `Setup`
    POST /update?version=&checksum=    weights as safetensors; refused when the checksum is not theirs
    POST /generate             {"asks": [...], "params": {...}, "stop_ids": [...]} -> a line of pieces per step, then {}
    POST /cancel               {"places": [...]}

A call that fails answers 500 and {"error": ...}; sampling that fails after it has begun ends with such a line.

`python -m whet.engines.vllm --port 8021` in the environment that has vLLM starts one by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from safetensors.torch import load

from whet.engines._vllm_worker import Ask, Held, LocalWorker, Piece, Setup, Worker
from whet.errors import EngineError, WhetError
from whet.models.fingerprint import digest
from whet.types import SamplingParams

HOST = "127.0.0.1"
SERVER_NAME = "whet-vllm"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def body_of(asks: Iterable[Ask], params: SamplingParams, stop_ids: Iterable[int]) -> dict[str, Any]:
    """What /generate is asked."""
    return {"asks": list(asks), "params": dataclasses.asdict(params), "stop_ids": sorted(stop_ids)}


def serve(listener: socket.socket, worker: Worker) -> None:
    """Answers on a listening socket until the process ends."""
    handler = type("Handler", (_Handler,), {"worker": worker, "turn": threading.Lock()})
    server = ThreadingHTTPServer(listener.getsockname()[:2], handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.daemon_threads = True
    server.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    server_version = SERVER_NAME
    worker: Worker
    turn: threading.Lock
    """Of calls that use the model: one at a time."""

    def do_GET(self) -> None:
        self._answer({"/held": self._held})

    def do_POST(self) -> None:
        self._answer(
            {
                "/load": self._load,
                "/update": self._update,
                "/generate": self._generate,
                "/cancel": self._cancel,
            }
        )

    def _answer(self, calls: dict[str, Callable[[bytes], None]]) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # A page of another site must not reach the server under a name of its own (DNS rebinding).
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        call = calls.get(urlsplit(self.path).path)
        if host not in LOOPBACK or call is None:
            self._send({"error": f"there is no {self.path} here"}, 404)
            return
        try:
            call(body)
        except (WhetError, ValueError, TypeError, KeyError) as error:
            self._send({"error": str(error)}, 500)

    def _held(self, _: bytes) -> None:
        self._send(self.worker.held()._asdict())

    def _load(self, body: bytes) -> None:
        with self.turn:
            self.worker.load(Setup(**json.loads(body)))
        self._send({})

    def _update(self, body: bytes) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        held = Held(int(asked["version"][0]), asked["checksum"][0])
        tensors = load(body)
        if (found := digest(tensors)) != held.checksum:
            raise EngineError(f"weights of {held} arrived with checksum {found[:12]}: they are damaged")
        with self.turn:
            self.worker.update(held, tensors)
        self._held(b"")

    def _generate(self, body: bytes) -> None:
        asked = json.loads(body)
        params = SamplingParams(**{**asked["params"], "stop": tuple(asked["params"]["stop"])})
        asks = [Ask(*ask) for ask in asked["asks"]]
        with self.turn:
            self._stream(asks, params, asked["stop_ids"])

    def _stream(self, asks: Sequence[Ask], params: SamplingParams, stop_ids: Sequence[int]) -> None:
        """A line per step. A client that hangs up ends the sampling at the next one."""
        self.send_response(200)
        self.end_headers()
        steps = self.worker.generate(asks, params, stop_ids)
        try:
            for pieces in steps:
                self._line({"pieces": pieces})
            self._line({})
        except WhetError as error:
            self._line({"error": str(error)})
        except OSError:
            pass
        finally:
            steps.close()  # type: ignore[attr-defined]

    def _cancel(self, body: bytes) -> None:
        self.worker.cancel(json.loads(body)["places"])
        self._send({})

    def _line(self, content: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(content).encode() + b"\n")
        self.wfile.flush()

    def _send(self, content: dict[str, Any], status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        self._line(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line per call would drown what vLLM says."""


def pieces_of(line: dict[str, Any]) -> list[Piece]:
    """The pieces in a line of /generate."""
    return [Piece(*piece) for piece in line["pieces"]]


def end_with_parent() -> None:
    """Ends the process when stdin closes: the parent holds its other end, however it ends itself."""
    while os.read(0, 1):  # not sys.stdin, whose lock this would hold
        pass
    os._exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves vLLM: `--port` listens there; `--fd` takes over a listening socket, and ends when stdin does."""
    parser = argparse.ArgumentParser(prog="python -m whet.engines.vllm", description=main.__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int)
    where.add_argument("--fd", type=int)
    given = parser.parse_args(arguments)
    if given.fd is not None:
        threading.Thread(target=end_with_parent, daemon=True).start()
    listener = (
        socket.create_server((HOST, given.port)) if given.fd is None else socket.socket(fileno=given.fd)
    )
    worker = LocalWorker()
    print(f"vLLM for whet: engine.url=http://{HOST}:{listener.getsockname()[1]}", flush=True)
    serve(listener, worker)
