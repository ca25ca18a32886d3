"""What a finished step leaves behind: a line in the logs, an evaluation, a checkpoint; and when the run is over."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from whet.errors import TrainingError
from whet.evals.likelihood import demonstration_nll
from whet.evals.metrics import Metrics as EvalMetrics
from whet.evals.metrics import scalars
from whet.evals.store import evaluate_into
from whet.interfaces import Algorithm
from whet.rollouts.demonstrations import demonstrations
from whet.runs import checkpoint
from whet.text.prompts import PromptEncoder
from whet.training.job import Job
from whet.training.saving import save
from whet.training.state import RunState
from whet.training.timing import peak_memory_gb
from whet.types import Rollout

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
        metrics |= measure(job, step)[0]
    _look_for_the_end(job, metrics)
    if step % config.logging_every == 0 or step == job.horizon.max_steps:
        log(job, step, metrics)
    state.finish()
    is_due = config.save_every and step % config.save_every == 0
    if is_due or state.best_step == step:
        save(job)
        if config.keep_checkpoints is not None:
            checkpoint.prune(job.run.training_state, config.keep_checkpoints, state.best_step)


def measure(job: Job, step: int) -> tuple[dict[str, float], EvalMetrics]:
    """What the policy is worth as it is: metrics for the logs, and the same with intervals. Training does not notice.

    Held-out answers where the task scores them, held-out demonstrations in a supervised stage.
    """
    plan, found = job.data.plan, EvalMetrics()
    with job.timer("eval"):
        if plan.task.is_scored:
            found |= _evaluate_answers(job, step)
        if job.config.stage == "sft" and (taught := _held_out_demonstrations(job)):
            found["nll"] = demonstration_nll(job.policy, taught, job.learner.microbatch_tokens)
    _note_best(job.state, step, found)
    return {f"eval/{plan.name}/{name}": value for name, value in scalars(found).items()}, found


def _held_out_demonstrations(job: Job) -> list[Rollout]:
    examples = [e for e in job.data.plan.examples if e.demonstration is not None]
    encode = PromptEncoder(job.policy.tokenizer, job.config.prompt)
    return demonstrations(job.policy, encode, examples) if examples else []


def _evaluate_answers(job: Job, step: int) -> EvalMetrics:
    """The evaluation of sampled answers, kept in the run."""
    plan = job.data.plan
    directory = job.run.evaluation(plan.name, step)
    result = evaluate_into(directory, job.policy, job.engine, plan, job.stop)
    if failed := sum(record.score.is_failure for record in result.records):
        _log.warning(
            "%d of %d completions of the evaluation have no score, because the verifier failed: the accuracy leaves "
            "them out; see status and detail in %s", failed, len(result.records), directory / "records.jsonl",
        )  # fmt: skip
    return result.metrics


def log(job: Job, step: int, metrics: Mapping[str, float]) -> None:
    """Hands the metrics of a step to every tracker."""
    for tracker in job.trackers:
        tracker.log(step, {"progress/epoch": job.source.epoch, **metrics})


def _note_best(state: RunState, step: int, found: EvalMetrics) -> None:
    """The best step has the highest sampled accuracy, or the likeliest demonstrations where nothing is scored."""
    accuracy, nll = found.get("pass@1"), found.get("nll")
    value = accuracy.mean if accuracy is not None else -nll.mean if nll is not None else None
    if value is not None and (state.best_value is None or value > state.best_value):
        state.best_step, state.best_value = step, value


def _look_for_the_end(job: Job, metrics: Mapping[str, float]) -> None:
    state = job.state
    has_signal = job.config.stage == "sft" or _has_signal(job, metrics)
    state.no_signal_in_row = 0 if has_signal else state.no_signal_in_row + 1
    if state.no_signal_in_row >= job.config.stop.no_signal_steps:
        state.stop_reason = f"no signal for {state.no_signal_in_row} steps: {why_no_signal(metrics)}"
    if job.condition is not None and job.condition.holds(metrics, job.data.plan.name):
        state.stop_reason = f"{job.condition.text} holds"


def _has_signal(job: Job, metrics: Mapping[str, float]) -> bool:
    batch = job.state.batch
    assert batch is not None and batch.advantages is not None
    return rewards_differ(metrics, job.config.algorithm) and bool((batch.advantages != 0).any())


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
