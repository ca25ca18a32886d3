"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from whet.errors import ConfigError

RunName = Annotated[str, typer.Argument(metavar="RUN", help="Path, name, beginning of a name, or latest.")]
RunsRoot = Annotated[str, typer.Option("--runs-root", envvar="WHET_RUNS", help="Where runs are.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def settings_of(texts: Sequence[str], section: str) -> dict[str, Any]:
    """The values of `key=value` texts; the name of their section may stand before the key."""
    from whet.yaml_source import from_overrides

    return dict(from_overrides(in_section(texts, section)).values.get(section, {}))


def in_section(texts: Sequence[str], section: str) -> list[str]:
    """`key=value` texts with the name of their section before the key, where it was left out."""
    if words := [text for text in texts if "=" not in text]:
        raise ConfigError(f"{words[0]!r} is not a setting: write key=value, for instance limit=100")
    return [f"{section}.{text.removeprefix(f'{section}.')}" for text in texts]
