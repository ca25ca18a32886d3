"""One thread answers together what waits together, and gives up cleanly."""

import threading
from collections.abc import Iterator

import pytest

from whet.errors import Interrupted
from whet.serving.problems import ApiProblem
from whet.serving.questions import Question
from whet.serving.worker import Done, Job, Token, Worker
from whet.types import Completion, Request, SamplingParams

WAIT_S = 20.0


class Gate:
    """An engine that remembers its calls and answers once its gate is open. Each completion is its own key."""

    def __init__(self, is_open=False, error=None):
        self.calls, self.errors = [], [error]
        self.entered, self.gate = threading.Semaphore(0), threading.Event()
        if is_open:
            self.gate.set()

    def generate(self, requests, params, should_stop=lambda: False, on_token=None) -> Iterator[Completion]:
        requests = list(requests)
        self.calls.append([r.prompt_ids[0] for r in requests])
        self.entered.release()
        while not self.gate.wait(0.005):
            if should_stop():
                raise Interrupted
        if error := self.errors.pop() if self.errors else None:
            raise error
        for number, request in reversed(list(enumerate(requests))):
            for sample, key in enumerate(request.keys):
                if on_token is not None:
                    on_token(number, sample, key)
                yield Completion(
                    request=number,
                    sample=sample,
                    token_ids=(key,),
                    logprobs=(0.0,),
                    finish_reason="stop",
                    policy_version=0,
                    text=str(key),
                )


class Asked:
    """A job and what came of it."""

    def __init__(self, worker, *prompts, n=1, stream=False, temperature=1.0):
        self.events, self.ended = [], threading.Event()
        question = Question(
            requests=tuple(
                Request(prompt_ids=(p,), keys=tuple(10 * p + j for j in range(n))) for p in prompts
            ),
            params=SamplingParams(temperature=temperature),
            stream=stream,
            include_usage=False,
            logprobs=False,
        )
        self.job = Job(question, self._take)
        worker.submit(self.job)

    def _take(self, event):
        self.events.append(event)
        if isinstance(event, ApiProblem) or not self.job.left:
            self.ended.set()

    def outcome(self):
        """The texts of the choices in order, or the status of the problem."""
        assert self.ended.wait(WAIT_S)
        if isinstance(self.events[-1], ApiProblem):
            return self.events[-1].status
        done = {e.choice: e.completion.text for e in self.events if isinstance(e, Done)}
        return [done[i] for i in range(len(done))]


@pytest.fixture
def start():
    """Workers that end with the test."""
    workers = []

    def make(engine):
        workers.append(Worker(engine))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def test_what_waits_while_a_batch_runs_is_the_next_batch(start):
    engine = Gate()
    worker = start(engine)
    first = Asked(worker, 1)
    assert engine.entered.acquire(timeout=WAIT_S)
    others = [Asked(worker, p) for p in (2, 3, 4)]
    engine.gate.set()
    assert [a.outcome() for a in (first, *others)] == [["10"], ["20"], ["30"], ["40"]]
    assert engine.calls == [[1], [2, 3, 4]]


def test_other_sampling_settings_wait_for_a_batch_of_their_own(start):
    engine = Gate()
    worker = start(engine)
    Asked(worker, 1)
    assert engine.entered.acquire(timeout=WAIT_S)
    asked = [Asked(worker, p, temperature=t) for p, t in ((2, 0.5), (3, 0.0), (4, 0.5))]
    engine.gate.set()
    assert [a.outcome() for a in asked] == [["20"], ["30"], ["40"]]
    assert engine.calls == [[1], [2, 4], [3]]


def test_choices_are_numbered_by_prompt_and_then_by_sample(start):
    asked = Asked(start(Gate(is_open=True)), 1, 2, n=3)
    assert asked.outcome() == ["10", "11", "12", "20", "21", "22"]


def test_only_a_job_that_streams_hears_of_its_tokens(start):
    engine = Gate()
    worker = start(engine)
    Asked(worker, 9)
    assert engine.entered.acquire(timeout=WAIT_S)
    streaming, quiet = Asked(worker, 1, 2, n=2, stream=True), Asked(worker, 3)
    engine.gate.set()
    assert quiet.outcome() == ["30"] and streaming.outcome() == ["10", "11", "20", "21"]
    tokens = [(e.choice, e.token_id) for e in streaming.events if isinstance(e, Token)]
    assert sorted(tokens) == [(0, 10), (1, 11), (2, 20), (3, 21)]
    assert not [e for e in quiet.events if isinstance(e, Token)]


def test_a_job_that_was_dropped_while_it_waited_is_not_run(start):
    engine = Gate()
    worker = start(engine)
    Asked(worker, 1)
    assert engine.entered.acquire(timeout=WAIT_S)
    dropped, other = Asked(worker, 2), Asked(worker, 3)
    dropped.job.is_dropped = True
    engine.gate.set()
    assert other.outcome() == ["30"]
    assert engine.calls == [[1], [3]]


def test_a_batch_whose_clients_have_all_left_is_cut_short(start):
    engine = Gate()
    worker = start(engine)
    left = Asked(worker, 1)
    assert engine.entered.acquire(timeout=WAIT_S)
    left.job.is_dropped = True  # the gate stays closed: only should_stop ends the call
    Asked(worker, 2)
    assert engine.entered.acquire(timeout=WAIT_S)
    assert engine.calls == [[1], [2]]


def test_a_failing_batch_is_a_500_for_each_of_its_jobs_and_the_next_one_is_answered(start, caplog):
    engine = Gate(error=RuntimeError("out of memory"))
    worker = start(engine)
    first = Asked(worker, 1)
    engine.gate.set()
    assert first.outcome() == 500
    assert Asked(worker, 2).outcome() == ["20"]
    assert "out of memory" in caplog.text


def test_closing_gives_up_what_runs_and_what_waits_and_takes_nothing_new(start):
    engine = Gate()
    worker = start(engine)
    running = Asked(worker, 1)
    assert engine.entered.acquire(timeout=WAIT_S)
    waiting = Asked(worker, 2)
    worker.close()
    assert (running.outcome(), waiting.outcome()) == (503, 503)
    with pytest.raises(ApiProblem) as caught:
        Asked(worker, 3)
    assert caught.value.status == 503


def test_within_the_grace_everything_taken_is_finished(start):
    engine = Gate()
    worker = start(engine)
    asked = [Asked(worker, 1)]
    assert engine.entered.acquire(timeout=WAIT_S)
    asked.append(Asked(worker, 2))
    worker.drain(WAIT_S)
    engine.gate.set()
    assert [a.outcome() for a in asked] == [["10"], ["20"]]


def test_no_thread_is_left():
    before = threading.active_count()
    worker = Worker(Gate(is_open=True))
    Asked(worker, 1).outcome()
    worker.close()
    assert threading.active_count() == before
