"""The order of prompts."""

from collections import Counter

import tiny
from whet.rollouts.prompts import PromptSampler

EXAMPLES = [tiny.example(id=str(i)) for i in range(7)]


def ids(sampler: PromptSampler, *counts: int) -> list[str]:
    return [e.id for count in counts for e in sampler.draw(count)]


def test_every_epoch_holds_each_example_once() -> None:
    drawn = ids(PromptSampler(EXAMPLES, seed=1), 3, 3, 3, 3, 9)  # draws run over the ends of epochs
    for epoch in range(3):
        assert Counter(drawn[7 * epoch : 7 * epoch + 7]) == Counter("0123456")


def test_epochs_and_seeds_differ_in_order() -> None:
    drawn = ids(PromptSampler(EXAMPLES, seed=1), 14)
    assert drawn[:7] != drawn[7:]
    assert drawn[:7] != list("0123456")
    assert drawn != ids(PromptSampler(EXAMPLES, seed=2), 14)


def test_the_size_of_a_draw_does_not_change_the_order() -> None:
    assert ids(PromptSampler(EXAMPLES, 1), 20) == ids(PromptSampler(EXAMPLES, 1), *[1] * 20)


def test_the_position_is_all_there_is_to_remember() -> None:
    sampler, other = PromptSampler(EXAMPLES, 1), PromptSampler(EXAMPLES, 1)
    ids(sampler, 9)
    other.position = sampler.position
    assert ids(other, 9) == ids(sampler, 9)


def test_a_draw_larger_than_an_epoch_goes_on_in_the_next() -> None:
    sampler = PromptSampler(EXAMPLES, 1)
    assert Counter(ids(sampler, 15)).most_common(1)[0][1] == 3
    assert sampler.epoch == 15 / 7
