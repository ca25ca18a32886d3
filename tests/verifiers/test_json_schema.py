"""Which completions are valid, why the others are not, and which schemas are refused."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import whet
from whet.errors import DataError
from whet.types import Example
from whet.verifiers.json_schema import JsonSchema

pytest.importorskip("jsonschema")

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def verdict(text: str, answer: str = "", **settings: Any) -> tuple[float, str]:
    score = JsonSchema(**{"json_schema": PERSON, **settings}).score(text, answer)
    assert score.status == "ok"
    return score.value, score.detail


@pytest.mark.parametrize(
    ("text", "value", "detail"),
    [
        ('{"name": "Ann", "age": 7}', 1.0, ""),
        ('{"age": 7.0, "name": "Ann"}', 1.0, ""),  # 7.0 is an integer in JSON Schema
        ('Here:\n```json\n{"name": "Ann"}\n```', 1.0, ""),
        ('<answer>{"name": "Ann"}</answer>', 1.0, ""),
        ('{"name": 7}', 0.0, "schema"),
        ('{"age": 7}', 0.0, "schema"),
        ('{"name": "Ann", "age": -1}', 0.0, "schema"),
        ('{"name": "Ann", "age": true}', 0.0, "schema"),
        ('{"name": "Ann", "other": 1}', 0.0, "schema"),
        ("[]", 0.0, "schema"),
        ('{"name": "Ann"', 0.0, "malformed"),
        ('{"name": "Ann", "name": "Ben"}', 0.0, "duplicate_key"),
        ('{"name": NaN}', 0.0, "not_finite"),
        ('{"name": "Ann", "age": ' + "9" * 5000 + "}", 0.0, "too_large"),
        ("[" * 5000 + "]" * 5000, 0.0, "too_deep"),
        ("", 0.0, "no_json"),
        ("Ann", 0.0, "malformed"),
    ],
)
def test_a_completion_is_valid_or_says_why_it_is_not(text: str, value: float, detail: str) -> None:
    assert verdict(text) == (value, detail)


@pytest.mark.parametrize(
    ("text", "value", "detail"),
    [
        ('{"age": 7.0, "name": "Ann"}', 1.0, ""),
        ('{"name": "Ann", "age": 8}', 0.0, "other_value"),
        ('{"name": "Ann"}', 0.0, "other_value"),
        ('{"name": 7}', 0.0, "schema"),
    ],
)
def test_with_compare_the_value_is_the_answers_too(text: str, value: float, detail: str) -> None:
    assert verdict(text, '{"name": "Ann", "age": 7}', compare=True) == (value, detail)


def test_an_answer_that_is_no_json_is_an_error_of_the_data() -> None:
    with pytest.raises(DataError, match="expected JSON as the answer, found 'Ann'"):
        verdict("{}", "Ann", compare=True)
    with pytest.raises(DataError, match="json_schema compares with the answer"):
        verdict("{}", "", compare=True)


@pytest.mark.parametrize("schema", [PERSON, json.dumps(PERSON)])
def test_a_row_may_hold_its_schema_as_an_object_or_as_text(schema: object) -> None:
    row = Example(id="row/3", prompt="p", columns={"form": schema})
    values = [
        JsonSchema(column="form").score(text, "", row).value for text in ('{"name": "Ann"}', '{"age": 1}')
    ]
    assert values == [1.0, 0.0]


def test_a_file_may_hold_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "person.json"
    path.write_text(json.dumps(PERSON))
    verifier = JsonSchema(path=path)
    assert [verifier.score(text, "").value for text in ('{"name": "Ann"}', '{"age": 1}')] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "row/3 has no field 'schema'; expected a schema there"),
        ({"schema": "{"}, "in 'schema' of row/3: '{' is no JSON"),
        ({"schema": [1]}, r"in 'schema' of row/3: found '\[1\]', not an object"),
        ({"schema": {"type": "text"}}, r"in 'schema' of row/3: \$.type: 'text' is not valid"),
    ],
)
def test_a_row_without_a_schema_is_an_error_of_the_data(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        JsonSchema().score("{}", "", Example(id="row/3", prompt="p", columns=columns))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"json_schema": {"type": "text"}}, r"\$.type: 'text' is not valid"),
        ({"json_schema": {"pattern": "("}}, r"\$.pattern"),
        ({"json_schema": {"$schema": "https://example.org/mine"}}, "is no draft that the package jsonschema"),
        ({"json_schema": {"$schema": 7}}, "is no draft that the package jsonschema"),
        ({"json_schema": {}, "path": "x.json"}, "expected json_schema or path, found both"),
        ({"path": "nowhere.json"}, "expected a file with a JSON schema, found nowhere.json"),
    ],
)
def test_a_setting_that_is_no_schema_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JsonSchema(**settings)


@pytest.mark.parametrize(
    "draft", ["http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-04/schema#"]
)
def test_an_older_draft_is_read_by_its_own_rules(draft: str) -> None:
    schema = {
        "$schema": draft,
        "definitions": {"n": {"type": "integer"}},
        "items": {"$ref": "#/definitions/n"},
    }
    assert [verdict(text, json_schema=schema)[0] for text in ("[1, 2]", '["a"]')] == [1.0, 0.0]
    # 1.0 is an integer since draft 6 only.
    assert verdict("[1.0]", json_schema=schema)[0] == (0.0 if "04" in draft else 1.0)


@pytest.mark.parametrize(
    "ref", ["https://example.org/s.json", "http://127.0.0.1:9/s.json", "file:///etc/hostname", "#/$defs/none"]
)
def test_a_reference_out_of_the_schema_is_never_fetched(ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(DataError, match="which is not in it; put it under"):
        verdict("1", json_schema={"$ref": ref})


def test_a_draft_of_json_schema_may_be_referred_to() -> None:
    schema = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    assert [verdict(t, json_schema=schema)[0] for t in ('{"type": "object"}', '{"type": 7}')] == [1.0, 0.0]


def test_a_schema_without_end_is_an_error_of_the_data_and_a_deep_text_is_not() -> None:
    with pytest.raises(DataError, match="refers to itself without end"):
        verdict("1", json_schema={"$ref": "#"})
    tree = {"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "integer"}]}}
    assert verdict("[" * 64 + "]" * 64, json_schema=tree)[1] in ("", "too_deep")
    assert verdict("[[[1]]]", json_schema=tree) == (1.0, "")


def test_what_follows_thoughts_is_read():
    judge = whet.verifier("json_schema", json_schema={"type": "object"})
    assert judge.score('<think>Not [1, 2].</think>\n{"a": 1}', "").value == 1.0
    assert judge.score('<think>{"a": 1}</think> none', "").value == 0.0
