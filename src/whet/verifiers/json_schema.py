"""Whether a completion is JSON of the shape that a JSON schema asks for."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from whet.errors import DataError, missing_extra, nothing_to_compare
from whet.interfaces import Verifier
from whet.text.strict_json import NotJson, depth_of, json_text, read_json, same_json
from whet.types import Example, Score

_SHALLOW = 16


class JsonSchema(Verifier):
    """Full value when the completion's JSON is valid against a schema (needs the extra `json`).

    The JSON is the whole completion, else the last `<answer>`, else the first fenced block, else what `####` or
    `\\boxed{}` marks. Nothing is ever fetched: a `$ref` leads inside the schema or to a draft of JSON Schema. `format`
    is not checked. A pattern in the schema that goes back over the same text again and again can take for ever.
    """

    json_schema: dict[str, Any] | bool | None = None
    """The schema itself, such as `{type: object, required: [name]}`."""
    path: Path | None = None
    """A JSON file with the schema."""
    column: str = "schema"
    """Without the two: the field of each row that holds its schema, as an object or as JSON in a text."""
    compare: bool = False
    """The value has to be equal to the answer's JSON too; 1.0 is 1, and the order of keys is nothing."""
    isolation: Literal["none", "worker"] = "worker"
    """Since a pattern may take for ever, a process of its own that is killed at `timeout_s`."""
    right: float = 1.0
    wrong: float = 0.0

    @model_validator(mode="after")
    def _one_schema(self) -> JsonSchema:
        if self.json_schema is not None and self.path is not None:
            raise ValueError("expected json_schema or path, found both")
        schema = self._setting()
        if schema is not None and (fault := _fault(schema)):
            raise ValueError(f"expected a JSON schema in {self.path or 'json_schema'}: {fault}")
        return self

    def check(self, example: Example) -> None:
        """Raises `DataError` for a row without a schema, or without a value to compare with, where it needs them."""
        if self._setting() is None:
            _validator(self._of_row(example))
        if self.compare:
            self._gold(example.answer, example)

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """The value `right` or `wrong`; the detail says why it is wrong.

        `no_json`, `malformed`, `duplicate_key`, `not_finite` (NaN, Infinity), `too_large` (a number), `too_deep`,
        `schema` (valid JSON of another shape), `other_value`. Raises `DataError` for what is no schema or no answer.
        """
        schema = self._setting()
        validator = _validator(schema if schema is not None else self._of_row(example))
        gold = self._gold(answer, example) if self.compare else None
        try:
            value = read_json(json_text(text))
        except NotJson as reason:
            return Score(value=self.wrong, detail=str(reason))
        detail = _judged(validator, value, example)
        if not detail and self.compare and not same_json(value, gold):
            detail = "other_value"
        return Score(value=self.wrong if detail else self.right, detail=detail)

    def _setting(self) -> str | None:
        """The schema of the settings as JSON."""
        if self.path is not None:
            return _file(self.path)
        return None if self.json_schema is None else json.dumps(self.json_schema, sort_keys=True)

    def _of_row(self, example: Example | None) -> str:
        given = example.columns.get(self.column) if example else None
        if given is None:
            raise DataError(
                f"json_schema: {example.id if example else 'the example'} has no field {self.column!r}; expected a "
                "schema there, or name the field in verifier.column, or give one schema in verifier.json_schema"
            )
        schema = given if isinstance(given, str) else json.dumps(given, sort_keys=True)
        if fault := _fault(schema):
            raise DataError(
                f"json_schema: expected a JSON schema in {self.column!r} of {example and example.id}: {fault}"
            )
        return schema

    def _gold(self, answer: str, example: Example | None) -> Any:
        if not answer:
            raise nothing_to_compare("json_schema", example)
        try:
            return read_json(answer)
        except NotJson as reason:
            whose = f" of {example.id}" if example else ""
            raise DataError(
                f"json_schema: expected JSON as the answer{whose}, found {answer[:200]!r} ({reason})"
            ) from None


@functools.cache
def _file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a file with a JSON schema, found {path} ({error})") from None


@functools.lru_cache(maxsize=1024)
def _fault(schema: str) -> str:
    """Why a text is no JSON schema; empty when it is one."""
    try:
        found = read_json(schema)
    except NotJson as reason:
        return f"{schema[:80]!r} is no JSON ({reason})"
    if not isinstance(found, dict | bool):
        return f"found {schema[:80]!r}, not an object"
    draft = _draft(found)
    if draft is None:
        return f"the $schema in {schema[:80]!r} is no draft that the package jsonschema knows"
    try:
        draft.check_schema(found)
    except _package().SchemaError as error:
        return f"{error.json_path}: {error.message[:200]}"
    return ""


@functools.lru_cache(maxsize=1024)
def _validator(schema: str) -> Any:
    """What validates against a schema that has no fault."""
    from jsonschema_specifications import REGISTRY

    found = read_json(schema)
    # The package's own registry fetches whatever a $ref names; this one has the drafts alone.
    return _draft(found)(found, registry=REGISTRY)


def _draft(schema: Any) -> Any:
    """What reads the draft that a schema names, or the newest; None for one that is not known."""
    jsonschema = _package()
    named = schema.get("$schema") if isinstance(schema, dict) else None
    if named is None:
        return jsonschema.Draft202012Validator
    return jsonschema.validators.validator_for(schema, default=None) if isinstance(named, str) else None


def _judged(validator: Any, value: Any, example: Example | None) -> str:
    """The detail of a value, empty when it is valid; raises `DataError` for a reference that leads nowhere."""
    from referencing.exceptions import Unresolvable

    try:
        return "" if validator.is_valid(value) else "schema"
    except Unresolvable as error:
        whose = f" of {example.id}" if example else ""
        raise DataError(
            f"json_schema: the schema{whose} refers to {getattr(error, 'ref', error)!r}, which is not in it; put it "
            "under $defs, nothing is fetched"
        ) from None
    except RecursionError:
        if depth_of(value) > _SHALLOW:
            return "too_deep"
        whose = f" of {example.id}" if example else ""
        raise DataError(f"json_schema: the schema{whose} refers to itself without end") from None


def _package() -> Any:
    try:
        import jsonschema
    except ImportError:
        raise missing_extra("the verifier json_schema", "jsonschema", "json") from None
    return jsonschema
