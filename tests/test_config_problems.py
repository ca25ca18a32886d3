"""How a setting is described to a person."""

from __future__ import annotations

import pytest

from whet import registry
from whet.config import Config
from whet.config_problems import describe


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("gsm8k", "tasks", {"path": "a path or null"}),
        ("combine", "verifiers", {"parts": "a mapping from names, each to a section (verifier, weight)"}),
    ],
)
def test_a_setting_is_described_in_words_that_a_person_uses(
    name: str, kind: str, expected: dict[str, str]
) -> None:
    fields = registry.load(kind, name).model_fields
    assert {setting: describe(fields[setting]) for setting in expected} == expected


def test_a_list_of_plugins_names_those_that_there_are() -> None:
    assert describe(Config.model_fields["probes"]).startswith("a list, each one of the probes (effective_")
