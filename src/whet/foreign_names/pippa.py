"""pippa: the fields of its ExperimentConfig, and the flags of its scripts."""

from __future__ import annotations

from whet.foreign_names.shared import ACCUMULATION, STEP

PIPPA: dict[str, dict[str, str]] = {
    "ExperimentConfig": {
        "exp_name": "runs_root (a run is named by its time)",
        "seed": "seed",
        "torch_deterministic": "not needed: a seed gives the same bits on one machine with the same num_threads",
        "track": "trackers (wandb is one of them)",
        "wandb_project_name": "trackers (wandb; its project is the variable WANDB_PROJECT)",
        "model_name": "policy.model",
        "total_epochs": "num_epochs",
        "learning_rate": "optimizer.learning_rate",
        "per_device_train_batch_size": STEP,
        "gradient_accumulation_steps": ACCUMULATION,
        "warmup_ratio": "optimizer.warmup_steps (in steps)",
        "weight_decay": "optimizer.weight_decay",
        "num_generations": "batch.num_generations",
        "temperature": "sampling.temperature",
        "max_prompt_length": "sampling.max_prompt_length",
        "max_completion_length": "sampling.max_completion_length",
        "beta": "algorithm.beta",
        "correctness_weight length_penalty_weight": "verifier (combine: parts with weights)",
        "target_response_length": "verifier (length: target_length, in characters or words)",
        "max_response_length": "verifier (length: max_length)",
        "num_workers": "not needed: examples are in memory",
        "output_dir": "runs_root (a run makes its own folder there)",
        "logging_steps": "logging_every",
        "save_strategy": "save_every (steps between checkpoints; 0 saves at the end only)",
        "save_total_limit": "keep_checkpoints",
    },
    "flags of the scripts": {
        "--task --dataset_type": "task (arithmetic, counting, comparison, base_conversion, echo, pattern, ...)",
        "--model_name": "policy.model",
        "--batch_size": STEP,
        "--num_generations num_gens": "batch.num_generations",
        "--epochs epochs": "num_epochs",
        "--lr --learning_rate": "optimizer.learning_rate",
        "--temperature": "sampling.temperature",
        "--max_completion_length": "sampling.max_completion_length",
        "--seed": "seed",
        "--n_samples n_samples": "task.num_train (of a generated task; task.limit of a file)",
        "--gradient_accumulation_steps accum": ACCUMULATION,
        "--beta": "algorithm.beta",
        "--min_num": "task.min_operand",
        "--max_num": "task.max_operand",
        "--exp_name": "runs_root",
        "--tags": "not there: a run has its config and its time",
    },
    "the overfit ladder": {
        "first_100_rows": "task.limit",
        "evaluate_on_train": "eval.split (train; every result says so)",
        "run_overfit_experiments.py": "whet sweep CONFIG ...",
        "remote_train.sh": "not needed: Ctrl-C and SIGTERM save; `whet resume` goes on",
    },
}
