"""The small stable doors: a run's policy answers from Python."""

import math
from pathlib import Path

import pytest
import torch

import whet
from whet.errors import ConfigError, DataError, RunError


@pytest.fixture(scope="module")
def policy(tiny_run: Path):
    return whet.load_policy(tiny_run)


def test_each_prompt_gets_its_samples_in_order(policy):
    answers = policy.generate(["1+2=", "3+4=", "1+2="], num_samples=4)
    assert [[a.prompt for a in samples] for samples in answers] == [["1+2="] * 4, ["3+4="] * 4, ["1+2="] * 4]


def test_one_prompt_may_be_a_text(policy):
    assert policy.generate("1+2=", num_samples=2) == policy.generate(["1+2="], num_samples=2)


def test_an_answer_holds_tokens_their_text_and_their_log_probabilities(policy):
    model, encode = policy.policy.module, policy.policy.tokenizer.encode
    for [answer] in policy.generate(["1+2=", "9+9=", "5+0="], temperature=0.8):
        ids = [*encode(answer.prompt), *answer.token_ids]
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([ids])))[0] / 0.8
        before = len(encode(answer.prompt)) - 1
        expected = [logits[before + t].log_softmax(-1)[i].item() for t, i in enumerate(answer.token_ids)]
        assert answer.logprobs == pytest.approx(expected, abs=1e-5)
        assert answer.text == policy.policy.tokenizer.decode(answer.token_ids)
        assert (answer.finish_reason == "stop") == (answer.token_ids[-1] == 0)


def test_what_is_not_said_is_as_in_training(policy):
    # The run trained with completions of up to 4 tokens.
    texts = [a.token_ids for samples in policy.generate(["1+2="] * 20, num_samples=4) for a in samples]
    assert max(map(len, texts)) <= 4
    longer = policy.generate(["1+2="] * 20, num_samples=4, max_completion_length=11, temperature=3.0)
    assert max(len(a.token_ids) for samples in longer for a in samples) > 4


def test_the_same_seed_gives_the_same_answers_and_another_seed_others(policy):
    first, again, other = (
        policy.generate("1+2=", num_samples=16, seed=seed, temperature=2.0) for seed in (1, 1, 2)
    )
    assert first == again
    assert [a.token_ids for a in first[0]] != [a.token_ids for a in other[0]]


def test_the_samples_of_a_prompt_differ(policy):
    [samples] = policy.generate("1+2=", num_samples=16, temperature=2.0)
    assert len({a.token_ids for a in samples}) > 8


def test_greedy_samples_are_all_the_likeliest(policy):
    [samples] = policy.generate("1+2=", num_samples=3, temperature=0)
    assert len({a.token_ids for a in samples}) == 1


def test_a_stop_string_is_cut_from_the_text(policy):
    found = policy.generate(["1+2="] * 10, num_samples=8, temperature=3.0, stop=("1", "2", "3"))
    stopped = [
        a for samples in found for a in samples if a.token_ids[-1] in policy.policy.tokenizer.encode("123")
    ]
    assert stopped
    assert not any(set(a.text) & set("123") for a in stopped)


def test_no_prompt_is_no_answer(policy):
    assert policy.generate([]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temprature": 1.0}, "temprature: no sampling setting; there are max_completion_length, min_p,"),
        ({"top_p": 0.0}, "top_p = 0.0 cannot be sampled with"),
        ({"num_samples": 0}, "num_samples is 0; expected at least 1"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_for_is_named(policy, arguments, message):
    with pytest.raises(ConfigError) as caught:
        policy.generate("1+2=", **arguments)
    assert str(caught.value).startswith(message)


def test_a_prompt_that_the_tokenizer_cannot_spell_is_an_error(policy):
    with pytest.raises(DataError, match=r"no token for 'x' in '1x2='"):
        policy.generate("1x2=")


def test_a_prompt_longer_than_the_context_is_an_error(policy):
    with pytest.raises(DataError, match=r"prompt 1 has 40 tokens"):
        policy.generate(["1+2=", "1" * 40])


def weights(loaded):
    return torch.nn.utils.parameters_to_vector(loaded.policy.module.parameters())


def test_a_policy_is_that_of_the_run_or_of_the_checkpoint_that_is_named(tiny_run):
    latest, second, first, by_path = (
        weights(whet.load_policy(name))
        for name in (
            tiny_run,
            f"{tiny_run}:2",
            f"{tiny_run}:1",
            tiny_run / "training_state" / "step_000001",
        )
    )
    assert torch.equal(latest, second)
    assert torch.equal(first, by_path)
    assert not torch.equal(first, second)


def test_a_run_may_be_named_under_its_root(tiny_run):
    found = whet.load_policy(tiny_run.name, runs_root=tiny_run.parent)
    assert torch.equal(weights(found), weights(whet.load_policy(tiny_run)))


def test_a_run_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RunError, match="nowhere"):
        whet.load_policy("nowhere", runs_root=tmp_path)


def test_a_loaded_policy_answers_as_the_run_did_when_it_was_evaluated(tiny_run, policy):
    # pass@1 of the greedy evaluation at the end, from the summary of the run, and counted here again.
    run = whet.open_run(tiny_run)
    task = run.config.task
    examples = task.examples("test")
    answers = policy.generate([e.prompt for e in examples], temperature=0)
    right = [task.score(e, a.text).value == 1 for e, [a] in zip(examples, answers, strict=True)]
    assert math.isclose(sum(right) / len(right), run.summary["eval"]["after"]["greedy"])


def test_ctrl_c_saves_the_run_and_ends_the_script_too(tiny_config, tmp_path, monkeypatch):
    import signal

    import tiny
    from whet.training import launch

    class CtrlC(tiny.StopAt):
        def __init__(self) -> None:
            super().__init__(poll=3)
            self.number = signal.SIGINT

    monkeypatch.setattr(launch, "StopSignal", CtrlC)
    with pytest.raises(KeyboardInterrupt, match=r"is saved; .*resume\(\) goes on"):
        whet.train({**tiny_config, "warm_start": None}, runs_root=str(tmp_path))
    assert whet.open_run("latest", tmp_path).state == "stopped"
