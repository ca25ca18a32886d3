"""Messages on a stream socket: four bytes of length, then the message."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

_HEADER = struct.Struct("!I")
_WATCH_S = 0.05
"""Seconds between two looks of `watch`."""


class Closed(Exception):
    """The other side has gone, or what it sent is no message."""


def send(channel: socket.socket, message: bytes) -> None:
    """Sends one message; raises `Closed` when nobody reads."""
    try:
        channel.sendall(_HEADER.pack(len(message)) + message)
    except TimeoutError:
        raise
    except OSError as error:
        raise Closed(str(error)) from None


def receive(
    channel: socket.socket,
    deadline: float | None = None,
    most: int = 2**28,
    watch: Callable[[], None] | None = None,
) -> bytes:
    """The next message, of at most `most` bytes. `watch` is called every now and then while it is waited for.

    Raises `TimeoutError` at the deadline (of `time.monotonic`), and `Closed` where there is no such message.
    """
    (length,) = _HEADER.unpack(_exactly(channel, _HEADER.size, deadline, watch))
    if length > most:
        raise Closed(f"a message of {length} bytes, and {most} are allowed")
    return _exactly(channel, length, deadline, watch)


def _exactly(
    channel: socket.socket, count: int, deadline: float | None, watch: Callable[[], None] | None
) -> bytes:
    parts, looked = bytearray(), time.monotonic()
    while len(parts) < count:
        if (
            watch is not None and time.monotonic() - looked > _WATCH_S
        ):  # by the clock: bytes may come one by one
            watch()
            looked = time.monotonic()
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            channel.settimeout(left if watch is None else min(left, _WATCH_S))
        try:
            part = channel.recv(min(count - len(parts), 2**20))
        except TimeoutError:
            if watch is None:
                raise
            continue
        except OSError as error:
            raise Closed(str(error)) from None
        if not part:
            raise Closed("the other side has gone")
        parts += part
    return bytes(parts)
