"""`whet audit`: attacks a reward before anyone trains on it."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from whet.cli._options import Json, settings_of

if TYPE_CHECKING:
    from whet.evals.audit import Audit
    from whet.interfaces import Split, Task


def command(
    name: Annotated[
        str, typer.Argument(metavar="TASK|./FILE.py:FUNCTION", help="A task, or a reward function.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="Settings of the task, such as path=data/gsm8k, or sandbox.KEY=VALUE."
        ),
    ] = None,
    on: Annotated[
        str, typer.Option("--on", help="The task whose examples a reward function is tried on.")
    ] = "word_problems",
    split: Annotated[str, typer.Option(help="train or test.")] = "test",
    limit: Annotated[
        int, typer.Option(min=2, help="Examples to try; fewer where one score takes long.")
    ] = 64,
    full: Annotated[
        float | None, typer.Option(help="What a right answer gets. Default: the best that a solution gets.")
    ] = None,
    json: Json = False,
) -> None:
    """Attack a reward before training on it.

    Looked for is what wins without knowing the answer, and what is judged wrongly.

    Exits with 1 when an attack succeeds, a solution of the task does not get the full value, or a known answer is
    judged wrongly.
    """
    from whet.cli._output import print_json
    from whet.evals.audit import audit

    task = _task(name, on, settings or [])
    examples = task.examples(_split(split))
    print(f"attacking {name} on up to {limit} examples ...", file=sys.stderr, flush=True)
    found = audit(task, examples, full, limit)
    if json:
        print_json({**asdict(found), "defects": found.defects})
    else:
        print(_text(name, found))
    if found.defects:
        raise typer.Exit(1)


def _split(text: str) -> Split:
    from whet.errors import ConfigError

    if text not in ("train", "test"):
        raise ConfigError(f"--split is {text!r}; expected train or test")
    return cast("Split", text)


def _task(name: str, on: str, settings: list[str]) -> Task:
    """The task by name, or `on` with the function as its verifier."""
    from whet import registry, sandbox
    from whet.api import task as build
    from whet.config import SandboxConfig
    from whet.interfaces import Verifier

    of_sandbox = [text for text in settings if text.startswith("sandbox.")]
    if of_sandbox:
        sandbox.use(SandboxConfig.model_validate(settings_of(of_sandbox, "sandbox")))
    of_task: dict[str, Any] = settings_of([s for s in settings if s not in of_sandbox], "task")
    if ":" in name and issubclass(registry.load("verifiers", name), Verifier):
        return build(on, **{**of_task, "verifier": {"name": name, **of_task.get("verifier", {})}})
    return build(name, **of_task)


def _text(name: str, found: Audit) -> str:
    from whet.cli._output import columns

    rows = [("attack", "mean reward", "above the best constant", "")]
    rows += [
        (a.family, f"{a.mean:.3g}", f"{a.above_constant:+.3g}", f"WINS ({a.variant})" if a.succeeds else "")
        for a in found.attacks
    ]
    is_known = found.accepted.count + found.rejected.count > 0
    solutions = f"{found.gold_mean:.3g} on average; {len(found.gold_below)} below the full {found.full:.3g}"
    if math.isnan(found.gold_mean):
        solutions = f"{len(found.gold_below)} without a score" if is_known else "none is known"
    facts = [
        ("solutions", solutions),
        ("best constant", f"{found.constant_mean:.3g} ({found.constant})"),
        ("false accepts", f"{len(found.accepted.wrong)} of {found.accepted.count}"),
        ("false rejects", f"{len(found.rejected.wrong)} of {found.rejected.count}"),
        ("two scores", str(len(found.undetermined))),
        ("own failures", str(len(found.failures))),
        ("latency", f"{found.p50_ms:.2g} ms (half of the scores), {found.p99_ms:.2g} ms (99%)"),
    ]
    defects = found.defects
    verdict = [f"DEFECT  {defect}" for defect in defects] or [
        f"no attack succeeds{', and known answers are judged rightly' if is_known else '; no answer is known to judge'}"
    ]
    if ":" in name and found.gold_mean <= found.constant_mean:
        verdict.append(
            "Is it for answers of another form? Name a task that has them: --on arithmetic, or --on jsonl path=FILE"
        )
    return "\n".join(
        [
            f"{name}: {found.examples} examples",
            "",
            columns(rows, "  "),
            "",
            columns(facts, "  "),
            "",
            *verdict,
        ]
    )
