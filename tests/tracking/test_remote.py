"""Trackers of other programs may fail, and the run goes on."""

import logging
import socket
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from whet.errors import ConfigError
from whet.tracking import reach
from whet.tracking.open import check_trackers
from whet.tracking.remote import Tolerant, identity, keep_identity


class Rude:
    """Fails at steps 2 and 3, and at the end."""

    def __init__(self):
        self.steps = []

    def log(self, step, metrics):
        if step in (2, 3):
            raise ConnectionError("the key is planted-0123456789")
        self.steps.append(step)

    def close(self):
        raise ConnectionError("gone")


def test_a_failure_is_said_once_without_a_key_and_later_steps_are_offered_again(caplog, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "planted-0123456789")
    rude = Rude()
    tracker = Tolerant("rude", rude)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3, 4):
            tracker.log(step, {})
        tracker.close()
    assert rude.steps == [1, 4]
    (said,) = caplog.messages
    assert said.startswith(
        "tracker rude did not take step 2, and further failures are not told: ConnectionError"
    )
    assert "the key is ***" in said


def test_an_interruption_is_no_failure_of_a_tracker():
    class Interrupted:
        def log(self, step, metrics):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tolerant("x", Interrupted()).log(1, {})


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_whose_package_is_missing_is_refused_with_the_command(name, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"trackers: {name} needs .*pip install {name} \(.*'\.\[{name}\]'"):
        check_trackers(["console", name])


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_file_of_keys_that_contradicts_itself_is_refused_before_a_run_is_made(name, monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("WANDB_PROJECT=a\nWANDB_PROJECT=b\nTRACKIO_PROJECT=a\nTRACKIO_PROJECT=b\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"\.env: lines 3 and 4 give TRACKIO_PROJECT different values"):
        check_trackers([name])


def test_a_folder_of_the_same_name_is_not_the_package(monkeypatch, tmp_path):
    import sys

    import dotenv.main  # what reads keys must be loaded before the path has nothing else on it
    import dotenv.parser  # noqa: F401

    (tmp_path / "trackio").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    with pytest.raises(ConfigError, match="trackio needs the package"):
        check_trackers(["trackio"])


def test_an_identity_is_kept_from_the_first_time_on(tmp_path):
    file = tmp_path / "wandb.json"
    assert identity(file, {"id": "a"}) == ({"id": "a"}, False)
    keep_identity(file, {"id": "a"})
    assert identity(file, {"id": "b"}) == ({"id": "a"}, True)


@pytest.fixture
def server():
    """Answers every request with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *args): ...

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def without_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_service_that_answers_with_an_error_page_is_reached(server, without_proxy):
    assert reach.why_unreachable(server) is None


def test_a_service_that_is_not_there_is_not_reached(without_proxy):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert "refused" in reach.why_unreachable(url)


def test_a_service_that_never_answers_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(
        reach, "_ask", lambda url, timeout_s: time.sleep(5)
    )  # a look-up of a name can take that
    before = time.monotonic()
    assert reach.why_unreachable("http://slow", 0.1) == "no answer in 0.1 s"
    assert time.monotonic() - before < 2
