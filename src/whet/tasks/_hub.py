"""Reads data sets of the Hub: the one place that imports `datasets`."""

from __future__ import annotations

import re
from functools import cache

from whet.errors import DataError, missing_extra
from whet.tasks._rows import Row, alike

NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")
"""`owner/name`, with the configuration behind a colon where there are several."""


@cache
def hub_rows(name: str, split: str) -> tuple[Row, ...]:
    """The rows of a split of `owner/name` or `owner/name:config`.

    Raises `ConfigError` without the extra `data`, and `DataError` when the Hub, the data set or the split is missing.
    """
    try:
        import datasets
    except ImportError:
        raise missing_extra(f"loading {name} from the Hub", "datasets", "data") from None
    repository, _, config = name.partition(":")
    try:
        rows = datasets.load_dataset(repository, config or None, split=split)
    except (OSError, ValueError) as error:
        raise DataError(
            f"the data set {name} (split {split}) cannot be loaded: {error}. Without the Hub: download its files where "
            "it can be reached, and name them in task.path"
        ) from error
    return tuple(alike((dict(row) for row in rows), f"{name}, {split} row"))
