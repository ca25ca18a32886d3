"""Stable-Baselines3 2.9: PPO, learn, its callbacks, evaluate_policy and Monitor."""

from __future__ import annotations

_NO_CRITIC = "not there: no critic, so no GAE; every token has the return of its completion"
_RESUME = "whet resume RUN (it needs nothing passed: all is in the run)"
_RECORDS = "not needed: every rollout and every record of an evaluation is kept with its reward"

SB3: dict[str, dict[str, str]] = {
    "PPO(...)": {
        "policy": "policy (a language model: from_scratch or huggingface)",
        "env": "task (a prompt is the reset, a completion is the one action, its score ends the episode)",
        "learning_rate": "optimizer.learning_rate",
        "n_steps n_envs": "batch.prompts_per_step (times batch.num_generations: the episodes of a step)",
        "batch_size": "algorithm.num_minibatches (a number of minibatches; batch.microbatch_tokens limits memory)",
        "n_epochs": "algorithm.num_iterations",
        "gamma gae_lambda": _NO_CRITIC,
        "clip_range": "algorithm.epsilon",
        "clip_range_vf vf_coef": _NO_CRITIC,
        "normalize_advantage": "algorithm.name (reinforce_pp over the step, grpo inside the group, dr_grpo not at all)",
        "ent_coef": "algorithm.entropy_coef",
        "max_grad_norm": "optimizer.max_grad_norm",
        "use_sde sde_sample_freq": "not there: actions are tokens",
        "rollout_buffer_class rollout_buffer_kwargs": "not there: a step learns from its own rollouts only",
        "target_kl": "not there: algorithm.epsilon clips, algorithm.num_iterations limits the passes",
        "stats_window_size": "not needed: reward/mean is that of the step",
        "tensorboard_log": "trackers (tensorboard, in the run)",
        "policy_kwargs net_arch": "policy (num_layers, num_heads, width of from_scratch)",
        "verbose": "whet train CONFIG --quiet (or trackers without console)",
        "seed": "seed",
        "device": "device",
        "_init_setup_model": "not needed: whet train CONFIG --dry-run checks all and trains nothing",
    },
    "learn(...)": {
        "total_timesteps": "max_steps (a step is a batch of prompts, not a move)",
        "callback": "probes (they look and cannot change training)",
        "log_interval": "logging_every",
        "tb_log_name": "runs_root (a run is named by its time)",
        "reset_num_timesteps": "whet resume RUN --additional-steps K (the count goes on)",
        "progress_bar": "trackers (console)",
    },
    "save, load, predict, set_env, set_logger": {
        "path": "save_every (runs save themselves; RUN:STEP is a checkpoint)",
        "exclude include save_replay_buffer save_vecnormalize": "not needed: a checkpoint has everything",
        "custom_objects force_reset exact_match load_path_or_dict": _RESUME,
        "print_system_info": "whet check (environment.json is in every run)",
        "observation deterministic": "whet sample RUN PROMPT (and whet eval, which does both greedy and sampled)",
        "state episode_start": "not there: a policy has no state beside its tokens",
    },
    "evaluate_policy(...) and EvalCallback": {
        "n_eval_episodes": "eval.limit (problems; eval.num_samples completions of each)",
        "eval_env": "eval.task",
        "eval_freq": "eval_every",
        "render": "whet show RUN (rollouts as text)",
        "reward_threshold": "stop.when (such as `eval/pass@1 >= 0.95`)",
        "return_episode_rewards": _RECORDS,
        "warn": "not needed: evaluation has one kind of problem",
        "best_model_save_path": "not needed: RUN:best names the best checkpoint",
        "log_path": "not needed: evals/ of the run",
        "callback_on_new_best callback_after_eval": "not there: nothing is called; reading commands take --json",
    },
    "other callbacks": {
        "save_freq": "save_every",
        "save_path name_prefix": "runs_root (a run makes its own folder there)",
        "StopTrainingOnRewardThreshold": "stop.when",
        "StopTrainingOnMaxEpisodes max_episodes": "num_epochs (or max_steps)",
        "StopTrainingOnNoModelImprovement max_no_improvement_evals min_evals": "not there: RUN:best is kept",
        "EveryNTimesteps LogEveryNTimesteps": "logging_every",
        "ProgressBarCallback": "trackers (console)",
        "CheckpointCallback": "save_every",
        "EvalCallback": "eval_every",
        "CallbackList ConvertCallback": "probes (a list)",
    },
    "Monitor(...), VecNormalize and check_env": {
        "filename info_keywords reset_keywords allow_early_resets override_existing": _RECORDS,
        "norm_obs norm_reward clip_obs clip_reward": "not there: text is not scaled; grpo scales rewards in a group",
        "check_env": "whet tasks NAME (an example, and the rewards of gold, wrong and empty text)",
        "make_vec_env": "not needed: the engine samples many completions at once",
    },
}
