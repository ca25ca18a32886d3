"""Other people's engines on a case of the benchmarks: each makes the rows of a case with forced lengths."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from speed_case import Case
from timing import Spent

Rows = list[list[int]]


class AtLengths:
    """A stopping criterion for `generate`: row i has ended after `lengths[i]` tokens."""

    def __init__(self, prompt_length: int, lengths: Sequence[int]) -> None:
        self._ends = torch.tensor(lengths) + prompt_length

    def __call__(self, token_ids: Tensor, _scores: Any, **_: Any) -> Tensor:
        """Which rows have ended, bool `[n]`."""
        return self._ends <= token_ids.shape[1]


@torch.inference_mode()
def generate(model: Any, case: Case, **settings: Any) -> Rows:
    """transformers' `generate`; the settings go to it. Sampling is from the whole softmax."""
    lengths = case.forced()
    ids = torch.tensor(case.row_prompts())
    found = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max(lengths),
        stopping_criteria=[AtLengths(case.prompt_length, lengths)],
        **{"do_sample": True, "temperature": 1.0, "top_k": 0, **settings},
    )
    return [
        row[:length] for row, length in zip(found[:, case.prompt_length :].tolist(), lengths, strict=True)
    ]


@torch.no_grad()
def continuous_batching(model: Any, case: Case) -> Rows:
    """transformers' continuous batching, every completion in flight at once, on pages of 32 tokens."""
    from transformers import ContinuousBatchingConfig

    lengths = case.forced()
    pages = sum(-(-(case.prompt_length + length) // 32) + 1 for length in lengths)
    config = ContinuousBatchingConfig(
        page_size=32,
        num_blocks=pages,
        max_batch_tokens=case.num_rows * case.prompt_length,
        max_requests_per_batch=case.num_rows,
    )
    sampling = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, eos_token_id=-1)
    with model.continuous_batching_context_manager(
        generation_config=sampling, continuous_batching_config=config, timeout=5
    ) as manager:
        pairs = zip(case.row_prompts(), lengths, strict=True)
        names = [manager.add_request(ids, max_new_tokens=length) for ids, length in pairs]
        found: dict[str, list[int]] = {}
        while len(found) < len(names):
            result = manager.get_result(timeout=1)
            if result is not None and result.is_finished():
                found[result.request_id] = list(result.generated_tokens)
            elif result is None and not manager.is_running():
                raise RuntimeError("continuous batching ended before every completion was made")
    return [found[name] for name in names]


class VLLM:
    """vLLM in a process of its own, which waits while others take their turn."""

    def __init__(self, python: str, checkpoint: Path, case: Case) -> None:
        worker = Path(__file__).with_name("vllm_worker.py")
        self._process = subprocess.Popen(
            [python, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        asked = {"model": str(checkpoint), "prompts": case.row_prompts(), "lengths": case.forced()}
        self.about = self._ask(asked)

    def __call__(self) -> Spent:
        """One run, timed where it happens."""
        found = self._ask({"run": True})
        return Spent(found["wall_s"], found["cpu_s"], {})

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=60)

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:  # vLLM writes lines of its own
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError("the vLLM process ended; its last words stand above")


def peers_of(model: Any, case: Case, names: Sequence[str]) -> dict[str, Callable[[], Rows]]:
    """The engines of transformers by name."""
    every: dict[str, Callable[[], Rows]] = {
        "generate": lambda: generate(model, case),
        "generate_static": lambda: generate(model, case, cache_implementation="static", disable_compile=True),
        "continuous_batching": lambda: continuous_batching(model, case),
    }
    return {name: every[name] for name in names}
