"""The engine over vLLM: a copy of the policy, in this process or in a server's, that is proven to be the policy.

After every update of the policy the copy gets its weights under a version and a checksum, and a canary prompt is
sampled greedily: the copy's log-probabilities must be those of the trainer's own forward.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from whet.engines._vllm_canary import Canary
from whet.engines._vllm_remote import RemoteWorker, ServerProcess
from whet.engines._vllm_server import LOOPBACK, main
from whet.engines._vllm_worker import Ask, Held, LocalWorker, Piece, Setup, Worker
from whet.engines._wishes import OnToken, Wish, completion, wishes_of
from whet.errors import DataError, EngineError, Interrupted
from whet.interfaces import Policy
from whet.models.fingerprint import digest
from whet.models.gpt import GPT
from whet.models.gpt2_layout import to_gpt2
from whet.registry import Plugin
from whet.text.stopping import Ending
from whet.types import Completion, Request, SamplingParams

_log = logging.getLogger(__name__)

_SEED_BITS = (1 << 63) - 1


class Vllm(Plugin):
    """Settings of the engine over vLLM: in this process, unless `python` or `url` names another one."""

    name: str = "vllm"
    python: str | None = None
    """Python of an environment that has vLLM and whet: a server is started with it, and ends with the run."""
    url: str | None = None
    """A server that is running already (`python -m whet.engines.vllm --port 8021`), on this machine."""
    max_rows: int = Field(default=256, ge=1)
    """Completions in flight; more of them queue."""
    kv_cache_gb: float = Field(default=4.0, gt=0.0)
    """Memory for keys and values; at least one sequence of the policy's whole context must fit."""
    canary_tolerance: float | None = Field(default=None, gt=0.0)
    """Largest gap, in nats, of the canary's log-probabilities; default: 0.001 in fp32, 0.2 in bf16."""
    timeout_s: float = Field(default=600.0, gt=0.0)
    """For each answer of a server, its start included."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Further arguments of `vllm.LLM`, such as `enforce_eager`."""

    @field_validator("url")
    @classmethod
    def _is_loopback(cls, value: str | None) -> str | None:
        place = urlsplit(value or f"http://{LOOPBACK[0]}:1")
        if place.scheme != "http" or place.netloc.rpartition(":")[0] not in LOOPBACK or not place.port:
            raise ValueError(
                "expected the address of a server on this machine, such as http://127.0.0.1:8021: it takes weights "
                "from whoever reaches it"
            )
        return value

    @model_validator(mode="after")
    def _is_one_place(self) -> Vllm:
        if self.url is not None and self.python is not None:
            raise ValueError("url names a server that runs already, and python starts one: give one of them")
        return self

    @property
    def kv_cache_bytes(self) -> int:
        """Memory for keys and values."""
        return int(self.kv_cache_gb * 2**30)

    def build(self, policy: Policy) -> VllmEngine:
        """An engine whose copy is made at the first call of `generate`."""
        return VllmEngine(policy, self, self._worker())

    def _worker(self) -> Callable[[], Worker]:
        if self.url is not None:
            return lambda: RemoteWorker(cast(str, self.url), self.timeout_s)
        if self.python is not None:
            return lambda: _started(cast(str, self.python), self.timeout_s)
        local = LocalWorker()  # raises where vLLM is missing
        return lambda: local


def _started(python: str, timeout_s: float) -> Worker:
    try:
        process = ServerProcess(python)
    except OSError as error:
        raise EngineError(
            f"engine.python: {python} cannot be run ({error}); expected the Python of an environment that has vllm "
            "and whet, such as .venv-vllm/bin/python"
        ) from error
    return RemoteWorker(process.url, timeout_s, process)


class VllmEngine:
    """Draws completions from a copy of the policy, and keeps the copy the same as the policy."""

    def __init__(self, policy: Policy, settings: Vllm, worker: Callable[[], Worker]) -> None:
        if not isinstance(policy.module, GPT) and not hasattr(policy.module, "generate"):
            raise DataError(
                f"the vllm engine needs a transformers model or a from_scratch policy, found a "
                f"{type(policy.module).__name__}"
            )
        self._policy = policy
        self._settings = settings
        self._open = worker
        self._worker: Worker | None = None
        self._held: Held | None = None
        self._canary = Canary(policy, settings.canary_tolerance)

    def generate(
        self,
        requests: Iterable[Request],
        params: SamplingParams,
        should_stop: Callable[[], bool] = lambda: False,
        on_token: OnToken | None = None,
    ) -> Iterator[Completion]:
        """Completions as they finish. Raises `Interrupted` soon after `should_stop` turns true.

        Raises `DataError` for a request whose prompt and longest completion exceed the context, and `EngineError`
        when the copy is lost or does not hold the policy's weights.
        """
        wishes = list(wishes_of(requests, self._policy, params))
        if not wishes:
            return
        worker, held = self._synchronised()
        ending = Ending(self._policy.tokenizer, params.stop)
        rows = {place: _Row(w, on_token) for place, w in enumerate(wishes)}
        asks = [Ask(place, w.prompt_ids, w.key & _SEED_BITS, w.limit) for place, w in enumerate(wishes)]
        with closing(cast(Any, worker.generate(asks, params, ending.stop_ids))) as steps:
            for pieces in steps:
                if should_stop():
                    raise Interrupted
                done, cut = _take(pieces, rows, ending)
                late = _late(rows, params.timeout_s)
                if cut or late:
                    worker.cancel([*cut, *late])
                for row in (*done, *late.values()):
                    yield completion(row.wish, row.token_ids, row.logprobs, ending, held.version)
        if rows:
            raise EngineError(
                f"vLLM left {len(rows)} of {len(wishes)} completions unfinished: resume the run"
            )
        _check_held(worker, held, "after sampling")

    def _synchronised(self) -> tuple[Worker, Held]:
        """The copy, and which weights it has: those of the policy at this moment."""
        if self._worker is None:
            self._worker = self._open()
        if self._held is None or self._held.version != self._policy.version:
            self._held = self._push(self._worker)
        else:
            _check_held(self._worker, self._held, "before sampling")
        return self._worker, self._held

    def _push(self, worker: Worker) -> Held:
        """Sends the weights, and proves that they arrived."""
        start, module = time.perf_counter(), _plain_module(self._policy)
        if self._held is None:
            worker.load(self._setup(module))
        tensors = weights_of(module)
        held = Held(self._policy.version, digest(tensors))
        worker.update(held, tensors)
        _check_held(worker, held, "after the update")
        gap = self._canary.check(worker, held)
        _log.debug("vLLM has %s: canary gap %.2g nats, %.2f s", held, gap, time.perf_counter() - start)
        return held

    def _setup(self, module: Any) -> Setup:
        weight = next(module.parameters())
        return Setup(
            config={**json.loads(module.config.to_json_string()), "architectures": [type(module).__name__]},
            dtype=str(weight.dtype).removeprefix("torch."),
            max_length=self._policy.context_length,
            max_rows=self._settings.max_rows,
            kv_cache_bytes=self._settings.kv_cache_bytes,
            # Compiling for a CPU takes minutes, and decodes no faster.
            options={"enforce_eager": weight.device.type == "cpu", **self._settings.options},
        )


class _Row:
    """What has been sampled of one wish."""

    def __init__(self, wish: Wish, on_token: OnToken | None) -> None:
        self.wish = wish
        self.token_ids: list[int] = []
        self.logprobs: list[float] = []
        self.begun = math.inf  # when its first token came
        self._on_token = on_token

    def append(self, token: int, logprob: float) -> None:
        self.begun = min(self.begun, time.monotonic())
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        if self._on_token is not None:
            self._on_token(self.wish.request, self.wish.sample, token)


def _take(pieces: Iterable[Piece], rows: dict[int, _Row], ending: Ending) -> tuple[list[_Row], list[int]]:
    """Adds pieces to their rows, and takes out those that have ended: all of them, and which vLLM does not know of.

    vLLM knows of stop ids only; a stop string is found here, and what was sampled beyond it is left out.
    """
    done, cut = [], []
    for piece in pieces:
        row = rows.get(piece.place)
        if row is None:
            continue  # sampled while its end was under way
        has_ended = piece.is_last
        for token, logprob in zip(piece.token_ids, piece.logprobs, strict=True):
            row.append(token, logprob)
            if ending.needs_text and ending.reached(row.token_ids):
                has_ended = True
                cut += [] if piece.is_last else [piece.place]
                break
        if has_ended:
            done.append(rows.pop(piece.place))
            _check_ended(row, ending)
    return done, cut


def _check_ended(row: _Row, ending: Ending) -> None:
    """Raises `EngineError` for a completion that vLLM gave up."""
    count = len(row.token_ids)
    if count != row.wish.limit and not (count and ending.reached(row.token_ids)):
        raise EngineError(
            f"vLLM gave up a completion after {count} of {row.wish.limit} tokens: resume the run; less may be in "
            "flight with a lower engine.max_rows"
        )


def _late(rows: dict[int, _Row], timeout_s: float | None) -> dict[int, _Row]:
    """Takes out the rows, by place, whose first token is that long ago."""
    if timeout_s is None:
        return {}
    before = time.monotonic() - timeout_s
    return {place: rows.pop(place) for place in list(rows) if rows[place].begun <= before}


def _check_held(worker: Worker, expected: Held, when: str) -> None:
    found = worker.held()
    if found != expected:
        raise EngineError(
            f"vLLM holds stale weights {when}: the policy is at {expected}, vLLM has {found}. Is another program "
            "updating the same server? End it, start the server again and resume the run"
        )


def _plain_module(policy: Policy) -> Any:
    """The policy as a transformers model without adapters: itself, or a copy of these weights."""
    if isinstance(policy.module, GPT):
        return to_gpt2(policy.module, policy.tokenizer.eos_id)
    has_adapter = getattr(getattr(policy, "settings", None), "lora", None) is not None
    return cast(Any, policy).merged() if has_adapter else policy.module


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model by name; of those that are tied the first one."""
    found: dict[int, str] = {}
    state = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
    for name, tensor in state.items():
        found.setdefault(tensor.data_ptr(), name)
    return {name: state[name] for name in found.values()}


if __name__ == "__main__":
    main()
