"""Serves a policy until it is told to end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from whet.errors import ConfigError
from whet.serving import http
from whet.serving.served import Served
from whet.serving.worker import Worker

if TYPE_CHECKING:
    import uvicorn

GRACE_S = 5.0
"""For requests under way when the server is told to end."""
_START_S = 30.0


def serve(served: Served, listener: socket.socket) -> None:
    """Answers until SIGINT or SIGTERM; then requests under way have `GRACE_S` seconds to finish.

    A second signal ends it at once. Nothing is left running.
    """
    worker = Worker(served.engine)
    try:
        with suppress(KeyboardInterrupt):  # before the server listens to signals
            _server(served, worker, listener).run([listener])
    finally:
        worker.close()


@contextmanager
def running(served: Served, port: int = 0) -> Iterator[str]:
    """The URL of a server in a thread of this process, as long as the block lasts."""
    http.require_extra()
    listener = listen("127.0.0.1", port)
    worker, url = Worker(served.engine), url_of(listener)
    server = _server(served, worker, listener)
    thread = threading.Thread(target=server.run, args=([listener],), name="whet-http")
    thread.start()
    try:
        _wait(lambda: server.started)
        yield url
    finally:
        server.should_exit = True
        worker.drain(0.0)
        thread.join()
        worker.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `ConfigError` when the place is taken."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error}. Choose another with --port; 0 takes a free one"
        ) from error


def url_of(listener: socket.socket) -> str:
    """Where clients find the server."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(served: Served, worker: Worker, listener: socket.socket) -> uvicorn.Server:
    address = listener.getsockname()[0]
    hosts = http.LOOPBACK if address in http.LOOPBACK else ("*",)
    app = http.application(served, worker, hosts)
    return http.server(app, lambda is_urgent: worker.drain(0.0 if is_urgent else GRACE_S), GRACE_S)


def _wait(is_ready: Callable[[], bool]) -> None:
    until = time.monotonic() + _START_S
    while not is_ready() and time.monotonic() < until:
        time.sleep(0.01)
