"""Merges and exports: from a checkpoint to a directory that other programs load."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from whet.errors import ConfigError
from whet.release.card import model_card
from whet.release.directory import check_free, filled
from whet.release.model_files import write_adapter, write_model
from whet.runs.directory import RunDirectory
from whet.runs.policy import has_adapter
from whet.runs.trained import Trained

Format = Literal["hf", "adapter"]


def merge(run: RunDirectory, which: str | None, out: Path, force: bool = False, device: str = "auto") -> Path:
    """Writes the model with its adapter folded in. Raises `ConfigError` when there is no adapter."""
    check_free(out, force)
    trained = Trained.load(run, which, device)
    if not has_adapter(trained.policy):
        raise ConfigError(
            f"there is no adapter to merge: {run.name} holds a whole model. Take it out with whet export"
        )
    with filled(out, force) as place:
        write_model(trained.policy, place, trained.config.prompt.template)
    return out


def export(
    run: RunDirectory,
    which: str | None = None,
    kind: Format = "hf",
    out: Path | None = None,
    force: bool = False,
    title: str | None = None,
) -> Path:
    """Writes model (or adapter), tokenizer, template, generation config and a model card; returns the directory.

    out: default exports/RUN-CHECKPOINT in the working directory. title: of the card, default the directory's name.
    """
    if out is not None:
        check_free(out, force)
    trained = Trained.load(run, which)
    name = f"{run.name}-{trained.checkpoint.resolve().name}" + ("-adapter" if kind == "adapter" else "")
    out = out or Path("exports") / name
    write = write_adapter if kind == "adapter" else write_model
    with filled(out, force) as place:
        write(trained.policy, place, trained.config.prompt.template)
        card = model_card(trained, title or out.name, kind == "adapter")
        (place / "README.md").write_text(card, encoding="utf-8")
    return out
