"""The forecast of a run in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.cli._output import columns
from whet.doctor.machine import size


def forecast_text(forecast: Mapping[str, Any]) -> str:
    """The arithmetic of a step, the length of the run, and what memory and disk must hold, as comments of YAML."""
    step, run, memory, disk = (forecast[part] for part in ("step", "run", "memory_bytes", "disk_bytes"))
    policy = forecast["policy"]
    warm = f"{run['warm_start_steps']} warm-start steps, then " if run["warm_start_steps"] else ""
    parts = ", ".join(f"{n.replace('_', ' ')} {size(b)}" for n, b in memory.items() if b and n != "total")
    rows = [
        ("policy", f"{policy['parameters']:,} parameters, vocabulary {policy['vocab_size']:,}"),
        (
            "data",
            f"{run['train_examples']:,} examples to train on, {run['test_examples']:,} to evaluate on",
        ),
        (
            "step",
            f"{step['prompts']} prompts x {step['generations']} generations = {step['completions']} completions, "
            f"at most {step['max_sampled_tokens']:,} sampled tokens",
        ),
        (
            "update",
            f"{step['updates']} per step, of {step['completions_per_update']} completions; micro-batches "
            f"(accumulation): at most {step['microbatches_per_update']}",
        ),
        ("run", f"{warm}{run['steps']} steps = {run['updates']} updates = {run['epochs']:.2f} epochs"),
        ("evaluations", str(run["evaluations"])),
        ("memory", f"about {size(memory['total'])} beside torch itself: {parts}"),
        (
            "disk",
            f"about {size(disk['total'])}: {disk['checkpoints_kept']} checkpoints of {size(disk['checkpoint'])}",
        ),
    ]
    return columns(rows, "# ")
