"""What a sweep is: settings, seeds, and the refusal of another one under the same name."""

from pathlib import Path

import pytest

from whet.errors import ConfigError
from whet.sweeps.definition import default_name, define, keep, load, slug


def labels(definition):
    return [s.label for s in definition.settings]


def test_a_grid_has_every_combination_in_order(tiny):
    found = define([tiny], ["optimizer.learning_rate=1e-3,0.1", "algorithm=grpo,dr_grpo"])
    assert labels(found) == [
        "learning_rate=0.001 algorithm=grpo",
        "learning_rate=0.001 algorithm=dr_grpo",
        "learning_rate=0.1 algorithm=grpo",
        "learning_rate=0.1 algorithm=dr_grpo",
    ]
    last = found.settings[-1].config
    assert (last.optimizer.learning_rate, last.algorithm.name) == (0.1, "dr_grpo")


def test_a_comma_in_brackets_belongs_to_the_value(tiny):
    grid = ["optimizer.betas=[0.9, 0.95],[0.9, 0.999]", "algorithm={name: grpo, epsilon: 0.1},dr_grpo"]
    found = define([tiny], grid)
    assert [s.config.optimizer.betas for s in found.settings[::2]] == [(0.9, 0.95), (0.9, 0.999)]
    assert found.settings[0].config.algorithm.epsilon == 0.1
    assert labels(found)[0] == "betas=[0.9, 0.95] algorithm=name=grpo, epsilon=0.1"


def test_configs_are_settings_and_layers_of_one_are_joined_by_a_plus(tiny):
    Path("longer.yaml").write_text("max_steps: 5\n")
    found = define([tiny, f"{tiny}+longer.yaml"], overrides=["seed=7"])
    assert labels(found) == ["tiny", "tiny+longer"]
    assert [s.config.max_steps for s in found.settings] == [2, 5]
    assert [list(s.seeds(2)) for s in found.settings] == [[7, 8]] * 2


def test_configs_of_one_name_are_told_apart_by_their_folder(tiny):
    Path("other").mkdir()
    Path("other/tiny.yaml").write_text(Path(tiny).read_text() + "seed: 1\n")
    assert labels(define([tiny, "other/tiny.yaml"])) == ["tiny.yaml", "other/tiny.yaml"]


@pytest.mark.parametrize(
    ("configs", "grid", "overrides", "said"),
    [
        (["tiny.yaml"], ["max_steps"], [], "'max_steps' is no list of values"),
        (["tiny.yaml"], ["seed=1,2"], [], "write --seeds COUNT"),
        (["tiny.yaml"], ["max_steps=1,1"], [], r"twice: max_steps=1"),
        (["tiny.yaml", "tiny.yaml"], [], [], "twice: tiny"),
        (["tiny.yaml"], ["max_steps=1,2"], ["max_steps=3"], "max_steps: given more than once"),
        (["tiny.yaml"], ["optimizer.learning_rate=0.1,fast"], [], "learning_rate.*fast.*command line"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_before_anything_runs(tiny, configs, grid, overrides, said):
    with pytest.raises(ConfigError, match=said):
        define(configs, grid, overrides)


def test_a_sweep_is_found_again_as_it_was_defined(two):
    keep(two, Path("s"))
    keep(two, Path("s"))
    assert load(Path("s")).plain() == two.plain()


def test_another_definition_under_the_same_name_is_refused_with_the_difference(tiny, two):
    keep(two, Path("s"))
    other = define([tiny], ["algorithm=grpo,dr_grpo"], ["optimizer.learning_rate=0.5"], num_seeds=4)
    with pytest.raises(ConfigError) as refused:
        keep(other, Path("s"))
    assert "take another --name" in str(refused.value)
    assert "seeds: 3 -> 4" in str(refused.value)
    assert "settings.algorithm=grpo.optimizer.learning_rate: 0.001 -> 0.5" in str(refused.value)
    with pytest.raises(ConfigError, match=r"algorithm=dr_grpo: \{\.\.\.\} -> \"nothing\""):
        keep(define([tiny], ["algorithm=grpo,rloo"]), Path("s"))


def test_where_the_runs_lie_is_no_part_of_what_they_are(tiny, two):
    keep(two, Path("s"))
    keep(define([tiny], ["algorithm=grpo,dr_grpo"], ["runs_root=elsewhere"]), Path("s"))


def test_a_directory_without_a_sweep_is_refused():
    with pytest.raises(ConfigError, match="is no sweep"):
        load(Path())


def test_names_are_directories_whatever_the_values():
    assert slug("a/b: [1, 2]") == "a_b_1,_2"
    assert slug("x" * 80) == "x" * 60 + "-" + slug("x" * 80)[-8:]
    assert slug("x" * 80) != slug("x" * 81)
    assert default_name(["overfit/baseline", "a+b"], ["algorithm.beta=0,1"]) == "baseline_a+b_beta"
