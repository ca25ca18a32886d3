"""What is JSON, what is refused and why, and where in a completion it is looked for."""

import contextlib
import time

import pytest

from whet.text.strict_json import NotJson, depth_of, json_text, read_json, same_json


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_json"),
        (" \n", "no_json"),
        ("yes", "malformed"),
        ("{'a': 1}", "malformed"),
        ("[1,]", "malformed"),
        ("[1] 2", "malformed"),
        ("{a: 1}", "malformed"),
        ("[01]", "malformed"),
        ("[+1]", "malformed"),
        ("[.5]", "malformed"),
        ("[１]", "malformed"),
        ('"\t"', "malformed"),
        ("// none\n1", "malformed"),
        ('{"a": 1, "a": 1}', "duplicate_key"),
        ('[{"a": 1, "\\u0061": 2}]', "duplicate_key"),
        ("NaN", "not_finite"),
        ('{"a": [Infinity]}', "not_finite"),
        ("-Infinity", "not_finite"),
        ("9" * 301, "too_large"),
        ("9" * 5000, "too_large"),
        ("1e999", "too_large"),
        ("[" * 65 + "]" * 65, "too_deep"),
        ("[" * 100_000 + "]" * 100_000, "too_deep"),
        ('{"a":' * 65 + "1" + "}" * 65, "too_deep"),
    ],
)
def test_what_is_no_json_says_why(text: str, reason: str) -> None:
    with pytest.raises(NotJson, match=f"^{reason}$"):
        read_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (' {"a": [1, 2.5, null, true]}\n', {"a": [1, 2.5, None, True]}),
        ('"é\\u00e9"', "éé"),
        ("9" * 300, 10**300 - 1),
        ("1e-999", 0.0),
        ("[" * 64 + "]" * 64, None),
    ],
)
def test_what_keeps_to_the_grammar_is_read(text: str, value: object) -> None:
    assert value is None or read_json(text) == value
    assert value is not None or depth_of(read_json(text)) == 64


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[1]", "[1]"),
        ('{"a": "<answer>2</answer>"}', '{"a": "<answer>2</answer>"}'),
        ('{"a": "#### 2"}', '{"a": "#### 2"}'),
        ("[NaN]", "[NaN]"),
        ("so <answer>[1]</answer>", "[1]"),
        ("NaN <answer>[1]</answer>", "[1]"),
        ("<answer>[1]</answer> no, <answer>[2]</answer>", "[2]"),
        ("<answer>\n```json\n[1]\n```\n</answer>", "[1]\n"),
        ("```json\n[1]\n```\n```json\n[2]\n```", "[1]\n"),
        ("```JSON\n[1]\n```", "[1]\n"),
        ("```\nabc\n```\n```json\n[2]\n```", "[2]\n"),
        ("```\n[1]\n```", "[1]\n"),
        ("so\n#### [1]", " [1]"),
        ("so \\boxed{[1]}", "[1]"),
        ("[1, \\boxed{2}]", "[1, \\boxed{2}]"),
        ("no json here", "no json here"),
    ],
)
def test_the_place_of_the_json_is_decided_by_the_marks(text: str, found: str) -> None:
    assert json_text(text) == found


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (False, 0, False),
        (True, True, True),
        (None, False, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ([1, [2]], [1, [2.0]], True),
        ([1, 2], [2, 1], False),
        ([1], [1, 2], False),
        ("1", 1, False),
        ([], {}, False),
        (10**300, 1e300, False),  # the double nearest to it is another number
    ],
)
def test_values_are_compared_as_json_has_them(left: object, right: object, same: bool) -> None:
    assert same_json(left, right) is same
    assert same_json(right, left) is same


@pytest.mark.parametrize(
    "piece", ["[", '{"a":', "```\n", "```json\n", "<answer>", " ```", '"', "1,", "\\boxed{"]
)
def test_a_hostile_text_costs_no_square(piece: str) -> None:
    start = time.process_time()
    with contextlib.suppress(NotJson):
        read_json(json_text(piece * 100_000))
    assert time.process_time() - start < 2.0
