"""The four overfit experiments: the earlier system's numbers, and that they run."""

from pathlib import Path

import pytest

from checkpoints import example
from whet.config import load_config

GSM8K = Path(__file__).parents[1] / "fixtures" / "gsm8k"

# rows, epochs, learning rate, batch x 2 accumulated completions per step, generations, prompt and completion length
NUMBERS = {
    "baseline": (100, 20, 5e-5, 8 * 2, 4, 256, 128),
    "aggressive": (50, 50, 1e-4, 16 * 2, 4, 256, 128),
    "memory_optimized": (100, 30, 5e-5, 32 * 2, 4, 512, 256),
    "ultra_small": (20, 100, 2e-4, 4 * 2, 8, 256, 128),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_an_overfit_experiment_has_the_numbers_of_the_earlier_system(name):
    c = load_config([f"overfit/{name}"])
    completions = c.batch.prompts_per_step * c.batch.num_generations
    lengths = (c.sampling.max_prompt_length, c.sampling.max_completion_length)
    rate = c.optimizer.learning_rate
    found = (c.task.limit, c.num_epochs, rate, completions, c.batch.num_generations, *lengths)
    assert found == NUMBERS[name]
    assert (c.eval.split, c.eval.allow_overlap) == ("train", True)
    # 5% of ceil(rows x epochs / prompts per step) steps
    steps = -(-c.task.limit * c.num_epochs // c.batch.prompts_per_step)
    assert c.optimizer.warmup_steps == round(0.05 * steps)


@pytest.mark.parametrize(
    ("text", "is_right"), [("#### 72", True), ("x" * 300 + "#### 72", True), ("#### 7", False)]
)
def test_a_right_answer_counts_as_right_however_long_it_is(text, is_right):
    c = load_config(["overfit/baseline"], [f"task.path={GSM8K}"])
    (example, *_) = c.task.examples("train")
    assert (c.task.score(example, text).value >= c.eval.threshold) == is_right


@pytest.mark.slow
def test_an_overfit_experiment_runs_on_a_tiny_checkpoint_and_says_what_it_was_evaluated_on(tmp_path):
    from whet import train

    sizes = {"vocab_size": 384, "width": 32, "layers": 1, "heads": 2, "context": 1024}
    example().write(tmp_path / "tiny", "qwen2", example().own_texts(), 0, **sizes)
    run = train(
        "overfit/ultra_small",
        f"task.path={GSM8K}",
        f"policy.model={tmp_path / 'tiny'}",
        "max_steps=2",
        "task.limit=4",
        "trackers=[jsonl]",
        "optimizer.warmup_steps=0",
        "sampling.max_prompt_length=1000",
        "sampling.max_completion_length=16",
        f"runs_root={tmp_path}",
    )
    assert run.summary["eval_split"] == "train"
    assert run.summary["eval"]["after"]["overlap"] == 4
