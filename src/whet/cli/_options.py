"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from whet.cli._completion import configs, runs
from whet.errors import ConfigError, WhetError

RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Path, name, beginning of a name, or latest.", autocompletion=runs),
]
Configs = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG|KEY.SUB=VALUE",
        help="Shipped names or YAML files, merged left to right, then single settings.",
        autocompletion=configs,
    ),
]
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


def split_configs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Configs and single settings; raises `ConfigError` when there is no config."""
    files = [a for a in arguments if "=" not in a or Path(a).is_file()]
    if not files:
        raise ConfigError("expected a config: the name of a shipped one, such as arithmetic, or a YAML file")
    return files, [a for a in arguments if a not in files]


@contextmanager
def paths_from_here(configs: Sequence[str]) -> Iterator[None]:
    """Adds to an error about a missing file that paths are not looked for beside the config, where that may help."""
    try:
        yield
    except WhetError as error:
        folders = [str(Path(c).parent) for c in configs if Path(c).is_file() and Path(c).parent != Path()]
        if folders and "(looked in " in str(error):
            hint = f"Paths in a config are relative to the working directory: cd {folders[0]} first"
            raise type(error)(f"{error}\n{hint}") from error
        raise
