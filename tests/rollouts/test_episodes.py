"""Episodes become rollouts: sampled ids as they were, observations between them, budgets kept, failures data."""

import dataclasses
import math

import pytest
import torch

import peaked
import tiny
import turn_tasks
from chat_tokenizers import CHATML, LLAMA3, fast_tokenizer
from turn_tasks import Letters, Says, letters, played
from whet import registry
from whet.config import PromptConfig, SamplingConfig
from whet.engines.native import Native
from whet.engines.scripted import Scripted
from whet.errors import DataError, Interrupted
from whet.rollouts.batch import make_batch
from whet.rollouts.collect import collect
from whet.rollouts.episodes import check_turns, episode_seed, replay
from whet.rollouts.metrics import group_metrics, records
from whet.seeding import key
from whet.text.pretrained import PretrainedTokenizer
from whet.text.prompts import PromptEncoder
from whet.types import Completion, Example, SamplingParams, Score, StepGroups, Turn


@pytest.fixture(scope="module")
def policy():
    return tiny.policy(context=32)


class Fixed(Letters):
    """The letter is always a."""

    def start(self, example, seed):
        return turn_tasks.Play("a")


def one(policy, say, task=None, **settings):
    """The rollout of a single episode on the prompt `ab=`."""
    task = task or Fixed(name="fixed", **settings)
    ((rollout,),) = (g.rollouts for g in played(policy, task, Says(policy, say), samples=(1,)))
    return rollout


def in_turn(*texts):
    """Says these texts, one a turn."""
    left = list(texts)
    return lambda written: left.pop(0)


def test_observations_stand_between_the_sampled_tokens_and_are_not_trained(policy):
    rollout = one(policy, in_turn("ca", "b", "a"))
    # ids: <|endoftext|> 0, = 1, a 2, b 3, c 4
    assert rollout.token_ids == (2, 3, 1, 4, 2, 0, 1, 2, 3, 0, 1, 3, 2, 0)
    said = "...sss..ss..ss"
    assert rollout.loss_mask == tuple(c == "s" for c in said)
    assert rollout.sampling_logprobs == tuple(-0.5 if c == "s" else 0.0 for c in said)


def test_a_rollout_tells_its_answers_and_its_text_what_was_observed_between(policy):
    rollout = one(policy, in_turn("ca", "b", "a"))
    assert rollout.answers == ("ca", "b", "a")
    assert rollout.text == "ca\n=a\nb\n=b\na"
    assert rollout.completion_length == 7


def test_the_score_is_the_sum_of_the_rewards(policy):
    assert one(policy, in_turn("ca", "b", "a")).score == Score(value=0.5, detail="max_turns")


def test_the_reward_stands_at_the_last_sampled_token(policy):
    groups = played(policy, Fixed(name="fixed"), Says(policy, in_turn("ca", "b", "a")), samples=(1,))
    batch = make_batch(groups, SamplingConfig(max_completion_length=16), torch.device("cpu"))
    assert batch.rewards.nonzero().tolist() == [[0, 13]]


def test_max_turns_ends_an_episode_without_truncating_it(policy):
    rollout = one(policy, in_turn("a", "b"), max_turns=2)
    assert (len(rollout.answers), rollout.finish_reason) == (2, "stop")


def test_an_answer_that_was_cut_is_answered_and_the_last(policy):
    rollout = one(policy, in_turn("b", "ca~", "a"))
    assert (rollout.answers, rollout.finish_reason) == (("b", "ca"), "length")
    assert rollout.score == Score(value=0.25, detail="max_completion_length")


@pytest.mark.parametrize(("length", "turns"), [(10, 1), (11, 1), (12, 2)])
def test_an_observation_that_leaves_no_token_ends_the_episode(policy, length, turns):
    # eight letters, an end and two letters of observation are 11 tokens
    rollout = one(policy, in_turn("b" * 8, "b", "b"))
    assert len(rollout.answers) == 3
    task = Fixed(name="fixed")
    says = Says(policy, in_turn("b" * 8, "b~"))
    ((rollout,),) = (g.rollouts for g in played(policy, task, says, (1,), max_completion_length=length))
    assert (len(rollout.answers), rollout.finish_reason) == (turns, "length")
    assert len(rollout.token_ids) - 3 <= length


def test_each_turn_is_one_call_with_what_is_left_of_the_budget(policy):
    engine = Says(policy, lambda written: "a" if written.startswith("ab") else "bb")
    played(policy, Fixed(name="fixed", max_turns=2), engine, samples=(2, 1))
    assert [[len(r.keys) for r in call] for call in engine.asked] == [[2, 1], [2, 1]]
    assert [[r.max_completion_length for r in call] for call in engine.asked] == [[16, 16], [12, 11]]


def test_a_key_serves_one_turn_and_the_first_is_that_of_a_completion_without_turns(policy):
    engine = Says(policy, lambda written: "a")
    played(policy, Fixed(name="fixed"), engine, samples=(1,))
    keys = [call[0].keys[0] for call in engine.asked]
    first = key(1, "turns", 0, 0)
    assert keys == [first, key(first, "turn", 1), key(first, "turn", 2)]


def test_the_rollouts_of_a_group_meet_the_same_episode_and_other_groups_another(policy):
    seeds = []

    class Noted(Letters):
        def start(self, example, seed):
            seeds.append((example.id, seed))
            return super().start(example, seed)

    played(policy, Noted(name="noted"), Says(policy, lambda _: "b~"), samples=(3, 2))
    assert len(set(seeds)) == 2
    assert {seed for _, seed in seeds} == {episode_seed(key(1, "turns", g, 0)) for g in (0, 1)}


def test_a_task_of_one_turn_gives_the_same_rollouts_either_way(policy):
    task = tiny.Rows(name="rows")

    class AsEpisodes(tiny.Rows):
        @property
        def has_turns(self):
            return True

    plain, turned = (played(policy, t, Native().build(policy)) for t in (task, AsEpisodes(name="rows")))
    for one_group, other in zip(plain, turned, strict=True):
        for rollout, episode in zip(one_group.rollouts, other.rollouts, strict=True):
            assert dataclasses.replace(episode, answers=()) == rollout
            assert episode.answers == (rollout.text,)


@pytest.mark.parametrize("name", sorted(peaked.ENGINES))
def test_the_engine_says_of_every_sampled_token_what_the_trainer_says(policy, name):
    groups = played(policy, engine=peaked.ENGINES[name](max_rows=4).build(policy), samples=(6, 6, 6, 6))
    turns = [len(r.answers) for g in groups for r in g.rollouts]
    assert turns.count(3) > 5
    batch = make_batch(groups, SamplingConfig(max_completion_length=16), torch.device("cpu"))
    with torch.no_grad():
        logprobs = policy.forward(batch).logprobs
    gap = (logprobs - batch.sampling_logprobs)[batch.loss_mask].abs()
    assert len(gap) > 50
    assert gap.max() < 1e-5


def test_the_engines_play_the_same_episodes(policy):
    native, other = (
        [r.token_ids for g in played(policy, engine=e(max_rows=5).build(policy)) for r in g.rollouts]
        for e in peaked.ENGINES.values()
    )
    assert native == other


def test_the_scripted_engine_plays_too(policy):
    script = Scripted(completions={"ab=": ("ca", "b")}, default=("a",))
    groups = played(policy, Fixed(name="fixed", max_turns=2), script.build(policy), samples=(2,))
    assert [r.answers for r in groups[0].rollouts] == [("ca", "a"), ("b", "a")]


def test_the_same_episodes_are_played_again(policy):
    assert played(policy) == played(policy)


class Speaks:
    """A policy that is a tokenizer."""

    def __init__(self, template, bos, end):
        self.tokenizer = PretrainedTokenizer(fast_tokenizer(template, bos), [end])
        self.end = end

    def generate(self, requests, params, should_stop=lambda: False, on_token=None):
        """Answers `5`, and then what it is told."""
        for number, request in enumerate(requests):
            answer = "6" if "higher" in self.tokenizer.spell(request.prompt_ids) else "5"
            ids = (*self.tokenizer.encode(answer), self.end)
            yield Completion(
                request=number,
                sample=0,
                token_ids=ids,
                logprobs=(-1.0,) * len(ids),
                finish_reason="stop",
                policy_version=0,
                text=answer,
            )


@pytest.mark.parametrize("role", ["user", "tool"])
@pytest.mark.parametrize(("template", "bos", "end"), [(CHATML, None, 2), (LLAMA3, "<|begin_of_text|>", 6)])
def test_the_tokens_of_an_episode_are_those_of_the_conversation_that_it_was(template, bos, end, role):
    policy = Speaks(template, bos, end)
    encode = PromptEncoder(policy.tokenizer, PromptConfig(system="Guess."))
    task = registry.build(
        "tasks",
        {"name": "guess_number", "smallest": 7, "largest": 9, "max_turns": 2, "observation_role": role},
    )
    example = task.examples("train")[0]
    params = SamplingParams(max_completion_length=200)
    ((rollout,),) = (g.rollouts for g in collect(policy, encode, [(example, (1,))], task, params))
    said = [("user", example.prompt), ("assistant", "5"), (role, "higher")]
    whole = encode.chat([{"role": r, "content": text} for r, text in said])
    assert rollout.token_ids == (*whole, *policy.tokenizer.encode("6"), end)
    sampled = [t for t, mine in zip(rollout.token_ids, rollout.loss_mask, strict=True) if mine]
    assert policy.tokenizer.decode(sampled) == "56"


# --- what goes wrong ---


class Broken(Letters):
    """Fails where it is told to."""

    where: str

    def start(self, example, seed):
        if self.where == "start":
            raise OSError("no room")
        return self

    def step(self, text):
        return {"step": lambda: 1 / 0, "type": lambda: "higher", "nan": lambda: Turn(reward=math.nan)}[
            self.where
        ]()


@pytest.mark.parametrize(
    ("where", "status", "detail"),
    [
        ("start", "error", "OSError: no room"),
        ("step", "error", "ZeroDivisionError: division by zero"),
        ("type", "invalid", "expected a Turn, found 'higher'"),
        ("nan", "error", "ValueError: the reward of a turn is a finite number"),
    ],
)
def test_a_failure_of_the_episode_is_a_status_and_never_a_zero(policy, where, status, detail):
    score = one(policy, in_turn("a"), Broken(name="broken", where=where)).score
    assert math.isnan(score.value)
    assert score.status == status
    assert score.detail.startswith(detail)


class Loud(Letters):
    """Says what the policy has no tokens for."""

    def start(self, example, seed):
        return self

    def step(self, text):
        return Turn(observation="HIGHER", reward=1.0)


def test_an_observation_that_has_no_tokens_is_a_failure_on_our_side(policy):
    score = one(policy, in_turn("a"), Loud(name="loud")).score
    assert score.status == "error"
    assert score.detail.startswith("the observation 'HIGHER': no token for 'EGHIR'")


def test_observations_are_tried_before_training(policy):
    class Foreign(Letters):
        def observed_texts(self):
            return ("HIGHER",)

    task = Foreign(name="foreign")
    with pytest.raises(DataError, match="no token for 'EGHIR'"):
        check_turns(task, task.examples("train"), turn_tasks.encoder(policy))


def test_an_interruption_passes_through(policy):
    params = SamplingParams(max_completion_length=8)
    items = [(e, (1,)) for e in letters().examples("train")]
    with pytest.raises(Interrupted):
        collect(Native().build(policy), turn_tasks.encoder(policy), items, letters(), params, lambda: True)


# --- replays and metrics ---


def test_answers_played_again_score_the_same(policy):
    for group in played(policy):
        seed = episode_seed(key(1, "turns", ["ab=", "c=", "bca=", "aa="].index(group.example.id), 0))
        for r in group.rollouts:
            assert replay(letters(), group.example, seed, r.answers, r.finish_reason) == r.score


def test_a_replay_ends_where_the_episode_does():
    class Once(Letters):
        def start(self, example, seed):
            return self

        def step(self, text):
            return Turn(reward=1.0, done=True)

    assert replay(Once(name="once"), Example(id="1", prompt="a"), 0, ("a", "b"), "stop") == Score(value=1.0)


def test_turns_are_counted_and_logged(policy):
    groups = played(policy, Fixed(name="fixed"), Says(policy, in_turn("b~", "b", "a~")), (1, 1))
    step = StepGroups(admitted=tuple(groups))
    assert group_metrics(step).values()["rollout/turns"] == 1.5
    assert next(iter(records(1, step)))["answers"] == ["b", "a"]


@pytest.mark.parametrize("of_the", ["part", "mixture"])
def test_a_single_answer_beside_episodes_is_scored_in_a_worker_with_its_deadline(tmp_path, of_the):
    (tmp_path / "reward.py").write_text("def score(completion, answer):\n    while True: pass\n")
    slow = {"verifier": {"name": f"{tmp_path / 'reward.py'}:score", "timeout_s": 0.3}}
    parts = {
        "turns": {"task": "guess_number"},
        "plain": {"task": {"name": "echo", **(slow if of_the == "part" else {})}},
    }
    task = registry.build(
        "tasks", {"name": "mixture", "parts": parts, **(slow if of_the == "mixture" else {})}
    )
    example = next(e for e in task.examples("train") if e.tags["part"] == "plain")
    assert task.has_turns
    assert replay(task, example, 0, ["ab"], "stop").status == "timeout"
