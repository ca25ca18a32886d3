"""One config from files, names, mappings and the command line; every problem at once, with its place and its fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whet import shipped, yaml_source
from whet.config import Config, dump_config, load_config
from whet.errors import ConfigError

PLUGINS = """
from typing import ClassVar

from whet.interfaces import Algorithm, Task, Verifier
from whet.registry import Plugin
from whet.types import Score

class MyVerifier(Verifier):
    strict: bool = True

    def score(self, text, answer, example=None):
        return Score(value=1.0)

class OtherVerifier(MyVerifier):
    pass

class MyTask(Task):
    digits: int = 2

    def load(self, split):
        return []

    def default_verifier(self):
        return MyVerifier()

class OtherTask(MyTask):
    operations: str = "+"

class MyPolicy(Plugin):
    width: int = 8

class Grouped(Algorithm):
    reduction: ClassVar = "constant"
    min_group_size: ClassVar[int] = 2
    epsilon: float = 0.2

    def advantages(self, batch, memory):
        return batch.rewards

    def policy_loss(self, batch, logprobs):
        return logprobs

class Alone(Grouped):
    min_group_size: ClassVar[int] = 1
    window: int = 4
"""
FILE = """\
max_steps: 5
task:
  name: ./mine.py:MyTask
  digits: 3
policy: ./mine.py:MyPolicy
algorithm:
  name: ./mine.py:Grouped
  epsilon: 0.3
"""
Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads FILE (as base.yaml), more sources and overrides, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WHET_RUNS", raising=False)
    (tmp_path / "mine.py").write_text(PLUGINS)
    (tmp_path / "base.yaml").write_text(FILE)

    def load(*sources: str | dict[str, Any], overrides: tuple[str, ...] = ()) -> Config:
        named: list[str | dict[str, Any]] = ["base.yaml"]
        for n, source in enumerate(sources):
            if isinstance(source, str):
                (tmp_path / f"more{n}.yaml").write_text(source)
                source = f"more{n}.yaml"
            named.append(source)
        return load_config(named, overrides)

    return load


def problems(load: Load, *sources: Any, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*sources, overrides=overrides)
    return str(caught.value).splitlines()


# --- what is merged with what ---


def test_a_file_sets_what_it_names_and_leaves_the_defaults(load: Load) -> None:
    config = load()
    assert (config.max_steps, config.task.digits, config.batch.num_generations) == (5, 3, 8)  # type: ignore[attr-defined]
    assert config.engine.name == "native"


def test_a_later_source_wins_and_keeps_the_rest_of_a_section(load: Load) -> None:
    config = load("task: {limit: 4}\nmax_steps: 6\n", {"max_steps": 7})
    assert (config.max_steps, config.task.limit, config.task.digits) == (7, 4, 3)  # type: ignore[attr-defined]


def test_the_command_line_wins_over_files(load: Load) -> None:
    config = load("batch: {num_generations: 4}", overrides=("batch.num_generations=16",))
    assert config.batch.num_generations == 16


def test_the_command_line_makes_sections_that_are_missing(load: Load) -> None:
    config = load(overrides=("warm_start.optimizer.learning_rate=1e-3", "warm_start.steps=7"))
    assert config.warm_start is not None
    assert (config.warm_start.steps, config.warm_start.optimizer.learning_rate) == (7, 0.001)


def test_a_value_on_the_command_line_is_yaml(load: Load) -> None:
    config = load(overrides=("trackers=[jsonl]", "sampling.stop=['</answer>', '=']", "stop.when=a/b >= 0.95"))
    assert (config.trackers, config.sampling.stop) == (("jsonl",), ("</answer>", "="))
    assert config.stop.when == "a/b >= 0.95"


def test_an_empty_value_is_null(load: Load) -> None:
    assert load("warm_start: {steps: 3}", overrides=("warm_start=",)).warm_start is None


def test_a_plugin_with_another_name_takes_nothing_over(load: Load) -> None:
    config = load(overrides=("algorithm=./mine.py:Alone",))
    assert config.algorithm.model_dump(include={"name", "epsilon"}) == {
        "name": "./mine.py:Alone",
        "epsilon": 0.2,
    }


def test_a_section_with_another_name_is_replaced_as_a_whole(load: Load) -> None:
    config = load("task: {name: './mine.py:OtherTask', operations: '-'}")
    assert config.task.model_dump(include={"digits", "operations"}) == {"digits": 2, "operations": "-"}


def test_the_same_name_again_keeps_the_settings(load: Load) -> None:
    assert load(overrides=("algorithm=./mine.py:Grouped",)).algorithm.epsilon == 0.3  # type: ignore[attr-defined]


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_overrides_is_free(load: Load, order: int) -> None:
    overrides = ("algorithm=./mine.py:Alone", "algorithm.window=9")[::order]
    assert load(overrides=overrides).algorithm.window == 9  # type: ignore[attr-defined]


def test_a_section_without_a_name_has_the_settings_of_the_default(load: Load) -> None:
    source = {"max_steps": 1, "task": "./mine.py:MyTask", "policy": "./mine.py:MyPolicy"}
    algorithm = load_config([source], ["algorithm.beta=0.5"]).algorithm
    assert (algorithm.name, algorithm.beta) == ("dr_grpo", 0.5)


def test_lists_are_replaced(load: Load) -> None:
    assert load("sampling: {stop: [a, b]}", "sampling: {stop: [c]}").sampling.stop == ("c",)


def test_paths_stay_as_they_are_written(load: Load) -> None:
    assert load("runs_root: ./here/../runs").runs_root == "./here/../runs"


def test_the_runs_root_comes_from_the_environment(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHET_RUNS", "elsewhere")
    assert load().runs_root == "elsewhere"


def test_an_engine_section_without_a_name_is_the_native_one(load: Load) -> None:
    assert load("engine: {}").engine.name == "native"


# --- the verifier belongs to the task ---


def test_a_verifier_at_the_top_is_the_tasks(load: Load) -> None:
    config = load("verifier: {name: './mine.py:OtherVerifier', strict: false}")
    found = config.task.verifier.model_dump()  # type: ignore[union-attr]
    assert (found["name"], found["strict"]) == ("./mine.py:OtherVerifier", False)


def test_a_verifier_can_be_named_inside_the_task(load: Load) -> None:
    config = load(overrides=("task.verifier.name=./mine.py:OtherVerifier",))
    assert config.task.verifier.name == "./mine.py:OtherVerifier"  # type: ignore[union-attr]


def test_the_evaluation_task_keeps_its_own_verifier(load: Load) -> None:
    config = load("verifier: ./mine.py:OtherVerifier\neval: {task: './mine.py:MyTask'}")
    assert config.eval.task is not None
    assert config.eval.task.verifier is None


def test_two_verifiers_are_refused(load: Load) -> None:
    found = problems(
        load, "verifier: ./mine.py:MyVerifier", overrides=("task.verifier=./mine.py:OtherVerifier",)
    )
    assert found == ["verifier is short for task.verifier and both are given; keep task.verifier"]


def test_a_problem_in_the_verifier_at_the_top_has_its_line(load: Load) -> None:
    found = problems(load, "verifier:\n  name: ./mine.py:MyVerifier\n  strikt: false\n")
    expected = "task.verifier.strikt is not a setting of ./mine.py:MyVerifier (more0.yaml, line 3). "
    assert found == [expected + "Did you mean strict?"]


# --- YAML ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-.5", -0.5),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("010", 10),
        ("1_000", 1000),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("~", None),
        ("'1e-3'", "1e-3"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_yaml_values_are_what_they_look_like(text: str, expected: object) -> None:
    value = yaml_source.from_overrides([f"x={text}"]).values["x"]
    assert (value, type(value)) == (expected, type(expected))


def test_not_a_number_can_be_written() -> None:
    value = yaml_source.from_overrides(["x=.nan"]).values["x"]
    assert value != value  # only NaN differs from itself


@pytest.mark.parametrize(
    "value", ["1e-3", "yes", "010", "null", "", "~", "12:30", "a: b", "# x", "<think>\n"]
)
def test_texts_are_written_so_that_they_read_back_as_texts(value: str) -> None:
    assert yaml_source.from_overrides([yaml_source.to_text({"x": [value]}).replace(":", "=", 1)]).values == {
        "x": [value]
    }


def test_a_key_that_appears_twice_is_refused_with_both_lines(load: Load) -> None:
    found = problems(load, "batch:\n  num_generations: 2\n  prompts_per_step: 1\n  num_generations: 3\n")
    assert found == ["batch.num_generations is given in line 2 and again in line 4 of more0.yaml"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "batch: [1\n",
            "more0.yaml is not valid YAML: expected ',' or ']', but got '<stream end>' (more0.yaml, line 2)",
        ),
        ("a: 1\n\tb: 2\n", "found character '\\t' that cannot start any token (more0.yaml, line 2)"),
        ("- 1\n", "more0.yaml: expected settings such as `max_steps: 100`, found [1]"),
        ("seed: !!python/name:os.system\n", "cannot be read as tag:yaml.org,2002:python/name:os.system"),
        ("seed: 1\n---\nseed: 2\n", "more0.yaml is not valid YAML"),
    ],
)
def test_a_file_that_is_not_yaml_is_named_with_the_line(load: Load, text: str, expected: str) -> None:
    found = problems(load, text)
    assert len(found) == 1
    assert expected in found[0]


def test_an_empty_file_changes_nothing(load: Load) -> None:
    assert load("# nothing\n") == load()


def test_a_file_that_is_not_text_is_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(ConfigError, match=r"bytes\.yaml is not text in UTF-8 \(byte 6\)"):
        load_config(["bytes.yaml"])


# --- problems ---


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "algorithm:\n  clip_epz: 0.2\n",
            "algorithm.clip_epz is not a setting of ./mine.py:Grouped (more0.yaml, line 2). Did you mean epsilon?",
        ),
        (
            "batch:\n\n  prompts_per_step: many\n",
            "batch.prompts_per_step: expected an integer >= 1, found 'many' (more0.yaml, line 3)",
        ),
        ("save_every: -1", "save_every: expected an integer >= 0, found -1 (more0.yaml, line 1)"),
        ("max_steps: 0", "max_steps: expected an integer >= 1 or null, found 0 (more0.yaml, line 1)"),
        ("log_completions: 7", "log_completions: expected true or false, found 7 (more0.yaml, line 1)"),
        (
            "optimizer: {betas: [0.9, 1.0]}",
            "optimizer.betas: expected two numbers >= 0 and < 1, found [0.9, 1.0] (more0.yaml, line 1)",
        ),
        (
            "sampling: {stop: ['']}",
            "sampling.stop: expected texts of one character or more: an empty one would end every completion "
            "(more0.yaml, line 1)",
        ),
        ("sampling: {stop: [a, 3]}", "sampling.stop.1: expected text, found 3 (more0.yaml, line 1)"),
        (
            "optimizer: {schedule: linea}",
            "optimizer.schedule: expected one of 'constant', 'linear', 'cosine', found 'linea' (more0.yaml, line 1)",
        ),
        (
            "warm_start:\n  batch_size: 3",
            "warm_start.steps is missing: expected an integer >= 1 (more0.yaml, line 1)",
        ),
        ("task: {digits: two}", "task.digits: expected an integer, found 'two' (more0.yaml, line 1)"),
        ({"seed": "x"}, "seed: expected an integer, found 'x' (passed in Python)"),
        (
            "learning_rate: 0.1",
            "learning_rate is not a setting of the config (more0.yaml, line 1). "
            "Its place is optimizer.learning_rate.",
        ),
        (
            "digits: 4",
            "digits is not a setting of the config (more0.yaml, line 1). Its place is task.digits.",
        ),
        (
            "max_completion_length: 4",
            "max_completion_length is not a setting of the config (more0.yaml, line 1). "
            "Its place is sampling.max_completion_length.",
        ),
        (
            "optimizer: {lr: 0.1}",
            "optimizer.lr is not a setting of optimizer (more0.yaml, line 1). In whet it is learning_rate.",
        ),
        (
            "group_size: 4",
            "group_size is not a setting of the config (more0.yaml, line 1). In whet it is batch.num_generations.",
        ),
        (
            "svae_every: 4",
            "svae_every is not a setting of the config (more0.yaml, line 1). Did you mean save_every?",
        ),
    ],
)
def test_a_problem_says_what_was_expected_what_was_found_and_where(
    load: Load, source: Any, expected: str
) -> None:
    assert problems(load, source) == [expected]


def test_a_problem_of_the_command_line_says_so(load: Load) -> None:
    found = problems(load, overrides=("batch.num_generations=0",))
    assert found == ["batch.num_generations: expected an integer >= 1, found 0 (command line)"]


def test_the_place_is_that_of_the_source_that_won(load: Load) -> None:
    found = problems(load, "\nseed: a", "seed: b")
    assert found == ["seed: expected an integer, found 'b' (more1.yaml, line 1)"]


def test_all_problems_are_listed_at_once(load: Load) -> None:
    found = problems(load, "seed: a\nalgorithm: {epsilon: b}\n", overrides=("task.digits=c", "engine=natve"))
    assert {line.partition(":")[0] for line in found} == {
        "seed",
        "algorithm.epsilon",
        "task.digits",
        "engine",
    }


def test_problems_of_reading_are_listed_at_once(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(["nowhere.yaml", "base.yaml"], ["max_steps", "=3", "seed=[1"])
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize("text", ["max_steps", "=3", "a b=3", ".seed=3", "batch.=3"])
def test_a_malformed_override_is_refused(load: Load, text: str) -> None:
    expected = f"{text!r} is not a setting: write key=value or key.sub=value (command line)"
    assert problems(load, overrides=(text,)) == [expected]


def test_a_missing_file_says_what_was_looked_for_and_what_there_is(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.shipped.names", lambda: ["arithmetic", "debug"])
    with pytest.raises(ConfigError) as caught:
        load_config(["arithmetik.yaml"])
    assert str(caught.value) == (
        f"there is no file 'arithmetik.yaml' in {tmp_path}, nor a config of that name. "
        "Did you mean arithmetic? Shipped: arithmetic, debug"
    )


@pytest.mark.parametrize("name", ["quick", "quick.yaml", "configs/quick.yaml"])
def test_a_shipped_config_is_found_by_its_name(
    load: Load, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Path("package").mkdir()
    Path("package/quick.yaml").write_text(FILE + "seed: x\n")
    monkeypatch.setattr("whet.shipped.CONFIGS", Path("package").resolve())
    with pytest.raises(ConfigError) as caught:
        load_config([name])
    assert str(caught.value) == "seed: expected an integer, found 'x' (configs/quick.yaml, line 9)"


def test_a_file_of_ones_own_wins_over_a_shipped_config(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("package").mkdir()
    Path("package/base.yaml").write_text("max_steps: 99\n")
    monkeypatch.setattr("whet.shipped.CONFIGS", Path("package").resolve())
    assert load_config(["base.yaml"]).max_steps == 5


@pytest.mark.parametrize("name", [name for name in shipped.names() if not shipped.is_overlay(name)])
def test_every_shipped_config_is_valid(name: str) -> None:
    config = load_config([name])
    assert config.max_steps or config.num_epochs


@pytest.mark.parametrize("name", ["deep/baseline", "deep/baseline.yaml", "configs/deep/baseline.yaml"])
def test_a_shipped_config_in_a_folder_is_found_with_the_folder(
    load: Load, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Path("package/deep").mkdir(parents=True)
    Path("package/deep/baseline.yaml").write_text(FILE)
    monkeypatch.setattr("whet.shipped.CONFIGS", Path("package").resolve())
    assert load_config([name]) == load_config(["base.yaml"])
    with pytest.raises(ConfigError, match="Did you mean deep/baseline"):
        load_config(["deep/baselin"])


def test_an_overlay_alone_says_how_it_is_used(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("package").mkdir()
    Path("package/short.yaml").write_text("max_steps: 2\n")
    monkeypatch.setattr("whet.shipped.CONFIGS", Path("package").resolve())
    assert load_config(["base.yaml", "short"]).max_steps == 2
    with pytest.raises(ConfigError) as caught:
        load_config(["short"])
    assert str(caught.value) == (
        "short changes settings of another config and has no task of its own: "
        "put it after one, such as `arithmetic short`"
    )


# --- the resolved config ---


def test_a_dumped_config_loads_back_equal(load: Load) -> None:
    config = load(
        "verifier: {name: './mine.py:OtherVerifier', strict: false}\nwarm_start: {steps: 3}\n",
        {"sampling": {"stop": ["</answer>", "yes"]}, "optimizer": {"learning_rate": 3e-5}},
        overrides=("eval.task=./mine.py:OtherTask", "algorithm.beta=1e-3"),
    )
    Path("dumped.yaml").write_text(dump_config(config))
    assert load_config(["dumped.yaml"]) == config
    assert config != load()


def test_a_dumped_config_names_its_plugins_with_every_setting(load: Load) -> None:
    lines = dump_config(load()).splitlines()
    start = lines.index("policy:")
    assert lines[start : start + 3] == ["policy:", "  name: ./mine.py:MyPolicy", "  width: 8"]
    assert "verifier:" not in lines


def test_a_task_in_place_of_a_config_is_told_how_to_name_it() -> None:
    with pytest.raises(ConfigError, match=r"It is a task: say it in a config, task: \{name: countdown\}"):
        load_config(["countdown"])
