"""The one thread that owns policy and engine: it answers together what waits together."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from whet.errors import Interrupted
from whet.interfaces import Engine
from whet.serving.problems import ApiProblem, our_fault, shutting_down
from whet.serving.questions import Question
from whet.types import Completion

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a choice, as soon as it is sampled."""

    choice: int
    token_id: int


@dataclass(frozen=True, slots=True)
class Done:
    """A choice that is complete."""

    choice: int
    completion: Completion


Event = Token | Done | ApiProblem


class Job:
    """A question on its way; `deliver` gets its events, in the worker's thread."""

    def __init__(self, question: Question, deliver: Callable[[Event], None]) -> None:
        self.question = question
        self.deliver = deliver
        self.left = question.num_choices
        self.is_dropped = False
        """Set when nobody waits for the answer any more."""

    def fail(self, problem: ApiProblem) -> None:
        """Ends the job, unless it has its answer."""
        if self.left:
            self.left = 0
            self.deliver(problem)


class Worker:
    """Takes jobs from any thread. Those with the same sampling settings that wait together are one batch."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[Job] = deque()
        # Its lock is reentrant: a signal handler may call `drain` while its own thread is in `submit`.
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._work, name="whet-serving")
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queues a job; raises `ApiProblem` when the server is shutting down."""
        with self._changed:
            if self._deadline is not None:
                raise shutting_down()
            self._waiting.append(job)
            self._changed.notify()

    def drain(self, grace_s: float) -> None:
        """Takes no more jobs; what is not done within the grace is given up."""
        with self._changed:
            self._deadline = min(self._deadline or float("inf"), time.monotonic() + grace_s)
            self._changed.notify()

    def close(self) -> None:
        """Gives up what is left and waits for the thread to end."""
        self.drain(0.0)
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            problem = our_fault()
            try:
                self._answer(batch)
            except Interrupted:
                problem = shutting_down()
            except Exception:  # noqa: BLE001 - one batch fails, the next ones go on
                _log.exception("a batch of %d requests failed", len(batch))
            for job in batch:
                job.fail(problem)

    def _next(self) -> list[Job]:
        """The oldest job and all that can run with it; empty when there is nothing left to do."""
        with self._changed:
            self._changed.wait_for(self._has_something_to_do)
            waiting, self._waiting = self._waiting, deque()
            params = waiting[0].question.params if waiting else None
            batch = [job for job in waiting if job.question.params == params]
            self._waiting.extend(job for job in waiting if job.question.params != params)
        return batch

    def _has_something_to_do(self) -> bool:
        self._waiting = deque(job for job in self._waiting if not job.is_dropped)
        return bool(self._waiting) or self._deadline is not None

    def _answer(self, batch: list[Job]) -> None:
        """Runs one batch through the engine and hands out tokens and completions."""
        places = [(job, i) for job in batch for i in range(len(job.question.requests))]
        choice = [i * len(job.question.requests[i].keys) for job, i in places]  # of sample 0

        def on_token(request: int, sample: int, token_id: int) -> None:
            job = places[request][0]
            if job.question.stream and not job.is_dropped:
                job.deliver(Token(choice[request] + sample, token_id))

        def should_stop() -> bool:
            is_late = self._deadline is not None and time.monotonic() >= self._deadline
            return is_late or all(job.is_dropped for job in batch)

        requests = [job.question.requests[i] for job, i in places]
        listener = on_token if any(job.question.stream for job in batch) else None
        for completion in self._engine.generate(requests, batch[0].question.params, should_stop, listener):
            job = places[completion.request][0]
            job.left -= 1
            job.deliver(Done(choice[completion.request] + completion.sample, completion))
