"""Plug-ins are found by name, and a wrong name says what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from whet import registry
from whet.algorithms.dr_grpo import DrGRPO
from whet.errors import ConfigError

PLUGINS = """
from whet.registry import Plugin

class Loud(Plugin):
    volume: int = 3

def reward(text, answer):
    return 1.0

_hidden = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(PLUGINS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_name_is_the_name() -> None:
    assert registry.load("algorithms", "dr_grpo") is DrGRPO


def test_names_list_files_without_private_ones_and_without_the_function_wrapper() -> None:
    files = {path.stem for path in Path(registry.__file__).with_name("verifiers").glob("[a-z]*.py")}
    assert registry.names("verifiers") == sorted(files - {"function"})


def test_a_plugin_is_built_from_its_name_and_knows_it() -> None:
    assert registry.build("algorithms", "dr_grpo") == DrGRPO(name="dr_grpo")


def test_a_plugin_is_built_from_a_section_with_its_settings() -> None:
    assert registry.build("algorithms", {"name": "dr_grpo", "beta": 0.5}) == DrGRPO(name="dr_grpo", beta=0.5)


def test_a_class_in_a_file_is_a_plugin(here: Path) -> None:
    built = registry.build("tasks", {"name": "./mine.py:Loud", "volume": 11})
    assert built.model_dump() == {"name": "./mine.py:Loud", "volume": 11}


def test_a_file_is_run_once_so_that_its_classes_stay_the_same(here: Path) -> None:
    first = registry.load("tasks", "./mine.py:Loud")
    assert registry.load("tasks", f"{here}/mine.py:Loud") is first


def test_a_plugin_that_python_made_gets_the_name_under_which_it_is_found() -> None:
    assert registry.build("algorithms", DrGRPO()).name == "dr_grpo"


def test_a_class_of_a_file_gets_the_path_as_name_so_that_another_process_finds_it(here: Path) -> None:
    made = registry.load("tasks", "./mine.py:Loud")()
    assert registry.build("tasks", made).name in (f"{here}/mine.py:Loud", "mine.py:Loud")


def test_a_class_of_a_module_gets_the_module_as_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(here)
    made = registry.load("tasks", "mine:Loud")()
    assert registry.build("tasks", made).name == "mine:Loud"


def test_settings_of_a_plugin_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        registry.build("algorithms", "dr_grpo").beta = 1.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dr_gropo", r"no 'dr_gropo' among the algorithms\. Did you mean dr_grpo\? There are: .*dr_grpo"),
        ("./nowhere.py:A", r"nowhere\.py is not a file \(looked in "),
        ("no.such.module:A", r"module 'no\.such\.module' cannot be imported"),
        (
            "./mine.py:Quiet",
            r"mine\.py has no plug-in or function called 'Quiet'; it has: Plugin, Loud, reward",
        ),
        ("./script.py:A", r"script\.py cannot be imported \(line 1\): SystemExit: 3"),
        ("./broken.py:A", r"broken\.py cannot be imported \(line 1\): ZeroDivisionError: division by zero"),
        ("./mine.py", r"\./mine\.py is a file: name what it holds too, such as \./mine\.py:score"),
    ],
)
def test_a_wrong_name_says_what_was_found(here: Path, name: str, expected: str) -> None:
    (here / "broken.py").write_text("1 / 0")
    (here / "script.py").write_text("raise SystemExit(3)")
    with pytest.raises(ConfigError, match=expected):
        registry.load("algorithms", name)


@pytest.mark.parametrize("spec", [{}, {"name": None}, {"beta": 1.0}])
def test_a_section_without_a_name_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"needs a name, one of: .*dr_grpo"):
        registry.build("algorithms", spec)


def test_something_that_is_neither_name_nor_section_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a name or a section with a name, found 3"):
        registry.build("algorithms", 3)  # type: ignore[arg-type]


def test_all_problems_of_a_plugin_come_together() -> None:
    with pytest.raises(registry.PluginProblems) as caught:
        registry.build("algorithms", {"name": "dr_grpo", "beta": -1, "bta": 1})
    assert {error["loc"] for error in caught.value.errors} == {("beta",), ("bta",)}
    assert (caught.value.name, caught.value.model) == ("dr_grpo", DrGRPO)


def test_the_bare_name_of_a_persons_own_file_gets_its_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_reward.py").write_text("def score(text, answer):\n    return 1.0\n")
    with pytest.raises(ConfigError, match=r"write \./my_reward\.py:NAME"):
        registry.build("verifiers", "my_reward")
