"""Runs vLLM for `rollout.py`: reads what to do from standard input, a JSON object a line, and answers likewise.

Needs vllm only, nothing of whet. The engine runs inside this process, so that its CPU time can be read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2"),
    "VLLM_LOGGING_LEVEL": "ERROR",
    "OMP_NUM_THREADS": "1",
}


def main() -> None:
    """Loads the model of the first line, then makes its completions once for each line that follows."""
    answers, sys.stdout = sys.stdout, sys.stderr
    asked = json.loads(sys.stdin.readline())
    start = time.perf_counter()
    run = prepared(asked)
    run()
    about = {"start_s": time.perf_counter() - start, "version": _version()}
    print(json.dumps(about), file=answers, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        made = run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert made == asked["lengths"], "vLLM made other lengths than were forced"
        print(json.dumps({"wall_s": wall, "cpu_s": cpu}), file=answers, flush=True)


def prepared(asked: dict[str, Any]) -> Any:
    """A function that makes all completions and returns their lengths."""
    from vllm import LLM, SamplingParams

    longest = max(map(len, asked["prompts"])) + max(asked["lengths"])
    llm = LLM(
        model=asked["model"],
        dtype="float32",
        skip_tokenizer_init=True,
        max_model_len=longest + 1,
        max_num_seqs=len(asked["prompts"]),
        max_num_batched_tokens=max(longest + 1, sum(map(len, asked["prompts"]))),
    )
    params = [
        SamplingParams(temperature=1.0, max_tokens=n, min_tokens=n, ignore_eos=True, detokenize=False)
        for n in asked["lengths"]
    ]
    prompts = [{"prompt_token_ids": ids} for ids in asked["prompts"]]

    def run() -> list[int]:
        llm.reset_prefix_cache()  # samples of a prompt share it within a run, not with the run before
        made = llm.generate(prompts, params, use_tqdm=False)
        return [len(one.outputs[0].token_ids) for one in made]

    return run


def _version() -> str:
    import vllm

    return str(vllm.__version__)


if __name__ == "__main__":
    main()
