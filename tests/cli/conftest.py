"""Commands in this process: what they print and how they exit."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from whet.cli import main


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON value that is all there is on the standard output."""
        return json.loads(self.out)


@pytest.fixture
def whet(capsys, monkeypatch):
    """Runs `whet ...` and returns how it ended."""
    monkeypatch.delenv("WHET_RUNS", raising=False)

    def run(*arguments: str | Path) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return Ended(exit_.value.code or 0, out, err)

    return run
