"""`whet tasks`: what can be trained on, and how one task scores."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from json import dumps
from textwrap import TextWrapper, indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli._options import Json, RunsRoot, settings_of
from whet.errors import ConfigError

if TYPE_CHECKING:
    from whet.interfaces import Task
    from whet.types import Example

_TOKENS = TextWrapper(
    100, initial_indent="    ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
)


def command(
    name: Annotated[str | None, typer.Argument(help="A task, also ./file.py:MyTask.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Its settings, such as path=data/gsm8k; with --policy also prompt.KEY=VALUE.",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Show the token ids that this policy gets: RUN, a model's path or Hub name, from_scratch."
        ),
    ] = None,
    runs_root: RunsRoot = "runs",
    json: Json = False,
) -> None:
    """List the tasks, or show what one asks and rewards."""
    from whet.cli._output import columns, print_json

    if name is None:
        rows = _list()
        print_json(rows) if json else print(columns([(row["name"], row["about"]) for row in rows]))
        return
    facts = _facts(name, settings or [], policy, runs_root)
    print_json(facts) if json else print(_text(facts))


def _list() -> list[dict[str, str]]:
    from whet import registry

    found = {name: inspect.getmodule(registry.load("tasks", name)) for name in registry.names("tasks")}
    return [
        {"name": name, "about": (inspect.getdoc(m) or "").partition("\n")[0]} for name, m in found.items()
    ]


def _facts(name: str, settings: Sequence[str], policy: str | None, runs_root: str) -> dict[str, Any]:
    from whet.api import show_prompt
    from whet.api import task as build

    of_prompt = [text for text in settings if text.startswith("prompt.")]
    if of_prompt and policy is None:
        raise ConfigError(f"{of_prompt[0]} says how a policy gets the prompt: name one with --policy")
    task = build(name, **settings_of([text for text in settings if text not in of_prompt], "task"))
    train, test = task.examples("train"), task.examples("test")
    example = (train or test)[0]
    facts = {
        "task": task.model_dump(mode="json"),
        "settings": {name: field.description or "" for name, field in type(task).model_fields.items()},
        "examples": {"train": len(train), "test": len(test)},
        "example": dataclasses.asdict(example),
        "scores": _scores(task, example, train or test),
        **({"turns": dataclasses.asdict(task.turn_rules(example))} if task.has_turns else {}),
    }
    if policy is None:
        return facts
    return {**facts, "prompt": show_prompt(task, policy, runs_root, **settings_of(of_prompt, "prompt"))}


def _scores(task: Task, example: Example, others: Sequence[Example]) -> dict[str, dict[str, Any]]:
    """The scores of the example's own solution, of one with another answer, and of no text at all."""
    other = next((e for e in others if e.answer != example.answer), None)
    texts = {"gold": _solution(example), "wrong": _solution(other) if other else "?", "empty": ""}
    return {
        kind: {"text": text, **dataclasses.asdict(task.score(example, text))} for kind, text in texts.items()
    }


def _solution(example: Example) -> str:
    return example.answer if example.demonstration is None else example.demonstration


def _text(facts: Mapping[str, Any]) -> str:
    from whet.cli._output import columns, short

    example, counts = facts["example"], facts["examples"]
    answer = example["answer"] if "\n" not in example["answer"] else short(repr(example["answer"]))
    rows = [("answer", answer), *((f"tag {tag}", value) for tag, value in example["tags"].items())]
    scores = [
        (kind, f"{s['value']:g}", short(repr(s["text"])), s["detail"]) for kind, s in facts["scores"].items()
    ]
    settings = [
        (name, short(dumps(facts["task"][name], ensure_ascii=False)), about.partition("\n")[0])
        for name, about in facts["settings"].items()
        if name != "name"
    ]
    turns = f"; up to {facts['turns']['max_turns']} turns" if "turns" in facts else ""
    parts = [
        f"{facts['task']['name']}: {counts['train']} examples to train on, {counts['test']} to test on{turns}",
        f"an example\n{indent(example['prompt'], '  | ')}\n{columns(rows, '  ')}",
        f"its rewards{' of a single turn' * bool(turns)}\n{columns(scores, '  ')}",
        *([_prompt(facts["prompt"])] if "prompt" in facts else [f"settings\n{columns(settings, '  ')}"]),
    ]
    return "\n\n".join(parts)


def _prompt(shown: Mapping[str, Any]) -> str:
    """The prompt as a policy gets it: its text, its tokens, and what ends an answer."""
    form = "a conversation" if shown["chat"] else "plain text"
    ends = ", ".join(map(_token, shown["ends_completion"]))
    return "\n".join(
        [
            f"the prompt as the policy gets it: {form}, {shown['length']} tokens",
            indent(shown["text"], "  | ", lambda line: True),
            "  tokens",
            _TOKENS.fill("  ".join(map(_token, shown["tokens"]))),
            f"  a completion ends with {ends}",
            f"  a demonstration ends with {_token(shown['ends_demonstration'])}",
            *(f"  warning: {text}" for text in shown["warnings"]),
        ]
    )


def _token(token: Mapping[str, Any]) -> str:
    """In one word, so that no line breaks inside a token: a blank in it is written as an open box."""
    text = token["text"].replace(" ", "\u2423")
    return f"{token['id']}:{text!r}"
