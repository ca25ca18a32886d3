"""A worker that stands for vLLM: a transformers model from the setup's config, sampled token by token, slowly.

`python tests/vllm_stand_in.py --fd N` serves one like `python -m whet.engines.vllm`.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from whet.engines._vllm_server import HOST, end_with_parent, serve
from whet.engines._vllm_worker import NOTHING, Held, Piece
from whet.errors import EngineError
from whet.functional.sampling import sample
from whet.seeding import uniforms
from whet.types import SamplingParams


class StandIn:
    """Keeps every promise of a worker. `calls` are the names of those that came; `faults` are promises to break."""

    def __init__(self, *faults: str) -> None:
        self.faults = set(faults)
        self.calls: list[str] = []
        self.cancelled: set[int] = set()
        self._held = NOTHING
        self._model: Any = None

    def load(self, setup: Any) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        self.calls.append("load")
        if "dies" in self.faults:
            os._exit(7)
        settings = dict(setup.config)
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        self._model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, setup.dtype)).eval()

    def held(self) -> Held:
        if "says it is older" in self.faults:
            return Held(self._held.version - 1, self._held.checksum)
        if "has other weights" in self.faults:
            return Held(self._held.version, "0" * 64)
        return self._held

    def update(self, held: Held, tensors: Any) -> None:
        self.calls.append("update")
        if self.faults & {"hangs in update"}:
            time.sleep(3)
        is_first = self._held == NOTHING
        if is_first or "ignores updates" not in self.faults:
            self._model.load_state_dict(tensors, strict=False)
            self._model.tie_weights()
        if "loses a layer" in self.faults:
            with torch.no_grad():
                next(p for n, p in self._model.named_parameters() if "mlp" in n).mul_(3.0)
        self._held = held

    @torch.no_grad()
    def generate(self, asks: Any, params: SamplingParams, stop_ids: Any) -> Iterator[list[Piece]]:
        self.calls.append("generate")
        stops, rows = set(stop_ids), {a.place: list(a.prompt_ids) for a in asks}
        self.cancelled.clear()
        for step in range(params.max_completion_length):
            running = [a for a in asks if a.place in rows and a.place not in self.cancelled]
            if step == 2 and len(asks) > 1:
                self._fail()
            pieces = [self._piece(a, rows[a.place], step, params, stops) for a in running]
            if "gives up a row" in self.faults and step == 2 and len(asks) > 1:
                pieces[0] = pieces[0]._replace(is_last=True)
            for piece in pieces:
                rows[piece.place] += piece.token_ids
                if piece.is_last and "forgets rows" not in self.faults:
                    del rows[piece.place]
            if not pieces or ("forgets rows" in self.faults and step == 1 and len(asks) > 1):
                return
            yield pieces

    def _fail(self) -> None:
        if "raises while sampling" in self.faults:
            raise EngineError("vLLM could not sample: RuntimeError: out of memory")
        if "is updated by another" in self.faults:
            self._held = Held(self._held.version + 5, "1" * 64)

    def _piece(self, ask: Any, row: list[int], step: int, params: SamplingParams, stops: set[int]) -> Piece:
        logits = self._model(torch.tensor([row])).logits[:, -1]
        key, position = torch.tensor([ask.seed]), torch.tensor([step])
        token, logprob = sample(logits, uniforms(key, position), params)
        is_last = token.item() in stops or step + 1 == ask.limit
        return Piece(ask.place, [int(token)], [float(logprob)], is_last)

    def cancel(self, places: Any) -> None:
        self.calls.append("cancel")
        self.cancelled.update(places)


@contextmanager
def serving(worker: StandIn) -> Iterator[str]:
    """The URL of a server in a thread of this process."""
    listener = socket.create_server((HOST, 0))
    threading.Thread(target=serve, args=(listener, worker), daemon=True).start()
    yield f"http://{HOST}:{listener.getsockname()[1]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int)
    threading.Thread(target=end_with_parent, daemon=True).start()
    print("the stand-in serves", flush=True)
    faults = filter(None, os.environ.get("FAULTS", "").split(","))
    serve(socket.socket(fileno=parser.parse_args().fd), StandIn(*faults))
