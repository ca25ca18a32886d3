"""RL_Practice: the keys of its YAML, the flags of its runners, and of its supervised stage."""

from __future__ import annotations

from whet.foreign_names.shared import ACCUMULATION, FULL_DISTRIBUTION, ONE_PROCESS

_PROBES = "probes (gradient_noise and effective_sample_size, each with `every`)"
_ENTROPY_PROBE = "not there: no probe of the entropy change (yet)"
_CURRICULUM = (
    "not there: no curriculum (yet); mixture has fixed weights, dapo replaces groups without a signal"
)
_UNREAD = "not needed: no code read it"

RL_PRACTICE: dict[str, dict[str, str]] = {
    "keys of the YAML": {
        "backbone": "policy.model",
        "eval_backbone": "not needed: an evaluation loads what the run trained",
        "rollout_batch_size": "engine.max_rows (completions in flight)",
        "num_generations": "batch.num_generations",
        "tf_micro_batch microbatch_size micro_batch_size prompts_per_microbatch": ACCUMULATION,
        "grad_accum_steps": ACCUMULATION,
        "save_rollouts_every": "log_completions (every rollout; the key was read by nothing)",
        "buffer_size": "batch.prompts_per_step",
        "ppo_epochs": "algorithm.num_iterations",
        "max_new_tokens": "sampling.max_completion_length",
        "temperature": "sampling.temperature",
        "eval_frac": "eval.subset_frac",
        "eval_batch_size": "engine.max_rows",
        "eval_temperature": "eval.temperature",
        "reward_var_thresh reject_all_zero reject_all_max": (
            "algorithm.name (dapo replaces groups whose rewards are equal, at most batch.max_generation_rounds times)"
        ),
        "reward_fns": "verifier (combine has several, with weights)",
        "scheduler": _CURRICULUM,
        "scheduler.name scheduler.ema_alpha scheduler.boundaries scheduler.sample_weights": _CURRICULUM,
        "scheduler.dataset_name": "task (gsm8k with task.format=tags is its template)",
        "scheduler.split": "not needed: training takes the train split",
        "lr": "optimizer.learning_rate",
        "clip_eps": "algorithm.epsilon",
        "clip_+": "algorithm.epsilon_high",
        "kl_beta": "algorithm.beta",
        "ent_coef": "algorithm.entropy_coef",
        "grad_clip": "optimizer.max_grad_norm",
        "bf16": "policy.precision (auto, fp32 or bf16 with fp32 masters; fp16 is not there)",
        "gradient_checkpointing": "policy.activation_checkpointing",
        "lr_scheduler": "optimizer.schedule (const is constant; optimizer.warmup_steps are steps)",
        "save_every": "save_every",
        "total_steps": "max_steps",
        "lora_ckpt": "policy.lora.adapter (or init_from with a run)",
        "sketch_r": _UNREAD,
        "entropy_probe entropy_probe.every entropy_probe.out_dir": _ENTROPY_PROBE,
        "gns_probe gns_probe.enabled gns_probe.every": _PROBES,
        "gns_probe.small_B gns_probe.large_B gns_probe.window_size": "not needed: groups are the unit of the estimate",
        "gns_probe.ema gns_probe.ema_alpha gns_probe.debug": "not needed: raw sums are logged, smooth them in a plot",
        "inherit": "whet train BASE.yaml MORE.yaml (later files win)",
    },
    "rl_runner.py and resume_training.py": {
        "--cfg": "whet train CONFIG",
        "--ckpt": "policy.lora.adapter",
        "--resume-optimizer --resume-scheduler --resume-training-info": "whet resume RUN (everything, bit for bit)",
        "--training-run": "whet resume RUN (a path, a name, its unique beginning, or latest)",
        "--from-step": "whet resume RUN --from-step STEP",
        "--additional-steps": "whet resume RUN --additional-steps K",
        "--num-gpus --no-torchrun --local-rank": ONE_PROCESS,
    },
    "eval_batch.py, evals.eval_runner and evals.cli": {
        "--steps": "whet eval RUN --steps 1,5,10 (or --all-steps)",
        "--eval-dataset": "eval.task",
        "--subset-frac": "eval.subset_frac",
        "--top-p": FULL_DISTRIBUTION,
        "--num-return-sequences num_return_sequences": "eval.num_samples",
        "--max-new-tokens": "sampling.max_completion_length",
        "--batch-size --profile --list-profiles": "engine.max_rows",
        "--ft-dataset --ckpt-path --ckpt-step": "not needed: RUN:STEP names the checkpoint",
        "--runs-root": "runs_root",
        "--analysis --base-root --save-dir --gens-per-prompt": "whet eval RUN --all-steps (a table, a CSV and a plot)",
    },
    "fine_tuning.sft and the rest": {
        "epochs": "num_epochs",
        "warmup": "optimizer.warmup_steps",
        "max_seq": "policy.context_length",
        "r": "policy.lora.r",
        "alpha": "policy.lora.alpha",
        "LOCALFS_ROOT EVAL_RUNS_ROOT": "runs_root (or the variable WHET_RUNS)",
        "DATA_ROOT CKPT_ROOT": "not needed: paths in a config are what they say",
        "sync_to_s3.py": "not there: a run is a folder; copy it with what you have",
    },
}
