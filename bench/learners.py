"""One GRPO step on a case of the benchmarks, by whet and by TRL: same model, prompts, lengths and reward.

Dr. GRPO, no KL, one update per step, AdamW, gradients clipped to 1; float32 on a CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generators import AtLengths
from speed_case import SEED, Case, ForcedLengths, load_policy, numbers, share_of_even
from timing import Spent, Stopwatch, forget_peak, resident_bytes, spent
from whet.algorithms.dr_grpo import DrGRPO
from whet.allocator import keep_freed_memory
from whet.config import BatchConfig, OptimizerConfig, PromptConfig, SamplingConfig
from whet.distributed.world import World
from whet.engines.native import Native
from whet.interfaces import Split, Task, Verifier
from whet.policies.huggingface import HuggingFacePolicy
from whet.rollouts.annotate import annotate
from whet.rollouts.batch import make_batch
from whet.rollouts.collect import collect
from whet.text.prompts import PromptEncoder
from whet.tracking.metrics import Metrics
from whet.training.objectives import Reinforcement
from whet.training.optimizer import Optimizer
from whet.training.terms import with_advantages
from whet.training.update import Learner
from whet.types import Batch, Example, Rollout, RolloutGroup, Score

LEARNING_RATE = 1e-6


class Even(Verifier):
    """The reward of the benchmarks."""

    def score(self, text: str, answer: str, example: Example | None = None) -> Score:
        """Which share of the numbers is even."""
        return Score(value=share_of_even(text))


class Numbers(Task):
    """A task whose examples the benchmark brings itself."""

    def load(self, split: Split) -> Sequence[Example]:
        """None."""
        return []

    def default_verifier(self) -> Verifier:
        """The share of even numbers."""
        return Even()


def prompt_texts(case: Case) -> list[str]:
    """The prompts as texts of numbers."""
    return [" ".join(map(str, ids)) for ids in case.prompts()]


class WhetStep:
    """The pieces of whet's own loop around one batch: engine, groups, batch, advantages, update."""

    def __init__(
        self, source: Path | HuggingFacePolicy, case: Case, microbatch_tokens: int | None = None
    ) -> None:
        """source: a checkpoint, or the policy itself, on the device on which it is to be trained."""
        keep_freed_memory()  # as every run does
        self.case, self.stopwatch = case, Stopwatch()
        self.policy = load_policy(source) if isinstance(source, Path) else source
        forget_peak()
        self.loaded_bytes = resident_bytes()
        self.sampling = SamplingConfig(
            max_prompt_length=case.prompt_length, max_completion_length=case.completion_length
        )
        optimizer = Optimizer(self.policy.module, OptimizerConfig(learning_rate=LEARNING_RATE))
        optimizer.clip = self.stopwatch.around("optimizer", optimizer.clip)
        optimizer.step = self.stopwatch.around("optimizer", optimizer.step)
        tokens = microbatch_tokens or BatchConfig().microbatch_tokens
        self.learner = Learner(self.policy, optimizer, tokens, World())
        self.algorithm = DrGRPO(name="dr_grpo")
        self._engine = ForcedLengths(Native().build(self.policy), case.forced())
        self._encode = PromptEncoder(self.policy.tokenizer, PromptConfig())
        self._examples = [Example(id=str(i), prompt=text) for i, text in enumerate(prompt_texts(case))]

    def __call__(self) -> Spent:
        """One step."""
        return spent(self._step, self._parts)

    def _step(self) -> None:
        self.update(self.generate())

    def generate(self) -> list[RolloutGroup]:
        """Completions and their rewards."""
        with self.stopwatch("generation"):
            keys = [request.keys for request in self.case.requests()]
            items = list(zip(self._examples, keys, strict=True))
            return collect(self._engine, self._encode, items, Numbers(), self.sampling.params())

    def update(self, groups: Sequence[RolloutGroup]) -> None:
        """The update on them."""
        with self.stopwatch("batch"):
            batch = self.batch(groups)
        with self.stopwatch("update"):
            self.learner.update(self.objective(), batch, LEARNING_RATE)

    def batch(self, groups: Sequence[RolloutGroup]) -> Batch:
        """The batch of some groups, with advantages."""
        batch = make_batch(groups, self.sampling, self.policy.module.device)
        batch = annotate(batch, self.algorithm, self.policy, None, self.learner.microbatch_tokens)
        return with_advantages(batch, self.algorithm, {})

    def objective(self) -> Reinforcement:
        """What the first update of a step minimises."""
        return Reinforcement(self.algorithm, is_first_update=True)

    def gradient(self, groups: Sequence[RolloutGroup]) -> dict[str, Tensor]:
        """The gradient of one update on some groups, by parameter; nothing moves."""
        self.learner.backward(self.objective(), self.batch(groups), Metrics())
        named = self.policy.module.named_parameters()
        found = {name: p.grad.clone() for name, p in named if p.grad is not None}
        self.learner.optimizer.forget_gradient()
        return found

    def _parts(self) -> dict[str, float]:
        parts = self.stopwatch.take()
        parts["forward and backward"] = parts.pop("update") - parts["optimizer"]
        return parts


class TRLStep:
    """TRL's `GRPOTrainer`, which takes one step after the other and says so after each."""

    def __init__(self, source: Any, case: Case, rows_at_once: int = 0) -> None:
        """source: a checkpoint, or the model itself. rows_at_once: of a forward pass; 0: the whole batch."""
        from transformers import AutoModelForCausalLM

        self.case, self.stopwatch = case, Stopwatch()
        self._rows_at_once = rows_at_once or case.num_rows
        self.first_gradient: dict[str, Tensor] = {}
        self.first_inputs: dict[str, Tensor] = {}
        self._tokenizer = numbers(case.model.vocab_size)
        self._model = source
        if isinstance(source, Path):
            self._model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        forget_peak()
        self.loaded_bytes = resident_bytes()
        self._model.generate = self._forced(self.stopwatch.around("generation", self._model.generate))

    def run(self, checkpoint: Path, steps: int, after: Callable[[Spent], None]) -> None:
        """Trains for some steps; `after` gets the time of each when it is done, and its own is not counted."""
        trainer = self.trainer(checkpoint, steps)
        self._watch(trainer)
        trainer.add_callback(step_callback(self.stopwatch, after))
        trainer.train()

    def trainer(self, checkpoint: Path, steps: int) -> Any:
        """TRL's trainer of the case, which prints nothing."""
        from datasets import Dataset
        from transformers import PrinterCallback
        from trl import GRPOTrainer

        trainer = GRPOTrainer(
            model=self._model,
            reward_funcs=[rewards],
            args=arguments(self.case, steps, checkpoint / "trl", self._rows_at_once, self._model.device.type),
            train_dataset=Dataset.from_list([{"prompt": text} for text in prompt_texts(self.case)]),
            processing_class=self._tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _forced(self, generate: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Completions of the forced lengths, as TRL reads them: the first end-of-text is the last token."""
        start, lengths = self.case.prompt_length, torch.tensor(self.case.forced())
        end = self._tokenizer.eos_token_id
        criterion = AtLengths(start, lengths.tolist())

        def forced(*args: Any, **kwargs: Any) -> Tensor:
            # TRL gives the model its tokenizer's end-of-text, which would end rows before their time.
            self._model.generation_config.eos_token_id = None
            found = generate(*args, stopping_criteria=[criterion], **kwargs)
            made = found[:, start:]
            made[made == end] = 0
            made[torch.arange(len(made)), lengths - 1] = end
            return found

        return forced

    def _watch(self, trainer: Any) -> None:
        """Times the parts of a step, and keeps what the first one computed."""
        compute_loss = self.stopwatch.around("forward", trainer.compute_loss)
        backward = self.stopwatch.around("backward", trainer.accelerator.backward)

        def keeps_inputs(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            if not self.first_inputs:
                self.first_inputs = {n: v.clone() for n, v in inputs.items() if isinstance(v, Tensor)}
            return compute_loss(model, inputs, *args, **kwargs)

        def keeps_gradient(*args: Any, **kwargs: Any) -> None:
            backward(*args, **kwargs)
            if not self.first_gradient:
                named = self._model.named_parameters()
                self.first_gradient = {name: p.grad.clone() for name, p in named if p.grad is not None}

        trainer.compute_loss, trainer.accelerator.backward = keeps_inputs, keeps_gradient
        trainer._clip_grad_norm = self.stopwatch.around("optimizer", trainer._clip_grad_norm)

    def groups(self) -> list[RolloutGroup]:
        """The completions of the first step as whet's rollouts."""
        prompts, made = self.first_inputs["prompt_ids"], self.first_inputs["completion_ids"]
        mask = self.first_inputs["completion_mask"].bool()
        by_prompt: dict[tuple[int, ...], list[Rollout]] = {}
        for prompt, row, kept in zip(prompts.tolist(), made, mask, strict=True):
            by_prompt.setdefault(tuple(prompt), []).append(self._rollout(prompt, row[kept].tolist()))
        return [RolloutGroup(example=r[0].example, rollouts=tuple(r)) for r in by_prompt.values()]

    def _rollout(self, prompt: list[int], made: list[int]) -> Rollout:
        text = self._tokenizer.decode(made, skip_special_tokens=True)
        return Rollout(
            example=Example(id=str(prompt), prompt=""),
            token_ids=(*prompt, *made),
            loss_mask=(False,) * len(prompt) + (True,) * len(made),
            sampling_logprobs=(0.0,) * (len(prompt) + len(made)),
            finish_reason="stop",
            policy_version=0,
            text=text,
            score=Score(value=share_of_even(text)),
        )


def rewards(completions: Sequence[str], **_: Any) -> list[float]:
    """The reward as TRL calls it."""
    return [share_of_even(text) for text in completions]


def arguments(case: Case, steps: int, directory: Path, rows_at_once: int, device: str) -> Any:
    """Settings of TRL under which it does what whet does, at its fastest: no gradient checkpointing."""
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=str(directory),
        max_steps=steps,
        per_device_train_batch_size=rows_at_once,
        gradient_accumulation_steps=case.num_rows // rows_at_once,
        num_generations=case.num_generations,
        max_completion_length=case.completion_length,
        generation_kwargs={"eos_token_id": None},
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        loss_type="dr_grpo",
        scale_rewards="none",
        beta=0.0,
        num_iterations=1,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        bf16=device != "cpu",
        use_cpu=device == "cpu",
        seed=SEED,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def step_callback(stopwatch: Stopwatch, after: Callable[[Spent], None]) -> Any:
    """Tells `after` what each step took."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]
        """A clock around a step, and one around the optimizer."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            """Starts the clock."""
            stopwatch.take()
            self.wall, self.cpu = time.perf_counter(), time.process_time()

        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            """Starts the optimizer's clock."""
            self.optimizer = stopwatch("optimizer")
            self.optimizer.__enter__()

        def on_optimizer_step(self, *_: Any, **__: Any) -> None:
            """Stops it."""
            self.optimizer.__exit__(None, None, None)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            """Stops the clock, then calls."""
            wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
            after(Spent(wall, cpu, stopwatch.take()))

    return Steps()
