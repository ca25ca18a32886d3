"""Files that hold numbers or settings, never code, and ways to bring them to the disk whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor


def encode_json(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, two spaces, a final newline.

    Raises `RunError` for what JSON does not have: NaN, infinities, tensors and other objects.
    """
    try:
        return (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise RunError(
            f"expected finite numbers, texts, lists and mappings to write as JSON: {error}"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Writes one JSON file; equal values give equal bytes."""
    _write(path, encode_json(value))


def read_json(path: Path) -> Any:
    """The value in a JSON file; raises `RunError` naming the file."""
    return decode_json(read_bytes(path), path)


def decode_json(content: bytes, path: Path) -> Any:
    """The value that the bytes of a file spell; raises `RunError` naming the file."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise RunError(f"{path} is not JSON: {error}") from error


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; raises `RunError` naming it."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes one safetensors file without metadata; equal tensors give equal bytes, in any order.

    Raises `RuntimeError` when two names share memory: write one of them.
    """
    from safetensors.torch import save_file

    save_file({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, on the CPU. Runs no code from it; raises `RunError` naming it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} is not a readable safetensors file: {error}") from error


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file in one step: a reader, or a crash, sees the old content or the new, never a part."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        _write(temporary, content)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file's bytes, or a directory's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        while content:  # a full disk may take a part of it
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)
