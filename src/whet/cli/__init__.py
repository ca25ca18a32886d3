"""The command line: the file name is the verb, and what its `command` needs is imported when it runs."""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from whet.cli._misspelt import refuse_misspelt_settings
from whet.errors import SettingWarning, Terminated, WhetError

_ORDER = (
    *("init", "configs", "tasks", "check", "smoke", "tune"),  # before a run
    *("train", "sft", "sweep", "resume"),
    *("runs", "show", "eval", "sample", "serve", "merge", "export"),  # after it
)
"""Of the verbs in the help; others follow."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits. A person's mistake ends with its message and code 2, without a traceback."""
    _wait_briefly()
    _say_what_is_slower()
    signal.signal(signal.SIGTERM, _terminated)
    warnings.simplefilter("ignore", SettingWarning)  # `whet train` shows them, where they can be mended
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        program = typer.main.get_command(_app())
        refuse_misspelt_settings(program, words)
        program(words, prog_name="whet")
    except WhetError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _wait_briefly() -> None:
    """Lets threads without work stay awake for some microseconds, unless the environment says how they wait.

    To wake one that sleeps takes a virtual machine longer than many an operation on a small model; one that stays awake
    for long takes the core from another program. Read when torch is loaded, which no command has done yet.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # GNU's library, which comes with torch on Linux
        os.environ.setdefault("KMP_BLOCKTIME", "1")  # LLVM's and Intel's, in milliseconds


def _say_what_is_slower() -> None:
    """Lets whet's own lines through, as plain text on standard error: what a run does in a slower way, and why."""
    logging.getLogger("whet").setLevel(logging.INFO)
    if logging.lastResort is not None:  # the handler of a program that sets up none
        logging.lastResort.setLevel(logging.INFO)


def _terminated(number: int, frame: object) -> NoReturn:
    """Ends as after an exception, so that no process that was started is left behind."""
    raise Terminated(128 + number)


def _app() -> typer.Typer:
    app = typer.Typer(
        callback=_about,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    verbs = (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    for verb in sorted(verbs, key=lambda v: (_ORDER.index(v) if v in _ORDER else len(_ORDER), v)):
        app.command(verb)(importlib.import_module(f"{__name__}.{verb}").command)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"whet {version('whet')}")
        raise typer.Exit


def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Sharpens language models with reinforcement learning on rewards that can be verified.

    RUN is a path, a name, the unique beginning of a name, or `latest`; RUN:120, RUN:best and RUN:final are
    checkpoints. Runs are looked for in --runs-root, else in WHET_RUNS, else in ./runs.
    """
