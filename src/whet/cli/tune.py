"""`whet tune`: which number of CPU threads is fastest for a run, measured on this machine."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from whet.cli._options import Configs, Json, paths_from_here, split_configs

if TYPE_CHECKING:
    from whet.training.tune import Timing, Tuning

_ROW = "{:>7}  {:>10}  {:>10}  {:>10}"


def command(config: Configs, json: Json = False) -> None:
    """Measure how many CPU threads a run should have.

    Makes the first step of the run with 1, 2, 4, ... threads, and prints the seconds of a rollout, of an update, and of
    a whole step. Trains nothing and writes no run. A smaller batch is sooner measured: batch.prompts_per_step=8.
    """
    from whet.cli._output import print_json
    from whet.config import load_config
    from whet.training.tune import tune

    files, settings = split_configs(config)
    with paths_from_here(files):
        asked = load_config(files, settings)
        if not json:
            print(_ROW.format("threads", "rollout", "update", "step"))
        found = tune(asked) if json else tune(asked, _print)
    if json:
        print_json({**dataclasses.asdict(found), "fastest": found.fastest})
    else:
        print(_in_words(found))


def _print(timing: Timing) -> None:
    seconds = (timing.rollout_s, timing.update_s, timing.step_s)
    print(_ROW.format(timing.threads, *(f"{s:.3f} s" for s in seconds)), flush=True)


def _in_words(found: Tuning) -> str:
    updates = "one update" if found.updates == 1 else f"{found.updates} updates"
    return (
        f"\na step: a rollout and {updates}\n"
        f"by the rule: {found.rule} ({found.parameters:,} parameters, {found.cores} cores)\n"
        f"fastest here: {found.fastest}; to have it in a config:\n\n"
        f"num_threads: {found.fastest}"
    )
