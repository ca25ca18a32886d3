"""`whet configs`: the configs that come with whet."""

from __future__ import annotations

from typing import Annotated

import typer

from whet import shipped
from whet.cli._options import Json
from whet.errors import ConfigError


def command(
    name: Annotated[str | None, typer.Argument(help="Print this one.")] = None, json: Json = False
) -> None:
    """List the configs that come with whet, or print one.

    `whet configs arithmetic > mine.yaml` is a copy to edit.
    """
    if name is None:
        _list(json)
    elif (found := shipped.name_of(name)) is not None:
        text = shipped.path_of(found).read_text(encoding="utf-8")
        # The schema lies beside the shipped file, not where this is going.
        print(
            "".join(x for x in text.splitlines(keepends=True) if not x.startswith(shipped.EDITOR_LINE)),
            end="",
        )
    else:
        raise ConfigError(
            f"no config of the name {name!r} ships with whet. There are: {', '.join(shipped.names())}"
        )


def _list(json: bool) -> None:
    from whet.cli._output import columns, print_json

    rows = [{"name": n, "overlay": shipped.is_overlay(n), "about": shipped.about(n)} for n in shipped.names()]
    if json:
        print_json(rows)
        return
    print("to run: `whet train NAME`")
    print(columns([(str(row["name"]), str(row["about"])) for row in rows if not row["overlay"]], "  "))
    overlays = [
        (str(row["name"]), str(row["about"]).removeprefix("Overlay: ")) for row in rows if row["overlay"]
    ]
    if overlays:
        print(f"\noverlays, after another config: `whet train arithmetic {overlays[-1][0]}`")
        print(columns(overlays, "  "))
