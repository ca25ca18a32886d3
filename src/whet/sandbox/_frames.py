"""Messages on a stream socket: four bytes of length, then the message."""

from __future__ import annotations

import socket
import struct
import time

_HEADER = struct.Struct("!I")


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


def receive(channel: socket.socket, deadline: float | None = None, most: int = 2**28) -> bytes:
    """The next message, of at most `most` bytes.

    Raises `TimeoutError` at the deadline (of `time.monotonic`), and `Closed` where there is no such message.
    """
    (length,) = _HEADER.unpack(_exactly(channel, _HEADER.size, deadline))
    if length > most:
        raise Closed(f"a message of {length} bytes, and {most} are allowed")
    return _exactly(channel, length, deadline)


def _exactly(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            channel.settimeout(left)
        try:
            part = channel.recv(min(count - len(parts), 2**20))
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(str(error)) from None
        if not part:
            raise Closed("the other side has gone")
        parts += part
    return bytes(parts)
