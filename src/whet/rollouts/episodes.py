"""Plays episodes of several turns: the policy answers, the episode observes, and all of it is one rollout.

Every turn of all live episodes is one call of `engine.generate`, whose prompts are the tokens so far. Sampled ids are
kept as they are; observations are encoded once and stand between them, where `loss_mask` is false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whet.errors import DataError
from whet.interfaces import Engine, Episode, OneTurn, Task
from whet.rollouts.score import guarded, score_text
from whet.seeding import key
from whet.text.prompts import PromptEncoder
from whet.turns import score_of
from whet.types import Completion, Example, FinishReason, Request, Rollout, SamplingParams, Score, Turn

OUT_OF_TURNS, OUT_OF_TOKENS = "max_turns", "max_completion_length"
"""Reasons of a score whose episode was not done."""


def play(
    engine: Engine,
    encode: PromptEncoder,
    items: Sequence[tuple[Example, tuple[int, ...]]],
    task: Task,
    params: SamplingParams,
    should_stop: Callable[[], bool],
) -> list[list[Rollout]]:
    """The rollouts of each item, one per key. Those of an item have one seed, made of its first key.

    `params.max_completion_length` is the budget of an episode beyond its prompt, observations included. An episode
    ends with the reason `stop` when it is done or has had `max_turns` answers, and with `length` or `timeout` when an
    answer was cut, which is still answered, or the budget leaves no token after an observation.
    """
    found = [[_Row(encode, task, example, k, keys[0]) for k in keys] for example, keys in items]
    live = [row for rows in found for row in rows]
    while live:
        rows = _by_prompt(live)
        requests = [_request(some, params.max_completion_length) for some in rows]
        for completion in engine.generate(requests, params, should_stop):
            rows[completion.request][completion.sample].take(completion, params.max_completion_length)
        live = [row for row in live if row.is_live]
    return [[row.rollout() for row in rows] for rows in found]


def check_turns(task: Task, examples: Sequence[Example], encode: PromptEncoder) -> None:
    """Raises `ConfigError` or `DataError` when observations cannot be written between the answers of a task."""
    if not task.has_turns:
        return
    for role in sorted({task.turn_rules(example).role for example in examples}):
        encode.check_turns(role)
        for text in task.observed_texts():
            encode.observation(role, text, ())


def episode_seed(first_key: int) -> int:
    """The seed of the episodes of a group: of its first sample's key, so that all of them meet the same."""
    return key(first_key, "episode")


def replay(
    task: Task, example: Example, seed: int, answers: Sequence[str], finish_reason: FinishReason
) -> Score:
    """The score of an episode whose answers are known."""
    game = _Game(task, example, seed)
    for text in answers:
        game.answer(text)
        if game.is_over:
            break
    return game.score(finish_reason)


class _Game:
    """An episode under way, in which whatever fails is a score and no crash."""

    def __init__(self, task: Task, example: Example, seed: int) -> None:
        self._task, self._example, self._seed = task, example, seed
        self._episode: Episode | None = None
        self._failure: Score | None = None
        self.turns: list[Turn] = []
        self.answers: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether it takes no more answers."""
        return self._failure is not None or bool(self.turns and self.turns[-1].done)

    def answer(self, text: str) -> None:
        """Takes an answer of the policy."""
        self.answers.append(text)
        turn = guarded(lambda: self._step(text), Turn)
        if isinstance(turn, Score):
            self.fail(turn)
        else:
            self.turns.append(turn)

    def _step(self, text: str) -> Turn:
        if self._episode is None:
            self._episode = self._task.start(self._example, self._seed)
        if isinstance(self._episode, OneTurn):
            return Turn(done=True, score=score_text(self._episode.task, self._episode.example, text))
        return self._episode.step(text)

    def fail(self, score: Score) -> None:
        """Ends it without a value."""
        self._failure = score

    def score(self, finish_reason: FinishReason) -> Score:
        """What it was worth, given why it ended."""
        unfinished = OUT_OF_TURNS if finish_reason == "stop" else OUT_OF_TOKENS
        return self._failure or score_of(self.turns, unfinished)


class _Row:
    """An episode and its tokens."""

    def __init__(
        self, encode: PromptEncoder, task: Task, example: Example, sample_key: int, first_key: int
    ) -> None:
        self._encode, self._example, self._key = encode, example, sample_key
        self._rules = task.turn_rules(example)
        self._game = _Game(task, example, episode_seed(first_key))
        self.group = first_key
        self.token_ids = encode(example)
        self._start = len(self.token_ids)
        self._loss_mask = [False] * self._start
        self._logprobs = [0.0] * self._start
        self._said: list[str] = []
        self._finish_reason: FinishReason = "stop"
        self._version = -1
        self.is_live = True

    @property
    def used(self) -> int:
        """Tokens beyond the prompt."""
        return len(self.token_ids) - self._start

    @property
    def next_key(self) -> int:
        """The key of the next answer. The first one has the sample's own, as a completion without turns has."""
        turn = len(self._game.answers)
        return key(self._key, "turn", turn) if turn else self._key

    def take(self, completion: Completion, budget: int) -> None:
        """Takes the next answer, and what the episode says to it."""
        if not self._game.answers:
            self._version = completion.policy_version
        self._append(completion.token_ids, completion.logprobs)
        self._finish_reason = completion.finish_reason
        self._game.answer(completion.text)
        self._said.append(completion.text)
        turns, is_full = self._game.turns, len(self._game.answers) >= self._rules.max_turns
        self.is_live = not (self._game.is_over or is_full or completion.finish_reason != "stop")
        if self.is_live:
            self._observe(turns[-1].observation, completion.token_ids, budget)

    def _observe(self, text: str, answer_ids: tuple[int, ...], budget: int) -> None:
        try:
            ids = self._encode.observation(self._rules.role, text, answer_ids)
        except DataError as error:
            self._game.fail(Score.failed("error", f"the observation {text[:80]!r}: {error}"))
            self.is_live = False
            return
        if self.used + len(ids) >= budget:
            self._finish_reason, self.is_live = "length", False
            return
        self._append(ids)
        self._said.append(text)

    def _append(self, ids: tuple[int, ...], logprobs: tuple[float, ...] | None = None) -> None:
        self.token_ids += ids
        self._loss_mask += [logprobs is not None] * len(ids)
        self._logprobs += logprobs or [0.0] * len(ids)

    def rollout(self) -> Rollout:
        """All of it, scored."""
        return Rollout(
            example=self._example,
            token_ids=self.token_ids,
            loss_mask=tuple(self._loss_mask),
            sampling_logprobs=tuple(self._logprobs),
            finish_reason=self._finish_reason,
            policy_version=self._version,
            text="\n".join(self._said),
            score=self._game.score(self._finish_reason),
            answers=tuple(self._game.answers),
        )


def _by_prompt(rows: Sequence[_Row]) -> list[list[_Row]]:
    """Rows of a group whose tokens so far are the same: samples of one request, as they are without turns."""
    groups: dict[tuple[int, tuple[int, ...]], list[_Row]] = {}
    for row in rows:
        groups.setdefault((row.group, row.token_ids), []).append(row)
    return list(groups.values())


def _request(rows: Sequence[_Row], budget: int) -> Request:
    return Request(
        prompt_ids=rows[0].token_ids,
        keys=tuple(row.next_key for row in rows),
        max_completion_length=budget - rows[0].used,
    )
