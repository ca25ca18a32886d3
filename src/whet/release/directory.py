"""A directory that appears with all its files, or not at all, and takes the place of nothing by accident."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whet.errors import ConfigError


def check_free(directory: Path, force: bool) -> None:
    """Raises `ConfigError` when something is there already and `force` does not say to overwrite it."""
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is a file: name a directory in --out")
    if directory.is_dir() and any(directory.iterdir()) and not force:
        raise ConfigError(
            f"{directory} is not empty: name another directory in --out, or overwrite with --force"
        )


@contextmanager
def filled(directory: Path, force: bool) -> Iterator[Path]:
    """A place to write files that are in the directory when the block ends well; a failure leaves nothing.

    With `force`, files of the same names are replaced and others stay.
    """
    check_free(directory, force)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise ConfigError(f"{directory} cannot be made: {error.strerror}. Name another in --out") from error
    try:
        yield place
        directory.mkdir(exist_ok=True)
        for file in sorted(place.iterdir()):
            file.replace(directory / file.name)
    finally:
        shutil.rmtree(place, ignore_errors=True)
