"""verl's ppo_trainer.yaml, section by section, and what newer versions of it added."""

from __future__ import annotations

from whet.foreign_names.shared import (
    ACCUMULATION,
    FULL_DISTRIBUTION,
    NO_VLLM,
    ONE_PROCESS,
    STEP,
    WEIGHTS_STAY,
)

_NO_CRITIC = "not there: no critic, so no GAE; every token has the return of its completion"
_ONE_TURN = "not there: a completion is one turn"
_NO_PROFILER = "not there: time/... and perf/... are logged in every step"
_NO_REWARD_MODEL = "not there: no reward models, rewards are programs"
_NO_COV = "not there: algorithm.epsilon, epsilon_high and entropy_coef steer the entropy"
_LOGITS = "not there: logits are made for trained tokens only, and batch.microbatch_tokens bounds them"
_SAVED = "not needed: a checkpoint is complete, or does not exist"

VERL: dict[str, dict[str, str]] = {
    "data": {
        "data.tokenizer": "not needed: the tokenizer is the model's",
        "data.train_files train_files": "task.path",
        "data.val_files val_files": "task.test_path",
        "data.prompt_key": "task.prompt (the field with the prompt)",
        "data.reward_fn_key": "task (a mixture gives each part its own verifier)",
        "data.train_max_samples": "task.limit (rows to train on)",
        "data.val_max_samples": "eval.limit",
        "data.max_prompt_length": "sampling.max_prompt_length",
        "data.max_response_length max_response_length": "sampling.max_completion_length",
        "data.train_batch_size data.gen_batch_size train_batch_size": STEP,
        "data.val_batch_size": "engine.max_rows (completions in flight)",
        "data.shuffle": "not needed: prompts are always shuffled, by seed and epoch",
        "data.seed": "seed",
        "data.validation_shuffle": "not needed: an evaluation has no order",
        "data.filter_overlong_prompts data.filter_overlong_prompts_workers data.truncation": (
            "not needed: a prompt that is too long is an error before training, never cut"
        ),
        "data.apply_chat_template_kwargs": "prompt.chat_template_kwargs",
        "data.return_raw_input_ids data.return_raw_chat data.return_full_prompt": "prompt.chat",
        "data.custom_cls.path data.custom_cls.name": "task.name (`./mine.py:MyTask`)",
        "data.sampler.class_path data.sampler.class_name data.datagen.*": "not there: no curriculum (yet)",
        "data.image_key data.video_key data.return_multi_modal_inputs": "not there: text only",
        "data.dataloader_num_workers data.use_shm": "not needed: examples are in memory",
        "data.trust_remote_code": "not there: code of a model's repository is not run",
    },
    "actor_rollout_ref.actor": {
        "actor_rollout_ref.actor.strategy": ONE_PROCESS,
        "actor_rollout_ref.actor.ppo_mini_batch_size": (
            "algorithm.num_minibatches (a number of minibatches, not their size)"
        ),
        "actor_rollout_ref.actor.ppo_micro_batch_size": ACCUMULATION,
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": ACCUMULATION,
        "actor_rollout_ref.actor.use_dynamic_bsz": "not needed: micro-batches are always filled by tokens",
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": "batch.microbatch_tokens",
        "actor_rollout_ref.actor.ppo_epochs": "algorithm.num_iterations",
        "actor_rollout_ref.actor.clip_ratio": "algorithm.epsilon",
        "actor_rollout_ref.actor.clip_ratio_low": "algorithm.epsilon",
        "actor_rollout_ref.actor.clip_ratio_high": "algorithm.epsilon_high",
        "actor_rollout_ref.actor.clip_ratio_c": "not there: no second bound for negative advantages (dual clip)",
        "actor_rollout_ref.actor.policy_loss.loss_mode": "algorithm.name (gspo, cispo, ...)",
        "actor_rollout_ref.actor.policy_loss.*": _NO_COV,
        "actor_rollout_ref.actor.loss_agg_mode": (
            "algorithm.name (token-mean: bnpo, dapo; seq-mean-token-mean: grpo; seq-mean-token-sum-norm: dr_grpo)"
        ),
        "actor_rollout_ref.actor.loss_scale_factor": "sampling.max_completion_length (the constant of dr_grpo)",
        "actor_rollout_ref.actor.entropy_coeff": "algorithm.entropy_coef",
        "actor_rollout_ref.actor.use_kl_loss": "algorithm.kl_in (loss, with algorithm.beta above 0)",
        "actor_rollout_ref.actor.kl_loss_coef": "algorithm.beta",
        "actor_rollout_ref.actor.kl_loss_type": "algorithm.kl_estimator (kl is k1, mse is k2, low_var_kl is k3)",
        "actor_rollout_ref.actor.shuffle": "not there: minibatches hold whole groups, in the order of their prompts",
        "actor_rollout_ref.actor.grad_clip": "optimizer.max_grad_norm",
        "actor_rollout_ref.actor.optim.clip_grad": "optimizer.max_grad_norm",
        "actor_rollout_ref.actor.optim.lr": "optimizer.learning_rate",
        "actor_rollout_ref.actor.optim.lr_warmup_steps": "optimizer.warmup_steps",
        "actor_rollout_ref.actor.optim.lr_warmup_steps_ratio": "optimizer.warmup_steps (in steps)",
        "actor_rollout_ref.actor.optim.weight_decay": "optimizer.weight_decay",
        "actor_rollout_ref.actor.optim.betas": "optimizer.betas",
        "actor_rollout_ref.actor.optim.warmup_style": "optimizer.schedule",
        "actor_rollout_ref.actor.optim.lr_scheduler_type": "optimizer.schedule",
        "actor_rollout_ref.actor.optim.total_training_steps": "optimizer.schedule_steps",
        "actor_rollout_ref.actor.optim.min_lr_ratio actor_rollout_ref.actor.optim.num_cycles": (
            "optimizer.schedule (cosine and linear fall to nearly 0)"
        ),
        "actor_rollout_ref.actor.optim.*": "optimizer (AdamW; no other one is there)",
        "actor_rollout_ref.actor.checkpoint.*": _SAVED,
        "actor_rollout_ref.actor.fsdp_config.*": ONE_PROCESS,
        "actor_rollout_ref.actor.ulysses_sequence_parallel_size": ONE_PROCESS,
        "actor_rollout_ref.actor.use_torch_compile": "not there: nothing is compiled",
        "actor_rollout_ref.actor.use_fused_kernels": _LOGITS,
        "actor_rollout_ref.actor.entropy_from_logits_with_chunking": _LOGITS,
        "actor_rollout_ref.actor.entropy_checkpointing": _LOGITS,
        "actor_rollout_ref.actor.use_remove_padding": "not needed: rows of like length share a micro-batch",
        "actor_rollout_ref.actor.profiler.*": _NO_PROFILER,
    },
    "actor_rollout_ref.ref": {
        "actor_rollout_ref.ref.model": "not there: the reference is the policy of RL step 0",
        "actor_rollout_ref.ref.*": "not needed: the reference lends its tensors to the one module",
    },
    "actor_rollout_ref.rollout": {
        "actor_rollout_ref.rollout.name": "engine (native or huggingface)",
        "actor_rollout_ref.rollout.n rollout_n": "batch.num_generations",
        "actor_rollout_ref.rollout.temperature": "sampling.temperature",
        "actor_rollout_ref.rollout.top_k actor_rollout_ref.rollout.top_p": FULL_DISTRIBUTION,
        "actor_rollout_ref.rollout.do_sample": "not needed: training samples, evaluation does both",
        "actor_rollout_ref.rollout.prompt_length": "sampling.max_prompt_length",
        "actor_rollout_ref.rollout.response_length": "sampling.max_completion_length",
        "actor_rollout_ref.rollout.ignore_eos": "not there: a completion ends with the end-of-text token",
        "actor_rollout_ref.rollout.max_num_seqs": "engine.max_rows",
        "actor_rollout_ref.rollout.val_kwargs.n": "eval.num_samples",
        "actor_rollout_ref.rollout.val_kwargs.temperature": "eval.temperature",
        "actor_rollout_ref.rollout.val_kwargs.do_sample": "eval.greedy (beside the samples)",
        "actor_rollout_ref.rollout.val_kwargs.*": "eval.temperature (the full distribution, as in training)",
        "actor_rollout_ref.rollout.multi_turn.*": _ONE_TURN,
        "actor_rollout_ref.rollout.agent.*": _ONE_TURN,
        "actor_rollout_ref.rollout.calculate_log_probs": "not needed: always recorded",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": ACCUMULATION,
        "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu": "batch.microbatch_tokens",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size": ACCUMULATION,
        "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz": "not needed: micro-batches are always filled by tokens",
        "actor_rollout_ref.rollout.over_sample_rate": "not there: every completion is waited for",
        "actor_rollout_ref.rollout.profiler.*": _NO_PROFILER,
        "actor_rollout_ref.rollout.trace.*": "log_completions (every rollout is written down)",
        "actor_rollout_ref.rollout.*": NO_VLLM,
        "actor_rollout_ref.hybrid_engine actor_rollout_ref.nccl_timeout": ONE_PROCESS,
    },
    "actor_rollout_ref.model": {
        "actor_rollout_ref.model.path": "policy.model",
        "actor_rollout_ref.model.custom_chat_template": "prompt.template",
        "actor_rollout_ref.model.enable_gradient_checkpointing": "policy.activation_checkpointing",
        "actor_rollout_ref.model.enable_activation_offload": WEIGHTS_STAY,
        "actor_rollout_ref.model.lora_rank": "policy.lora.r",
        "actor_rollout_ref.model.lora_alpha": "policy.lora.alpha",
        "actor_rollout_ref.model.lora_adapter_path": "policy.lora.adapter",
        "actor_rollout_ref.model.target_modules": "policy.lora.targets",
        "actor_rollout_ref.model.exclude_modules": "policy.lora.targets (name those that get one)",
        "actor_rollout_ref.model.use_liger": _LOGITS,
        "actor_rollout_ref.model.use_fused_kernels actor_rollout_ref.model.fused_kernel_options.*": _LOGITS,
        "actor_rollout_ref.model.use_remove_padding": "not needed: rows of like length share a micro-batch",
        "actor_rollout_ref.model.override_config*": "not there: the model's own config holds",
        "actor_rollout_ref.model.trust_remote_code": "not there: code of a model's repository is not run",
        "actor_rollout_ref.model.external_lib actor_rollout_ref.model.use_shm": "not needed: a model is read from disk",
    },
    "algorithm": {
        "algorithm.adv_estimator adv_estimator": (
            "algorithm.name (grpo, rloo; reinforce_plus_plus is reinforce_pp; gae needs a critic)"
        ),
        "algorithm.norm_adv_by_std_in_grpo": "algorithm.name (true is grpo, false is dr_grpo)",
        "algorithm.gamma algorithm.lam": _NO_CRITIC,
        "algorithm.use_kl_in_reward": "algorithm.kl_in (reward)",
        "algorithm.kl_penalty": "algorithm.kl_estimator (in the reward it is always k1)",
        "algorithm.kl_ctrl.kl_coef": "algorithm.beta",
        "algorithm.kl_ctrl.type algorithm.kl_ctrl.horizon algorithm.kl_ctrl.target_kl": (
            "not there: algorithm.beta is a constant"
        ),
        "algorithm.filter_groups.enable": "algorithm.name (dapo replaces groups without a signal)",
        "algorithm.filter_groups.max_num_gen_batches": "batch.max_generation_rounds",
        "algorithm.filter_groups.metric": "not needed: a group without a signal is one whose rewards are equal",
        "algorithm.rollout_correction.* algorithm.rollout_is*": (
            "not needed: the module that samples is the one that trains"
        ),
        "algorithm.use_pf_ppo algorithm.pf_ppo.*": "not there: no reweighting of samples",
    },
    "rewards": {
        "custom_reward_function.path custom_reward_function.name": (
            "verifier (`./my_reward.py:compute_score`, as it is)"
        ),
        "reward.custom_reward_function.*": "verifier (`./my_reward.py:compute_score`)",
        "reward_model.reward_manager": "verifier",
        "reward_model.launch_reward_fn_async": "not needed: rewards of a step are taken once it is sampled",
        "reward_model.reward_kwargs.overlong_buffer_cfg.*": "algorithm.overlong_buffer (of dapo)",
        "reward_model.sandbox_fusion.*": "not there: no task runs the code that a model writes",
        "reward_model.*": _NO_REWARD_MODEL,
        "critic.*": _NO_CRITIC,
    },
    "trainer": {
        "trainer.total_epochs total_epochs": "num_epochs",
        "trainer.total_training_steps total_training_steps": "max_steps",
        "trainer.project_name trainer.experiment_name": "runs_root (a run is named by its time)",
        "trainer.logger logger": "trackers",
        "trainer.log_val_generations": "not needed: every record of an evaluation is kept",
        "trainer.rollout_data_dir": "log_completions (logs/rollouts.jsonl of the run)",
        "trainer.validation_data_dir": "not needed: evals/ of the run",
        "trainer.nnodes trainer.n_gpus_per_node": ONE_PROCESS,
        "trainer.save_freq save_freq": "save_every",
        "trainer.test_freq test_freq": "eval_every",
        "trainer.val_before_train": "eval.at_start",
        "trainer.val_only": "whet eval RUN",
        "trainer.resume_mode trainer.resume_from_path": "whet resume RUN (or RUN:STEP)",
        "trainer.default_local_dir": "runs_root",
        "trainer.default_hdfs_dir trainer.del_local_ckpt_after_load": "not there: checkpoints are on the local disk",
        "trainer.max_actor_ckpt_to_keep": "keep_checkpoints",
        "trainer.max_critic_ckpt_to_keep trainer.critic_warmup": _NO_CRITIC,
        "trainer.balance_batch": ONE_PROCESS,
        "trainer.device": "device",
        "trainer.esi_redundant_time": "not needed: SIGTERM saves the run",
        "trainer.ray_wait_register_center_timeout trainer.use_legacy_worker_impl": "not needed: no Ray",
        "global_profiler.*": _NO_PROFILER,
        "ray_kwargs.*": "not needed: no Ray",
    },
}
