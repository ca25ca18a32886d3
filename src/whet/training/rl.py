"""The line: examples -> rollouts -> scores -> annotate -> advantages -> loss -> update -> checkpoint / eval."""

from functools import partial

from whet.rollouts.annotate import annotate
from whet.rollouts.batch import make_batch
from whet.rollouts.metrics import group_metrics
from whet.training.finish import end_of_run, finish_step, raise_if_stuck
from whet.training.job import Job
from whet.training.objectives import Reinforcement
from whet.training.take import all_or_nothing, take_groups
from whet.training.terms import with_advantages


def learn(job: Job) -> str:
    """Makes the policy better, step by step, and returns why it ended. Raises `Interrupted` when told to stop.

    `state.batch` is the batch under way: a step that was cut off between two updates goes on where it was.
    """
    state, algorithm = job.state, job.config.algorithm
    while (why := end_of_run(job)) is None:
        if state.batch is None:
            begin_step(job)
        for minibatch in state.remaining(algorithm):
            raise_if_stuck(state)
            with job.timer("update"):
                objective = Reinforcement(algorithm, is_first_update=state.update == 0)
                job.probes.before_update(objective, minibatch)
                state.updated(job.learner.update(objective, minibatch, job.rate))
                job.probes.after_update(minibatch)
            job.raise_if_stopped()
        finish_step(job)  # log, evaluate, save
    return why


def begin_step(job: Job) -> None:
    """Fills `state.batch`, from examples to advantages, or changes nothing."""
    state, algorithm = job.state, job.config.algorithm
    with all_or_nothing(job):
        with job.timer("rollout"):
            groups = take_groups(job)  # examples -> rollouts -> scores
        batch = make_batch(groups.admitted, job.config.sampling, job.device)
        with job.timer("annotate"):
            passes = partial(annotate, batch, algorithm, job.policy, job.reference)
            batch = job.learner.within_memory(batch, passes)
        batch = with_advantages(batch, algorithm, state.memory)  # rewards -> advantages
        state.begin(batch, group_metrics(groups))
    job.probes.scored(groups)
    job.probes.annotated(batch)
