"""JSON in a text, read by its grammar alone: no key twice, no NaN, no number and no nesting beyond use."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from whet.text.tags import marked_answer, tagged

MAX_DIGITS = 300
MAX_DEPTH = 64

_FENCED = re.compile(
    r"^[ \t]{0,3}```(json)?[ \t]*\n(.*?)^[ \t]{0,3}```", re.DOTALL | re.MULTILINE | re.IGNORECASE
)


class NotJson(Exception):
    """The text is none; the message is one word that says why, as `Score.detail` has it."""


def json_text(text: str) -> str:
    """Where the JSON of a completion is: in all of it, else in what it marks.

    All of it when it is JSON, or what follows the thoughts in `<think>`; else the last `<answer>`, and in it or in the
    completion the first fenced block (the first of ```` ```json ````, if there is one); else what `####` or
    `\\boxed{}` marks.
    """
    if _is_json(text):
        return text
    thought, end, said = text.rpartition("</think>")
    if end and "<think>" in thought:
        return json_text(said)
    pairs = tagged(text, "answer")
    place = pairs[-1] if pairs else text
    blocks: list[tuple[str, str]] = _FENCED.findall(place)
    if blocks:
        return next((content for language, content in blocks if language), blocks[0][1])
    marked = None if pairs or place.lstrip()[:1] in ("{", "[") else marked_answer(text)
    return place if marked is None else marked


def read_json(text: str) -> Any:
    """The value. Raises `NotJson`: no_json, malformed, duplicate_key, not_finite, too_large or too_deep."""
    if not text.strip():
        raise NotJson("no_json")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
    except RecursionError:
        raise NotJson("too_deep") from None
    except ValueError:
        raise NotJson("malformed") from None
    if depth_of(value) > MAX_DEPTH:
        raise NotJson("too_deep")
    return value


def depth_of(value: Any) -> int:
    """How deep lists and objects are inside one another; 0 for any other value."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def same_json(left: Any, right: Any) -> bool:
    """Whether two values are equal as JSON: 1 is 1.0 and not true, and the order of keys is nothing."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    return bool(left == right)


def _is_json(text: str) -> bool:
    """Whether a text reads as JSON to its end, the parts that `read_json` refuses included."""
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJson("duplicate_key")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise NotJson("too_large")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise NotJson("too_large")
    return value


def _constant(name: str) -> Any:
    raise NotJson("not_finite")
