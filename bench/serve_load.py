"""Asks a served policy many things at once, ten of them malformed, and prints what came back as JSON.

python bench/serve_load.py RUN --requests 200

Starts `whet serve RUN` in a process of its own, sends every request from a thread of its own at the same moment, ends
the server with SIGINT, and exits with 1 if an answer was lost, a malformed request was not refused with a 4xx, or the
server did not end cleanly.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

MALFORMED = (
    b"",
    b"{",
    b"[]",
    b'{"prompt": "1"}',
    b'{"model": MODEL}',
    b'{"model": "gpt-4", "prompt": "1"}',
    b'{"model": MODEL, "prompt": 7}',
    b'{"model": MODEL, "prompt": PROMPT, "temperature": "hot"}',
    b'{"model": MODEL, "prompt": PROMPT, "max_tokens": 1000000}',
    b'{"model": MODEL, "prompt": PROMPT, "temprature": 1}',
)


def main() -> None:
    """Prints one JSON object: answers, lost, refused, latencies, tokens per second, how the server ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="RUN as `whet serve` takes it")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=None, help="default: the run's")
    options = parser.parse_args()
    command = [sys.executable, "-m", "whet", "serve", options.run, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url, asked = started(server)
            if options.max_tokens:
                asked["max_tokens"] = options.max_tokens
            found = load(url, asked, options.requests)
            server.send_signal(signal.SIGINT)
            found["server_exit_code"] = server.wait(timeout=30)
        finally:
            server.kill()
    print(json.dumps(found, indent=2))
    is_good = not found["lost"] and set(found["malformed"]) <= set(range(400, 500))
    sys.exit(0 if is_good and found["server_exit_code"] == 0 else 1)


def started(server: subprocess.Popen[str]) -> tuple[str, dict[str, Any]]:
    """The address and the body of the example that the server prints once it listens."""
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.match(r"curl (\S+) .* -d '(.*)'$", line.replace("'\"'\"'", "\\u0027").strip()):
            return found[1], json.loads(found[2])
    sys.exit("the server did not start")


def load(url: str, asked: dict[str, Any], count: int) -> dict[str, Any]:
    """Sends all at the same moment; a seed of its own makes every request another one."""
    values = {b"MODEL": asked["model"], b"PROMPT": asked.get("prompt", "1")}
    bad = list(MALFORMED)
    for word, value in values.items():
        bad = [content.replace(word, json.dumps(value).encode()) for content in bad]
    good = [json.dumps({**asked, "seed": i}).encode() for i in range(count)]
    start = threading.Barrier(count + len(bad))
    with ThreadPoolExecutor(count + len(bad)) as pool:
        begun = time.perf_counter()
        answers = list(pool.map(lambda content: one(url, content, start), good + bad))
        wall_s = time.perf_counter() - begun
    right = [a for a in answers[:count] if a["status"] == 200]
    took = sorted(a["seconds"] for a in right) or [float("nan")]
    tokens = sum(a["tokens"] for a in right)
    return {
        "requests": count,
        "answered": len(right),
        "lost": count - len(right),
        "malformed": [a["status"] for a in answers[count:]],
        "latency_p50_s": round(took[len(took) // 2], 3),
        "latency_p95_s": round(took[int(len(took) * 0.95)], 3),
        "wall_s": round(wall_s, 3),
        "completion_tokens": tokens,
        "tokens_per_s": round(tokens / wall_s, 1),
    }


def one(url: str, content: bytes, start: threading.Barrier) -> dict[str, Any]:
    """Status, seconds and tokens of one request; status 0 when there was no whole answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=600)
    start.wait()
    begun = time.perf_counter()
    try:
        connection.request("POST", parts.path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"lost: {error!r}", file=sys.stderr)
        return {"status": 0, "seconds": 0.0, "tokens": 0}
    finally:
        connection.close()
    tokens = body.get("usage", {}).get("completion_tokens", 0)
    return {"status": answer.status, "seconds": time.perf_counter() - begun, "tokens": tokens}


if __name__ == "__main__":
    main()
