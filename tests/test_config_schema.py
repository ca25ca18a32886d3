"""The JSON Schema against configs: those that ship, and mistakes that an editor is to underline."""

import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from whet import shipped, yaml_source
from whet.config_schema import config_schema, schema_text

VALIDATOR = jsonschema.Draft202012Validator(config_schema())


def problems(values: dict[str, Any]) -> list[str]:
    return [f"{'.'.join(map(str, e.path))}: {e.message}" for e in VALIDATOR.iter_errors(values)]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(config_schema())


def test_the_shipped_file_is_the_schema_of_the_settings_classes() -> None:
    text = (shipped.CONFIGS / shipped.SCHEMA).read_text(encoding="utf-8")
    assert text == schema_text(), "run: python tools/config_reference.py"


@pytest.mark.parametrize("name", shipped.names())
def test_a_shipped_config_fits_the_schema_that_its_first_line_names(name: str) -> None:
    path = shipped.path_of(name)
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first == shipped.EDITOR_LINE + os.path.relpath(shipped.CONFIGS / shipped.SCHEMA, path.parent)
    assert problems(yaml_source.from_file(path, name).values) == []


@pytest.mark.parametrize(
    "values",
    [
        {"task": "gsm8k", "verifier": "./mine.py:score"},
        {"task": {"name": "jsonl", "path": "a.jsonl", "verifier": {"name": "numeric", "extract": "last"}}},
        {"task": {"name": "my.package:Task", "anything": [1]}},
        {"task": {"limit": 3}, "algorithm": {"beta": 0.1}, "policy": None},
        {"verifier": {"name": "combine", "parts": {"a": {"verifier": "exact", "weight": 2}}}},
        {"warm_start": None, "optimizer": {"betas": [0.9, 0.95]}, "prompt": {"chat": "auto"}},
        {"probes": ["gradient_noise"], "eval": {"task": {"name": "echo"}}},
    ],
)
def test_what_a_config_may_say_fits(values: dict[str, Any]) -> None:
    assert problems(values) == []


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"max_stps": 3}, ""),
        ({"max_steps": "three"}, "max_steps"),
        ({"max_steps": 0}, "max_steps"),
        ({"task": "gsm9k"}, "task"),
        ({"task": {"name": "jsonl"}}, "task"),
        ({"task": {"name": "jsonl", "path": "a", "pth": "b"}}, "task"),
        ({"task": {"limits": 3}}, "task"),
        ({"task": None}, "task"),
        ({"task": {"name": "echo", "verifier": {"name": "numeric", "extract": "first"}}}, "task"),
        ({"algorithm": {"name": "grpo", "threshold": 1}}, "algorithm"),
        ({"sampling": {"temperature": 0}}, "sampling.temperature"),
        ({"optimizer": {"betas": [0.9]}}, "optimizer.betas"),
        ({"verifier": {"name": "combine", "parts": {"a": {"verifier": "exactly"}}}}, "verifier"),
    ],
)
def test_a_mistake_is_underlined_where_it_is(values: dict[str, Any], where: str) -> None:
    assert [line.partition(":")[0] for line in problems(values)] == [where]


def test_a_setting_is_explained_by_its_docstring() -> None:
    schema = config_schema()
    (jsonl,) = [
        d for d in schema["$defs"].values() if d.get("properties", {}).get("name") == {"const": "jsonl"}
    ]
    assert jsonl["properties"]["tags"]["description"] == "Fields by which evaluation reports its results."
    assert schema["properties"]["save_every"] == {
        "default": 50, "minimum": 0, "type": "integer",
        "description": "Steps between checkpoints; 0 saves at the end only.",
    }  # fmt: skip


def test_every_plugin_can_be_named() -> None:
    kinds = {Path(p).parent.name for p in shipped.CONFIGS.parent.glob("*/function.py")} | {
        "tasks",
        "policies",
    }
    for kind in kinds:
        there = {
            p.stem for p in (shipped.CONFIGS.parent / kind).glob("*.py")
            if not p.stem.startswith("_") and p.stem != "function"
        }  # fmt: skip
        assert set(config_schema()["$defs"][kind]["anyOf"][0]["enum"]) == there
