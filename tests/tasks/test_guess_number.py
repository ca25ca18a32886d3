"""Guessing a number: what is answered, what is earned, and what the best players earn."""

from collections import Counter
from fractions import Fraction

import pytest

from whet import registry
from whet.interfaces import Task
from whet.rollouts.episodes import replay
from whet.types import Score, Turn


def game(**settings) -> Task:
    return registry.build("tasks", {"name": "guess_number", "num_train": 700, "num_test": 20, **settings})


@pytest.fixture(scope="module")
def task() -> Task:
    return game()


def seed_of(task, secret):
    """A seed with this secret: nothing is higher or lower than it."""
    example = task.examples("train")[0]
    return next(s for s in range(1000) if task.start(example, s).step(str(secret)).done)


def played(task, secret, *guesses) -> Score:
    return replay(task, task.examples("train")[0], seed_of(task, secret), guesses, "stop")


def test_a_guess_is_answered_by_where_the_number_lies(task):
    episode = task.start(task.examples("train")[0], seed_of(task, 5))
    assert episode.step("3") == Turn(observation="higher")
    assert episode.step("6") == Turn(observation="lower")
    assert episode.step("5") == Turn(reward=1 / 3, done=True)


@pytest.mark.parametrize(("guesses", "value"), [(("5",), 1), (("6", "5"), 2 / 3), (("6", "3", "5"), 1 / 3)])
def test_fewer_turns_earn_more(task, guesses, value):
    assert played(task, 5, *guesses).value == pytest.approx(value)


def test_a_number_that_was_not_found_earns_nothing(task):
    assert played(task, 5, "1", "2", "3") == Score(value=0.0, detail="max_turns")


@pytest.mark.parametrize("text", ["", "higher", "3 or 4", "1234567"])
def test_a_guess_that_is_no_single_number_in_reach_costs_a_turn(task, text):
    assert played(task, 5, text, "5").value == pytest.approx(2 / 3)


@pytest.mark.parametrize("text", ["5", " 5.\n", "Is it 5?", "<answer>5</answer>", "5.0"])
def test_a_guess_may_have_words_around_it(task, text):
    assert played(task, 5, text).value == 1.0


def test_an_unreadable_guess_is_asked_for_again(task):
    assert task.start(task.examples("train")[0], 0).step("no") == Turn(observation="?", detail="no_answer")


def test_the_number_depends_on_the_seed_and_the_game_and_nothing_else(task):
    one, other = task.examples("train")[:2]

    def secret(example, seed):
        return next(n for n in range(1, 8) if task.start(example, seed).step(str(n)).done)

    assert [secret(one, s) for s in range(20)] == [secret(one, s) for s in range(20)]
    assert [secret(one, s) for s in range(20)] != [secret(other, s) for s in range(20)]


def test_every_number_is_as_likely_as_another(task):
    # 700 games: 100 each expected, and 3.6 standard deviations of sqrt(700 * 1/7 * 6/7) = 9.3 are 33.
    found = Counter(
        next(n for n in range(1, 8) if task.start(e, 0).step(str(n)).done) for e in task.examples("train")
    )
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7]
    assert all(abs(count - 100) < 33 for count in found.values())


def test_halving_earns_eleven_parts_of_twenty_one_and_the_best_deaf_player_two_of_seven(task):
    tree = {(): 4, ("higher",): 6, ("lower",): 2, ("higher", "higher"): 7, ("higher", "lower"): 5,
            ("lower", "higher"): 3, ("lower", "lower"): 1}  # fmt: skip

    def total(guess):
        values = []
        for secret in range(1, 8):
            heard, episode, reward = (), task.start(task.examples("train")[0], seed_of(task, secret)), 0.0
            for _ in range(3):
                turn = episode.step(str(guess(heard)))
                reward, heard = reward + turn.reward, (*heard, turn.observation)
                if turn.done:
                    break
            values.append(Fraction(reward).limit_denominator(10))
        return sum(values) / 7

    assert total(lambda heard: tree[heard]) == Fraction(11, 21)
    assert total(lambda heard: 1 + len(heard)) == Fraction(2, 7)


def test_training_and_test_games_have_other_numbers_whatever_their_count(task):
    more = game(num_train=900, num_test=50)
    assert {e.id for e in more.examples("train")}.isdisjoint(e.id for e in task.examples("test"))
    assert task.examples("test")[0].prompt == "2) 1-7?"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"smallest": 7}, "expected smallest < largest"),
        ({"prompt_format": "{smallest}-{largest}?"}, "expected a text with {game}, {smallest}, {largest}"),
        ({"verifier": "numeric"}, "expected no verifier: this task's rewards come from its turns"),
    ],
)
def test_settings_that_make_no_game_are_refused(settings, message):
    with pytest.raises(registry.PluginProblems) as caught:
        game(**settings)
    assert message in str(caught.value.errors)
