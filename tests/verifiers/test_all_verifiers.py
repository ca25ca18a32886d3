"""What every verifier that ships with whet promises."""

import math

import pytest

from whet import registry

SETTINGS = {"combine": {"parts": {"a": {"verifier": "numeric"}}}}
TEXTS = [
    "",
    " ",
    "7",
    "x",
    "\x00",
    "🙂" * 50,
    "<answer>",
    "#### ",
    "\\boxed{",
    "�",
    "\ud800",
    "<think></think>",
]


@pytest.mark.parametrize("name", registry.names("verifiers"))
@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_gets_a_finite_value_and_the_same_one_twice(name: str, text: str) -> None:
    verifier = registry.build("verifiers", {"name": name, **SETTINGS.get(name, {})})
    first, second = verifier.score(text, "7"), verifier.score(text, "7")
    assert first.status == "ok" and math.isfinite(first.value)
    assert first == second


@pytest.mark.parametrize("name", registry.names("verifiers"))
def test_settings_survive_writing_and_reading(name: str) -> None:
    verifier = registry.build("verifiers", {"name": name, **SETTINGS.get(name, {})})
    assert registry.build("verifiers", verifier.model_dump(mode="json")) == verifier
