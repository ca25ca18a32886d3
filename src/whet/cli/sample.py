"""`whet sample`: what a policy says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli._options import Json, RunName, RunsRoot

if TYPE_CHECKING:
    from whet.api import Generation


def command(
    run: RunName,
    prompt: Annotated[str, typer.Argument(help="Written as the run wrote its prompts.")],
    num_samples: Annotated[int, typer.Option(min=1, help="Completions.")] = 1,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="0 is greedy; default: the run's.")
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="The likeliest token every time.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same completions.")] = 0,
    max_completion_length: Annotated[
        int | None, typer.Option(min=1, help="Tokens; default: the run's.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The prompt is the very text that the policy sees, no conversation.")
    ] = False,
    system: Annotated[str | None, typer.Option(help="A system message, in place of the run's own.")] = None,
    runs_root: RunsRoot = "runs",
    json: Json = False,
) -> None:
    """Complete a prompt with the policy of a run."""
    from whet.api import load_policy
    from whet.cli._output import print_json

    wishes = {"temperature": 0.0 if greedy else temperature, "max_completion_length": max_completion_length}
    sampling: dict[str, Any] = {name: value for name, value in wishes.items() if value is not None}
    policy = load_policy(run, runs_root=runs_root)
    asked = prompt if system is None else _conversation(system, prompt)
    (completions,) = policy.generate(asked, num_samples, seed, raw, **sampling)
    if json:
        found = [dataclasses.asdict(c) for c in completions]
        print_json({"prompt": prompt, "seed": seed, "sampling": sampling, "completions": found})
    else:
        print("\n".join(map(_line, completions)))


def _conversation(system: str, prompt: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": prompt}]


def _line(completion: Generation) -> str:
    cut = "" if completion.finish_reason == "stop" else f"   (cut after {len(completion.token_ids)} tokens)"
    return completion.text + cut
