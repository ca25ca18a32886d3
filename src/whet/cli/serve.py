"""`whet serve`: a policy over HTTP, asked as OpenAI's API is."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli._options import RunsRoot

if TYPE_CHECKING:
    from whet.serving.served import Served


def command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run or checkpoint; or a model's directory or Hub name.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Another address lets other machines in.")] = "127.0.0.1",
    name: Annotated[
        str | None, typer.Option(help="What clients call the model; default: the run's name.")
    ] = None,
    merged: Annotated[bool, typer.Option("--merged", help="Fold the adapter into the weights.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    runs_root: RunsRoot = "runs",
) -> None:
    """Serve a policy on this machine, with OpenAI's API. Ctrl-C ends it."""
    from whet.serving import http, server
    from whet.serving.load import load_served

    http.require_extra()
    with server.listen(host, port) as listener:
        served = load_served(run, runs_root, name, device, merged)
        url = server.url_of(listener)
        if host not in http.LOOPBACK:
            print(
                f"warning: {host} lets every machine that reaches this one ask the model; there is no password"
            )
        print(f"{url}/v1 serves {served.name}; Ctrl-C ends it\n\n{_example(url, served)}", flush=True)
        server.serve(served, listener)
    print("\nended")


def _example(url: str, served: Served) -> str:
    """A command to copy."""
    is_chat = served.encoder.is_chat
    asked = (
        {"messages": [{"role": "user", "content": served.example}]} if is_chat else {"prompt": served.example}
    )
    path = "chat/completions" if is_chat else "completions"
    body = shlex.quote(json.dumps({"model": served.name, **asked}))
    return f"curl {url}/v1/{path} -H 'Content-Type: application/json' -d {body}"
