"""`whet serve` in a process of its own, as a person starts and ends it."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest


@pytest.fixture
def serving(tiny_run):
    """The process and the URL; what it printed before."""
    command = [sys.executable, "-m", "whet", "serve", str(tiny_run), "--port", "0", "--name", "sums"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = "".join(iter(process.stdout.readline, "\n"))
            yield process, said
        finally:
            process.kill()


def ask(url, **body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=["SIGINT", "SIGTERM"]
)
def test_it_answers_the_command_that_it_prints_and_a_signal_ends_it_without_a_trace(serving, number):
    process, said = serving
    url = re.match(r"(http://127\.0\.0\.1:\d+/v1) serves sums; Ctrl-C ends it\n", said)[1]
    example = re.fullmatch(rf"curl {url}/completions -H .* -d '(.*)'\n", process.stdout.readline())[1]
    assert re.fullmatch(r"\d\+\d=", json.loads(example)["prompt"])
    answer = ask(f"{url}/completions", **json.loads(example))
    assert answer["model"] == "sums"
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "\nended\n", "")


def test_a_port_that_is_taken_ends_it_with_what_to_do(whet, tiny_run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = whet("serve", tiny_run, "--port", str(taken.getsockname()[1]))
    assert ended.code == 2
    assert "Choose another with --port; 0 takes a free one" in ended.err


def test_merging_without_an_adapter_is_refused(whet, tiny_run):
    ended = whet("serve", tiny_run, "--port", "0", "--merged")
    assert ended.code == 2
    assert "this policy has none" in ended.err


def test_a_run_that_is_not_there_is_named(whet):
    ended = whet("serve", "nowhere", "--port", "0")
    assert ended.code == 2
    assert "there is no run 'nowhere'" in ended.err
