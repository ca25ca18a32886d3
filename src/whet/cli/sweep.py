"""`whet sweep`: several settings, each with several seeds, compared."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli._options import Json, split_configs
from whet.errors import ConfigError

if TYPE_CHECKING:
    from whet.sweeps.definition import Definition
    from whet.sweeps.members import Member


def command(
    config: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG|KEY.SUB=VALUE",
            help="Each CONFIG is a setting (layers are joined by +: arithmetic+smoke); KEY.SUB=VALUE holds for all.",
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY.SUB=A,B", help="A setting for each value; several make a grid."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs per setting, from the config's seed on.")] = 3,
    name: Annotated[
        str | None, typer.Option(help="Directory sweep_NAME; default: after configs and keys.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
    timeout_s: Annotated[
        float, typer.Option(min=1.0, help="For each run; then it is stopped and saved.")
    ] = 86400.0,
    show: Annotated[
        str | None, typer.Option(metavar="SWEEP", help="Show a sweep by name or path; train nothing.")
    ] = None,
    json: Json = False,
) -> None:
    """Train several settings, with several seeds each; compare them.

    For instance `whet sweep arithmetic --set algorithm=grpo,dr_grpo --seeds 3`. The same command again goes on with
    what is not finished. A run that fails does not stop the rest. The best setting is marked only where its difference
    to the next one is more than chance.
    """
    if show is not None:
        _refuse_with_show(config, grid)
        directory = _find(show)
        from whet.sweeps.definition import load

        definition = load(directory)
    else:
        definition, directory = _define(config or [], grid or [], seeds, name)
        _run(definition, directory, jobs, timeout_s)
    _report(definition, directory, json)


def _define(arguments: list[str], grid: list[str], seeds: int, name: str | None) -> tuple[Definition, Path]:
    from whet.sweeps.definition import default_name, define, slug

    configs, settings = split_configs(arguments)
    definition = define(configs, grid, settings, seeds)
    root = Path(definition.settings[0].config.runs_root)
    return definition, root / f"sweep_{slug(name or default_name(configs, grid))}"


def _run(definition: Definition, directory: Path, jobs: int, timeout_s: float) -> None:
    from whet.runs.lock import hold
    from whet.sweeps.definition import keep
    from whet.sweeps.launch import run_members
    from whet.sweeps.members import members_of

    keep(definition, directory)
    members = members_of(definition, directory)
    print(f"{directory}: {len(members)} runs", file=sys.stderr)
    with hold(directory):
        try:
            run_members(members, jobs, timeout_s, _say)
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None


def _say(member: Member, said: str) -> None:
    """On the standard error: the standard output is for results."""
    print(f"{member.name}: {said}", file=sys.stderr, flush=True)


def _report(definition: Definition, directory: Path, json: bool) -> None:
    from whet.cli._output import print_json
    from whet.sweeps.plot import plot_sweep
    from whet.sweeps.report import plain, sweep_text, write
    from whet.sweeps.results import result_of

    result = result_of(definition, directory)
    files = {**write(result), "sweep.png": plot_sweep(result)}
    if json:
        print_json({**plain(result), "files": {name: str(path) for name, path in files.items()}})
    else:
        print(f"{sweep_text(result)}\nfiles: {directory}/{{{','.join(files)}}}")
    if result.failed:
        raise typer.Exit(1)


def _refuse_with_show(config: list[str] | None, grid: list[str] | None) -> None:
    if config or grid:
        raise ConfigError("--show shows a sweep that was begun; give no config and no --set with it")


def _find(sweep: str) -> Path:
    """A path, or a name below WHET_RUNS or ./runs, with or without `sweep_`."""
    root = Path(os.environ.get("WHET_RUNS", "runs"))
    places = [Path(sweep), root / sweep, root / f"sweep_{sweep}"]
    for place in places:
        if (place / "sweep.yaml").is_file():
            return place
    there = ", ".join(sorted(p.parent.name for p in root.glob("*/sweep.yaml"))) or "none"
    raise ConfigError(f"there is no sweep {sweep!r}. In {root}: {there}")
