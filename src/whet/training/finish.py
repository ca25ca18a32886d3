"""What a finished step leaves behind: a line in the logs, an evaluation, a checkpoint; and when the run is over."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from whet.errors import TrainingError
from whet.evals.evaluate import EvalResult
from whet.evals.metrics import scalars
from whet.evals.store import evaluate_into
from whet.interfaces import Algorithm
from whet.runs import checkpoint
from whet.training.job import Job
from whet.training.saving import save
from whet.training.state import RunState
from whet.training.timing import peak_memory_gb

_log = logging.getLogger(__name__)

MAX_SKIPPED_IN_ROW = 5
"""Updates in a row whose loss or gradient was not finite; then the run ends."""


def end_of_run(job: Job) -> str | None:
    """Why the run is over, or None. Raises `TrainingError` when it cannot go on."""
    state = job.state
    raise_if_stuck(state)
    if state.stop_reason is not None:
        return state.stop_reason
    return f"max_steps {job.horizon.max_steps} reached" if state.step >= job.horizon.max_steps else None


def raise_if_stuck(state: RunState) -> None:
    """Raises `TrainingError` after too many updates in a row whose loss or gradient was not finite."""
    if state.skipped_in_row >= MAX_SKIPPED_IN_ROW:
        skipped, state.skipped_in_row = state.skipped_in_row, 0  # a resumed run tries again
        raise TrainingError(
            f"{skipped} updates in a row had a non-finite loss or gradient and moved nothing; the policy "
            "is as it was before them. Lower optimizer.learning_rate and resume from an earlier checkpoint"
        )


def finish_step(job: Job) -> None:
    """Evaluates where one is due, logs the step, and saves where it is due."""
    state, config = job.state, job.config
    step = state.step + 1
    metrics = state.metrics.values() | job.timer.metrics(state.metrics.values())
    metrics["perf/memory_gb"] = peak_memory_gb(job.device)
    if config.eval_every and step % config.eval_every == 0:
        metrics |= _eval_metrics(job, step, evaluate_at(job, step))
    _look_for_the_end(job, metrics)
    if step % config.logging_every == 0 or step == job.horizon.max_steps:
        log(job, step, metrics)
    state.finish()
    is_due = config.save_every and step % config.save_every == 0
    if is_due or state.best_step == step:
        save(job)
        if config.keep_checkpoints is not None:
            checkpoint.prune(job.run.training_state, config.keep_checkpoints, state.best_step)


def evaluate_at(job: Job, step: int) -> EvalResult:
    """The evaluation of the policy as it is, kept in the run; training does not notice it."""
    with job.timer("eval"):
        plan = job.data.plan
        directory = job.run.evaluation(plan.name, step)
        result = evaluate_into(directory, job.policy, job.engine, plan, job.stop)
    if failed := sum(not record.score.ok for record in result.records):
        _log.warning(
            "%d of %d completions of the evaluation have no score, because the verifier failed: the accuracy leaves "
            "them out; see status and detail in %s", failed, len(result.records), directory / "records.jsonl",
        )  # fmt: skip
    return result


def log(job: Job, step: int, metrics: Mapping[str, float]) -> None:
    """Hands the metrics of a step to every tracker."""
    for tracker in job.trackers:
        tracker.log(step, {"progress/epoch": job.source.epoch, **metrics})


def log_evaluation(job: Job, step: int, result: EvalResult) -> None:
    """Logs an evaluation that belongs to no step of training."""
    log(job, step, _eval_metrics(job, step, result))


def _eval_metrics(job: Job, step: int, result: EvalResult) -> dict[str, float]:
    task = job.data.plan.name
    found, best = result.metrics.get("pass@1"), job.state.best_value
    if found is not None and (best is None or found.mean > best):
        job.state.best_step, job.state.best_value = step, found.mean
    return {f"eval/{task}/{name}": value for name, value in scalars(result.metrics).items()}


def _look_for_the_end(job: Job, metrics: Mapping[str, float]) -> None:
    state, batch = job.state, job.state.batch
    assert batch is not None and batch.advantages is not None
    has_signal = rewards_differ(metrics, job.config.algorithm) and bool((batch.advantages != 0).any())
    state.no_signal_in_row = 0 if has_signal else state.no_signal_in_row + 1
    if state.no_signal_in_row >= job.config.stop.no_signal_steps:
        state.stop_reason = f"no signal for {state.no_signal_in_row} steps: {why_no_signal(metrics)}"
    if job.condition is not None and job.condition.holds(metrics, job.data.plan.name):
        state.stop_reason = f"{job.condition.text} holds"


def rewards_differ(metrics: Mapping[str, float], algorithm: Algorithm) -> bool:
    """Whether rewards can have made the advantages: a KL penalty and a running baseline keep them from zero too."""
    is_by_reward_alone = algorithm.min_group_size > 1 and algorithm.kl_in == "loss"
    mean, highest = metrics.get("reward/mean", 0.0), metrics.get("reward/max", 0.0)
    return is_by_reward_alone or not math.isclose(mean, highest, abs_tol=1e-12)


def why_no_signal(metrics: Mapping[str, float]) -> str:
    """The likely cause, from the metrics of the latest step."""
    if "reward/mean" not in metrics:
        return "no completion got a reward"
    mean, best = metrics["reward/mean"], metrics["reward/max"]
    if metrics["completions/truncated_frac"] == 1:
        return "all truncated, every completion was cut at sampling.max_completion_length; raise it"
    if not math.isclose(mean, best):
        return "the completions of each prompt all got the same reward"
    if mean >= 1:
        return f"all right, every completion got {mean:g}; the task is learned, take a harder one"
    if mean <= 0:
        return f"all wrong, every completion got {mean:g}; start from an easier task or a warm start"
    return f"every completion got {mean:g}"
