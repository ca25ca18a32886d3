"""The JSON Schema of a config file, for editors: settings, choices and meanings while one types.

It describes a layer: a file that others may be merged with, so nothing at the top is required. What only the whole
config can tell, such as a missing task, `whet train --dry-run` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from whet import registry
from whet.config import Config

KINDS = ("algorithms", "engines", "policies", "probes", "tasks", "verifiers")
_PLACE = "x-plugin"
"""Stands for a plug-in of a kind until all of them are known; what it holds is the kind and whether null will do."""
_OUTSIDE = {"type": "string", "pattern": ":"}
"""`module:name` or `./file.py:name`."""


def config_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a config file, the plug-ins that ship with whet included."""
    shipped = {kind: {n: registry.load(kind, n) for n in registry.names(kind)} for kind in KINDS}
    models: list[type[BaseModel]] = [Config, *(m for found in shipped.values() for m in found.values())]
    references, schema = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_Generator
    )
    definitions = schema["$defs"]
    place = {model: references[model, "validation"]["$ref"].rpartition("/")[2] for model in models}
    for name, model in ((n, m) for found in shipped.values() for n, m in found.items()):
        _named(definitions[place[model]], name)
    for kind, found in shipped.items():
        named = {name: place[model] for name, model in found.items()}
        definitions[kind] = {"anyOf": list(_choices(named, definitions))}
    top = definitions.pop(place[Config])
    top["properties"]["verifier"] = {_PLACE: ["verifiers", True], "description": "Short for task.verifier."}
    top.pop("required", None)
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A config of whet", **top}
    filled: dict[str, Any] = _filled(whole)
    used = _filled(definitions)
    text = json.dumps([filled, used])
    return {**filled, "$defs": {name: used[name] for name in sorted(used) if f'"#/$defs/{name}"' in text}}


def schema_text() -> str:
    """The schema as the text of a file."""
    return json.dumps(config_schema(), indent=1, ensure_ascii=False) + "\n"


class _Generator(GenerateJsonSchema):
    def function_before_schema(self, schema: Any) -> dict[str, Any]:
        """A placeholder where a validator builds a plug-in: its class depends on the name."""
        builder = schema["function"]["function"]
        if isinstance(builder, registry.Builder):
            return {_PLACE: [builder.kind, schema["schema"]["type"] == "nullable"]}
        return super().function_before_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never: a title would repeat the setting's name."""
        return False


def _named(schema: dict[str, Any], name: str) -> None:
    """Makes the settings of a plug-in those of one name."""
    schema["properties"]["name"] = {"const": name}
    schema["required"] = ["name", *schema.get("required", [])]


def _choices(named: Mapping[str, str], definitions: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What may stand where a plug-in is named: a name, or a section."""
    if named:
        yield {"enum": list(named)}
    yield _OUTSIDE
    yield from ({"$ref": f"#/$defs/{place}"} for place in named.values())
    yield {"type": "object", "properties": {"name": _OUTSIDE}, "required": ["name"]}
    settings = sorted({s for place in named.values() for s in definitions[place]["properties"]} - {"name"})
    # A layer may change settings of a plug-in that another layer names.
    yield {"type": "object", "properties": {"name": False}, "propertyNames": {"enum": settings}}


def _filled(schema: Any) -> Any:
    """The schema with a reference in every place of a plug-in, and without titles of models."""
    if isinstance(schema, list):
        return [_filled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if _PLACE not in schema:
        return {k: _filled(v) for k, v in schema.items() if not (k == "title" and "properties" in schema)}
    others = {k: v for k, v in schema.items() if k != _PLACE}
    kind, is_nullable = schema[_PLACE]
    reference = {"$ref": f"#/$defs/{kind}"}
    return {**others, **({"anyOf": [reference, {"type": "null"}]} if is_nullable else reference)}
