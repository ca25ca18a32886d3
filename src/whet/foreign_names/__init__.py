"""What other tools call whet's settings, so that a message can say whet's name. Hints, never aliases.

One file per tool, from which docs/coming_from.md is written too. A key holds the tool's names for one thing, spaces
between them; `*` stands for any ending. The answer is one of

    place (explanation)     a setting of whet, or a command that begins with `whet`
    not needed: reason      whet does it by itself, or cannot be in the state that the setting mends
    not there: reason       whet does not have it
"""

from __future__ import annotations

import functools
import re
from fnmatch import fnmatchcase

from whet.foreign_names.pippa import PIPPA
from whet.foreign_names.rl_practice import RL_PRACTICE
from whet.foreign_names.sb3 import SB3
from whet.foreign_names.shared import PLUGINS, SHARED
from whet.foreign_names.trl import TRL
from whet.foreign_names.verl import VERL

Tool = dict[str, dict[str, str]]
"""Heading -> names -> answer."""

TOOLS: dict[str, Tool] = {"TRL": TRL, "verl": VERL, "SB3": SB3, "RL_Practice": RL_PRACTICE, "pippa": PIPPA}


def place_of(answer: str) -> str | None:
    """The setting of an answer without its explanation; none where the answer is no setting."""
    first = answer.partition(" ")[0]
    return None if first in ("not", "whet") else first


def exact_answer(path: str) -> str | None:
    """What whet has for a setting written at this very place, such as `algorithm.adv_estimator`."""
    names = _answers()
    if path in names:
        return names[path]
    return next((names[n] for n in names if "*" in n and fnmatchcase(path, n)), None)


def answer_for(key: str) -> str | None:
    """What whet has for a key, wherever it is written."""
    return exact_answer(key) or _answers_by_last_word().get(key)


@functools.cache
def known_words() -> frozenset[str]:
    """Every key whose answer is a setting."""
    both = {**_answers_by_last_word(), **_answers()}
    return frozenset(key for key, answer in both.items() if place_of(answer) and not re.search(r"[.*]", key))


def plugin_hint(kind: str, name: str) -> str | None:
    """What whet has for a plug-in's name that is another tool's, or that is a model's or a data set's."""
    plain = re.sub(r"[\s_-]+", "_", name.strip().lower())
    if plain in PLUGINS.get(kind, {}):
        return PLUGINS[kind][plain]
    if kind == "policies" and _looks_like_a_model(name):
        return f"A model's name or folder goes into policy.model: policy.name=huggingface policy.model={name}"
    if kind == "tasks" and "/" in name:
        return f"A file or a data set of the Hub is read by jsonl: task.name=jsonl task.path={name}"
    return None


def _looks_like_a_model(name: str) -> bool:
    families = r"(gpt|qwen|llama|mistral|mixtral|gemma|phi|smollm|olmo|deepseek|pythia|opt|tinyllama)"
    return "/" in name or re.match(rf"{families}[-_.\d]", name, re.IGNORECASE) is not None


@functools.cache
def _answers() -> dict[str, str]:
    """The answer to every name; of a name that two tools have, the first one's."""
    tables = [SHARED, *(table for tool in TOOLS.values() for table in tool.values())]
    rows = [(name, answer) for table in tables for names, answer in table.items() for name in names.split()]
    return dict(reversed(rows))


@functools.cache
def _answers_by_last_word() -> dict[str, str]:
    """Of a dotted name its last word, if that says enough by itself: `ppo_epochs`, and not `path`."""
    dotted = {name: answer for name, answer in _answers().items() if "." in name}
    rows = [(name.rpartition(".")[2], answer) for name, answer in dotted.items()]
    return dict(reversed([(last, answer) for last, answer in rows if "_" in last and "*" not in last]))
