"""The control of a run: supervised training alone, on the same data, for the time that its warm start and RL took.

    python bench/sft_control.py RUN

Prints the accuracy of both on the same held-out problems as JSON. The clock decides how many steps the control
makes; a schedule that decays would never get to its end, so take one that is constant.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time

import whet
from whet.errors import Interrupted
from whet.evals.evaluate import evaluate
from whet.runs.policy import pick_device, set_threads
from whet.text.prompts import PromptEncoder
from whet.training.job import Data, build_policy
from whet.training.warm_start import WarmStart, demonstrations

PARTS = ("warm_start", "rollout", "annotate", "update")


def main() -> None:
    """Trains the control against the clock, evaluates it, prints both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    run = whet.open_run(parser.parse_args().run)
    seconds = sum(line.get(f"time/{part}_s", 0.0) for line in run.metrics for part in PARTS)
    config = run.config
    assert config.warm_start is not None, "the run had no warm start, so there is nothing to compare with"
    set_threads(config.num_threads)
    data = Data.load(config)
    policy = build_policy(config, data, pick_device(config.device))
    endless = config.warm_start.model_copy(update={"steps": 10**9, "target_nll": None})
    taught = demonstrations(policy, PromptEncoder(policy.tokenizer, config.prompt), data.train)
    stage = WarmStart(policy, taught, endless, config.seed)
    deadline = time.perf_counter() + seconds
    with contextlib.suppress(Interrupted):
        stage.run(lambda: time.perf_counter() > deadline, lambda step, metrics: None)
    metrics = evaluate(policy, config.engine.build(policy), data.plan).metrics  # type: ignore[attr-defined]
    control = {name: [m.mean, m.low, m.high] for name, m in metrics.items() if name in ("pass@1", "greedy")}
    print(
        json.dumps(
            {"seconds": seconds, "sft_steps": stage.step, "sft": control, "rl": run.summary["eval"]}, indent=2
        )
    )


if __name__ == "__main__":
    main()
