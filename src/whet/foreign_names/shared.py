"""Names that several tools share, names whose answer depends on where they stand, and names of plug-ins."""

from __future__ import annotations

ACCUMULATION = "batch.microbatch_tokens (a memory limit from which accumulation follows)"
STEP = "batch.prompts_per_step (prompts; completions are that times batch.num_generations)"
FULL_DISTRIBUTION = (
    "not there: training samples the full tempered distribution, because the ratio of a cut one is not that of the "
    "policy; sampling.temperature is the one knob"
)
LOGITS = "not needed: logits are made for trained tokens only, and for some of them at a time"
SAVED = "not needed: a checkpoint is complete, or does not exist"
ONE_PROCESS = "not there: one process trains, on one device"
WEIGHTS_STAY = (
    "not needed: nothing is moved out of memory; policy.quantization and policy.lora make it smaller"
)

SHARED: dict[str, str] = {
    # the place decides
    "batch.batch_size batch_size": STEP,
    "batch.size": STEP,
    "batch.group_size group_size num_samples_per_prompt": "batch.num_generations",
    "algorithm.eps algorithm.clip": "algorithm.epsilon",
    "algorithm.gamma algorithm.lam algorithm.gae_lambda": "not there: no critic; every token has the whole return",
    "algorithm.kl_coef kl_coef": "algorithm.beta",
    "algorithm.std_normalization": "algorithm.name (grpo divides by the standard deviation, dr_grpo does not)",
    "policy.r policy.rank": "policy.lora.r",
    "policy.alpha": "policy.lora.alpha",
    "policy.target_modules": "policy.lora.targets",
    "policy.adapter policy.adapter_path": "policy.lora.adapter",
    "policy.path policy.pretrained": "policy.model (under policy.name=huggingface)",
    "task.dataset task.file task.data": "task.path",
    "sampling.max_tokens max_tokens": "sampling.max_completion_length",
    "warm_start.learning_rate warm_start.lr": "warm_start.optimizer.learning_rate",
    # several tools
    "micro_batch_size": ACCUMULATION,
    "mini_batch_size": "algorithm.num_minibatches (a number of minibatches, not their size)",
    "ent_coeff entropy_coefficient": "algorithm.entropy_coef",
    "gradient_clipping clip_grad_norm": "optimizer.max_grad_norm",
    "reward reward_fn": "verifier",
    "model model_path": "policy.model (under policy.name=huggingface)",
    "adapter": "policy.lora.adapter (an adapter that training goes on with)",
    "quantization": "policy.quantization",
    "dataset": "task",
    "environment": "task",
    "system_prompt": "prompt.system",
    "steps num_steps": "max_steps",
    "lora_rank": "policy.lora.r",
    "lora": "policy.lora",
    "betas": "optimizer.betas",
    "gpus num_gpus n_gpus world_size": ONE_PROCESS,
    "cuda use_cuda": "device (cuda, or auto)",
    "wandb use_wandb": "trackers (wandb is one of them)",
    "wandb_project wandb_entity": "trackers (wandb; its project is the variable WANDB_PROJECT)",
}

_PREFERENCES = "whet has no loss for pairs of preferences: it trains on rewards that can be checked"
_CRITIC = (
    "whet has no critic (yet). Without one, the clipped surrogate of PPO is that of dr_grpo and grpo, "
    "with algorithm.num_iterations and algorithm.num_minibatches for several updates per step"
)
_ENGINES = "whet has no such engine: native and huggingface read the trainer's own weights, vllm has a copy"
PLUGINS: dict[str, dict[str, str]] = {
    "algorithms": {
        **dict.fromkeys(("dpo", "ipo", "kto", "orpo", "simpo", "online_dpo"), _PREFERENCES),
        **dict.fromkeys(("ppo", "gae", "a2c", "trpo", "vapo"), _CRITIC),
        "reinforce++": "In whet it is reinforce_pp",
        "reinforce_plus_plus": "In whet it is reinforce_pp",
        "reinforce_plus_plus_baseline": "In whet it is reinforce_pp with algorithm.group_baseline=true",
        "vanilla": "The plain one is reinforce",
        "sft": "Imitation is a stage: `whet sft CONFIG`, or stage=sft",
    },
    "engines": {
        **dict.fromkeys(("sglang", "tgi", "trtllm"), _ENGINES),
        "hf": "In whet it is huggingface",
        "transformers": "In whet it is huggingface",
    },
    "policies": {
        **dict.fromkeys(
            ("hf", "transformers", "pretrained", "auto"), "In whet it is huggingface, with policy.model"
        ),
        **dict.fromkeys(
            ("lora", "peft", "qlora"),
            "Adapters are settings of one policy: policy.name=huggingface policy.model=NAME policy.lora.r=16",
        ),
        **dict.fromkeys(
            ("mlppolicy", "cnnpolicy", "multiinputpolicy"),
            "whet trains language models: from_scratch, huggingface",
        ),
        "gpt": "A small one trained from nothing is from_scratch",
        "nanogpt": "A small one trained from nothing is from_scratch",
    },
    "tasks": {
        "openai/gsm8k": "In whet it is gsm8k",
    },
    "verifiers": {
        "accuracy_reward": "The usual choice is numeric (numbers) or exact (texts)",
        "accuracy": "The usual choice is numeric (numbers) or exact (texts)",
        "math_verify": "The usual choice is numeric",
        "format_reward": "In whet it is tags_format",
        "think_format_reward": "In whet it is tags_format",
        "length_reward": "In whet it is length",
        **dict.fromkeys(("multiple_choice", "mcq"), "In whet it is choice"),
        **dict.fromkeys(("regex", "regex_match"), "In whet it is regex_pattern"),
        **dict.fromkeys(("reasoning", "reasoning_steps_reward"), "In whet it is reasoning_steps"),
        "soft_overlong_punishment": "In whet it is algorithm=dapo with algorithm.overlong_buffer",
    },
}
