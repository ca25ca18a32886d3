"""Jobs of these tests draw no picture."""

import pytest

from whet.training import launch


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "plot_run", lambda run: None)
