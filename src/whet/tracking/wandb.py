"""Weights & Biases: metrics, config and a table of completions of a run.

The settings are W&B's own names, from the environment or `.env`: WANDB_API_KEY, WANDB_PROJECT (default whet),
WANDB_ENTITY, WANDB_MODE, WANDB_BASE_URL, WANDB_NAME (default: the run directory's name), WANDB_RUN_GROUP, WANDB_TAGS.

The x axis is our `step`, a metric like the others, and not W&B's own counter: W&B drops whatever is logged at a lower
count than before, and a run that goes back to a checkpoint would lose its steps. Steps that were given up stay in
W&B's history, before those that take their place; the latter are the newer rows, and the values of the summary.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from whet import keys
from whet.errors import ConfigError, RunError
from whet.tracking import remote
from whet.tracking.reach import why_unreachable

if TYPE_CHECKING:
    from whet.tracking.open import RunView

ROWS = 16
"""Completions in a table."""
_TAIL = 1 << 18
_INIT_TIMEOUT_S = 60
_FINISH_TIMEOUT_S = 300
_ONLINE = {"online", "shared", "run"}
_OTHERWISE = "or set WANDB_MODE=offline (`wandb sync` uploads later), or leave wandb out of trackers"


class WandB:
    """Sends every step's metrics, and a few completions with every evaluation and at the end."""

    def __init__(self, opened: Any, directory: Path) -> None:
        self._run = opened
        self._directory = directory
        self._step = 0
        self._shown_step: int | None = None
        self._epoch = 0.0

    @classmethod
    def check(cls) -> None:
        """Raises `ConfigError` with the fix when a run could not be opened: no package, no key, two keys, no answer."""
        remote.check("wandb")
        if _mode() not in _ONLINE:
            return
        url = _base_url()
        if not _has_key(url):
            raise ConfigError(
                "trackers: wandb has no key: run `wandb login`, or write WANDB_API_KEY=... into .env, "
                + _OTHERWISE
            )
        if why := why_unreachable(url):
            raise ConfigError(f"trackers: wandb cannot reach {url} ({why}): mend the network, {_OTHERWISE}")

    @classmethod
    def open(cls, run: RunView) -> Self:
        """A W&B run named after the directory, or the same one again when the run is resumed.

        Raises `RunError` with the fix when W&B does not start.
        """
        import wandb

        file = run.directory / "wandb.json"
        fresh = {
            "id": secrets.token_hex(4),
            "project": keys.value("WANDB_PROJECT") or "whet",
            "entity": keys.value("WANDB_ENTITY"),
        }
        known, _ = remote.identity(file, fresh)
        tags = keys.value("WANDB_TAGS")
        try:
            opened = wandb.init(
                **known,
                name=keys.value("WANDB_NAME") or run.directory.name,
                group=keys.value("WANDB_RUN_GROUP"),
                tags=tags.split(",") if tags else None,
                mode=cast(Any, _mode()),
                dir=str(run.directory),
                config=remote.config_of(run.directory),
                allow_val_change=True,
                resume="allow",
                reinit="create_new",
                settings=_settings(),
            )
            opened.define_metric("step", hidden=True)
            opened.define_metric("*", step_metric="step")
        except Exception as error:  # noqa: BLE001 - of another program, which may raise anything
            # Without its cause: a traceback could show a key.
            text = keys.hide(f"{type(error).__name__}: {error}")
            raise RunError(f"trackers: wandb did not start: {text}. Mend that, {_OTHERWISE}") from None
        remote.keep_identity(file, {**known, "entity": opened.entity or known["entity"]})
        print(f"wandb {opened.url or opened.dir}", flush=True)
        return cls(opened, run.directory)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Sends one step."""
        self._step, self._epoch = step, metrics.get("progress/epoch", self._epoch)
        row: dict[str, Any] = {"step": step, **metrics}
        if any(name.startswith("eval/") for name in metrics):
            row |= self._completions()
        self._run.log(row)

    def close(self) -> None:
        """Sends the last completions and ends the W&B run as this one ended."""
        if table := self._completions():
            self._run.log({"step": self._step, **table})
        summary = self._directory / "summary.json"
        state = json.loads(summary.read_text(encoding="utf-8")).get("state") if summary.exists() else ""
        self._run.finish(exit_code=int(state == "failed"))

    def _completions(self) -> dict[str, Any]:
        """A table of the newest rollouts, unless they have been shown."""
        import wandb

        rows = _newest_rollouts(self._directory / "logs" / "rollouts.jsonl")
        if not rows or rows[-1]["step"] == self._shown_step:
            return {}
        self._shown_step = rows[-1]["step"]
        data = [[self._epoch, r["step"], r["prompt"], r["text"], r["reward"]] for r in rows]
        columns = ["epoch", "step", "prompt", "completion", "reward"]
        return {"completions": wandb.Table(columns=columns, data=data)}


def _newest_rollouts(file: Path) -> list[dict[str, Any]]:
    """The last ROWS of the log, from its end: it can be large."""
    if not file.exists():
        return []
    with file.open("rb") as log:
        start = max(0, log.seek(0, 2) - _TAIL)
        log.seek(start)
        lines = log.read().splitlines()
    whole = lines[1:] if start else lines
    return [json.loads(line) for line in whole[-ROWS:]]


def _settings() -> Any:
    """Nothing of the machine beyond its load: W&B would note arguments, environment, code and the git remote."""
    import wandb

    given = {"api_key": keys.value("WANDB_API_KEY"), "base_url": keys.value("WANDB_BASE_URL")}
    return wandb.Settings(
        **{name: value for name, value in given.items() if value},
        console="off",
        silent=True,
        x_disable_meta=True,
        disable_git=True,
        disable_code=True,
        init_timeout=_INIT_TIMEOUT_S,
        finish_timeout=_FINISH_TIMEOUT_S,
    )


def _mode() -> str:
    import wandb

    mode = keys.value("WANDB_MODE") or str(wandb.setup().settings.mode)
    known = (*sorted(_ONLINE), "offline", "dryrun", "disabled")
    if mode not in known:
        raise ConfigError(f"WANDB_MODE is {mode!r}; expected online, offline or disabled")
    return mode


def _base_url() -> str:
    import wandb

    return keys.value("WANDB_BASE_URL") or str(wandb.setup().settings.base_url)


def _has_key(url: str) -> bool:
    """Whether there is one in the environment, in `.env`, in W&B's own settings, or where `wandb login` wrote it."""
    import netrc
    import os
    from urllib.parse import urlsplit

    import wandb

    settings = wandb.setup().settings
    if keys.value("WANDB_API_KEY") or settings.api_key or settings.identity_token_file:
        return True
    named = os.environ.get("NETRC")
    for file in [named] if named else ["~/.netrc", "~/_netrc"]:
        try:
            logins = netrc.netrc(Path(file).expanduser())
        except (OSError, netrc.NetrcParseError):
            continue
        if any(logins.authenticators(host) for host in (urlsplit(url).netloc, "api.wandb.ai")):
            return True
    return False
