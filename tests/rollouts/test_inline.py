"""The inline source, with completions and rewards that are known beforehand."""

from typing import Any

import pytest

import tiny
from whet.config import PromptConfig
from whet.engines.scripted import Scripted
from whet.errors import DataError, Interrupted
from whet.rollouts.collect import check_prompts, collect
from whet.rollouts.inline import InlineSource
from whet.rollouts.prompts import PromptSampler
from whet.text.prompts import PromptEncoder
from whet.types import RolloutGroup, SamplingParams, StepGroups

# Four completions a prompt. a= and c= teach something, b= is always wrong.
SCRIPT = Scripted(completions={"a=": ("a", "b"), "b=": ("c",), "c=": ("c", "c", "c", "a")})
POLICY = tiny.policy()
ENCODE = PromptEncoder(POLICY.tokenizer, PromptConfig())


def source_of(
    tmp_path: Any, algorithm: str, rounds: int = 10, prompts: int = 2, stop: Any = None
) -> InlineSource:
    config = tiny.config(
        tmp_path,
        algorithm=algorithm,
        task={"name": "tiny:Rows", "train": ["a=a", "b=b", "c=c"], "test": []},
        batch={"prompts_per_step": prompts, "num_generations": 4, "max_generation_rounds": rounds},
    )
    sampler = PromptSampler(config.task.load("train"), config.seed)
    engine = SCRIPT.build(POLICY)
    return InlineSource(config, config.task, sampler, engine, ENCODE, stop or (lambda: False))


def prompts(groups: tuple[RolloutGroup, ...]) -> list[str]:
    return [g.example.prompt for g in groups]


def test_without_dynamic_sampling_every_group_is_taken(tmp_path: Any) -> None:
    source = source_of(tmp_path, "dr_grpo", prompts=3)
    groups = source.take(1)
    assert sorted(prompts(groups.admitted)) == ["a=", "b=", "c="]
    assert groups.refused == ()
    assert source.epoch == 1.0


def test_a_group_has_its_completions_in_the_order_of_their_keys(tmp_path: Any) -> None:
    groups = {g.example.prompt: g for g in source_of(tmp_path, "dr_grpo", prompts=3).take(1).admitted}
    assert [r.text for r in groups["a="].rollouts] == ["a", "b", "a", "b"]
    assert [r.score.value for r in groups["c="].rollouts] == [1.0, 1.0, 1.0, 0.0]


def test_dynamic_sampling_replaces_groups_that_teach_nothing(tmp_path: Any) -> None:
    source = source_of(tmp_path, "dapo", prompts=4)
    groups = source.take(1)
    assert sorted(prompts(groups.admitted)) == ["a=", "a=", "c=", "c="]
    assert set(prompts(groups.refused)) == {"b="}
    drawn = len(groups.admitted) + len(groups.refused)
    assert source.state_dict() == {"position": drawn}  # no prompt is drawn that is not used or refused


def test_dynamic_sampling_gives_up_after_the_cap_and_goes_on_with_fewer(tmp_path: Any) -> None:
    full = source_of(tmp_path, "dapo", rounds=1, prompts=3).take(1)
    assert sorted(prompts(full.admitted)) == ["a=", "c="]
    assert prompts(full.refused) == ["b="]


def test_groups_are_asked_for_only_as_long_as_they_are_missing(tmp_path: Any) -> None:
    # Round 1 draws 3 and keeps 2; each further round draws the one that is missing until it comes.
    source = source_of(tmp_path, "dapo", rounds=10, prompts=3)
    groups = source.take(1)
    assert len(groups.admitted) == 3
    assert 4 <= source.state_dict()["position"] <= 6


def test_a_restored_source_draws_what_comes_next(tmp_path: Any) -> None:
    one, other = source_of(tmp_path, "dr_grpo"), source_of(tmp_path, "dr_grpo")
    one.take(1)
    other.load_state_dict(one.state_dict())
    assert one.take(2) == other.take(2)


def test_the_stop_reaches_the_engine(tmp_path: Any) -> None:
    with pytest.raises(Interrupted):
        source_of(tmp_path, "dr_grpo", stop=tiny.StopAt(3)).take(1)


def test_observing_changes_nothing(tmp_path: Any) -> None:
    source = source_of(tmp_path, "dr_grpo")
    before = source.state_dict()
    source.observe(StepGroups(admitted=()))
    assert source.state_dict() == before


def test_every_completion_has_a_key_of_its_own(tmp_path: Any) -> None:
    source, seen = source_of(tmp_path, "dapo", rounds=3, prompts=3), []
    engine = source._engine

    class Spy:
        def generate(self, requests: Any, *rest: Any) -> Any:
            seen.extend(k for r in requests for k in r.keys)
            return engine.generate(requests, *rest)

    source._engine = Spy()
    for step in range(1, 4):
        source.take(step)
    assert len(seen) == len(set(seen)) >= 3 * 3 * 4


def test_rollouts_hold_the_tokens_that_were_sampled_and_never_text_encoded_again() -> None:
    task = tiny.Rows(name="tiny:Rows")
    params = SamplingParams(max_completion_length=3)
    items = [(tiny.example("c=", "c"), (1, 2, 3, 4))]
    (group,) = collect(SCRIPT.build(POLICY), ENCODE, items, task, params)
    first = group.rollouts[0]
    prompt, letter, end = POLICY.tokenizer.encode("c="), POLICY.tokenizer.encode("c"), POLICY.tokenizer.eos_id
    assert first.token_ids == (*prompt, *letter, end)
    assert first.loss_mask == (False, False, True, True)
    assert (first.finish_reason, first.completion_length) == ("stop", 2)


@pytest.mark.parametrize(
    ("prompt", "limit", "context", "match"),
    [
        ("", 10, 10, "the prompt of x is empty"),
        ("abc", 2, 10, "has 3 tokens and 2 are allowed"),
        ("abc", 10, 6, "has 3 tokens and 2 are allowed"),  # 6 - 4
        ("ab", 2, 6, None),
    ],
)
def test_prompts_are_checked_before_anything_is_sampled(
    tmp_path: Any, prompt: str, limit: int, context: int, match: str | None
) -> None:
    sampling = tiny.config(
        tmp_path, sampling={"max_prompt_length": limit, "max_completion_length": 4}
    ).sampling
    examples = [tiny.example(prompt, id="x")]
    if match is None:
        check_prompts(examples, ENCODE, sampling, context)
    else:
        with pytest.raises(DataError, match=match):
            check_prompts(examples, ENCODE, sampling, context)
