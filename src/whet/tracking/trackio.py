"""trackio: metrics and config of a run in a local database, or in a Hugging Face Space.

The settings are trackio's own names, from the environment or `.env`: TRACKIO_PROJECT (default whet), TRACKIO_SPACE_ID,
TRACKIO_SERVER_URL; TRACKIO_DIR and HF_TOKEN are read by trackio itself, from the environment alone.

Steps that a resumed run gives up stay in trackio's database beside those that take their place.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from whet import keys
from whet.errors import RunError
from whet.tracking import remote

if TYPE_CHECKING:
    from whet.tracking.open import RunView


class Trackio:
    """Keeps every step's metrics."""

    def __init__(self, opened: Any) -> None:
        self._run = opened

    @classmethod
    def check(cls) -> None:
        """Raises `ConfigError` with the fix when the package is missing or `.env` contradicts itself."""
        remote.check("trackio")

    @classmethod
    def open(cls, run: RunView) -> Self:
        """A run named after the directory, or the same one again when the run is resumed.

        Raises `RunError` with the fix when trackio does not start.
        """
        file = run.directory / "trackio.json"
        known, is_known = remote.identity(
            file, {"project": keys.value("TRACKIO_PROJECT") or "whet", "name": run.directory.name}
        )
        try:
            opened, where = _init(known, is_known, remote.config_of(run.directory))
        except Exception as error:  # noqa: BLE001 - of another program, which may raise anything
            text = keys.hide(f"{type(error).__name__}: {error}")
            raise RunError(
                f"trackers: trackio did not start: {text}. Mend that, or leave trackio out of trackers"
            ) from None
        remote.keep_identity(file, known)
        print(f"trackio {where}; `trackio show --project {known['project']}`", flush=True)
        return cls(opened)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keeps one step."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Writes what is waiting."""
        import trackio

        with contextlib.redirect_stdout(io.StringIO()):
            trackio.finish()  # which forgets the run too, or it would be ended again at exit


def _init(known: Mapping[str, Any], is_known: bool, config: dict[str, Any]) -> tuple[Any, str]:
    import trackio

    space, server = keys.value("TRACKIO_SPACE_ID"), keys.value("TRACKIO_SERVER_URL")
    with contextlib.redirect_stdout(io.StringIO()):  # its notes would stand among ours
        opened = trackio.init(
            **known,
            space_id=space,
            server_url=server,
            config=config,
            resume="allow" if is_known else "never",
            embed=False,
        )
    return opened, keys.hide(space or server or str(trackio.TRACKIO_DIR))
