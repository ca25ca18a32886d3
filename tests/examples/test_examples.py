"""The one-file examples learn, and their formulas, written independently, agree with whet's."""

import ast
import importlib.util
from pathlib import Path

import pytest
import torch

from tables import MAX_COMPLETION_LENGTH, annotate, draw, forward, scalar, table
from whet.algorithms.dr_grpo import DrGRPO
from whet.algorithms.reinforce import Reinforce
from whet.types import TokenStats

EXAMPLES = Path(__file__).parents[2] / "examples"
PATHS = [EXAMPLES / name for name in ("dr_grpo.py", "reinforce.py")]

ROWS, REWARDS, GROUP = ["..xxx", "..x", "..xxxxxx", "......"], [1.0, 0.0, 0.25, 0.5], [0, 0, 1, 1]


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def whet_gradient(algorithm, batch):
    leaf = forward(table(0), batch).logprobs.requires_grad_()
    loss = scalar(algorithm, batch, TokenStats(logprobs=leaf, entropy=torch.zeros_like(leaf)))
    loss.backward()
    return loss.detach(), leaf.grad


def assert_close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_an_example_is_short_and_needs_torch_alone(path):
    text = path.read_text()
    assert len(text.splitlines()) < 200
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    assert modules == {"torch"}


@pytest.mark.parametrize("shift", [0.1, 0.5])
def test_the_dr_grpo_example_agrees_with_whet(shift):
    example = load("dr_grpo")
    batch = annotate(DrGRPO(), draw(ROWS, REWARDS, GROUP), table(0) + table(1, shift))
    advantages = example.group_advantages(torch.tensor(REWARDS, dtype=torch.float64).view(2, 2)).flatten()
    logprobs = forward(table(0), batch).logprobs.requires_grad_()
    loss = example.dr_grpo_loss(
        logprobs, batch.old_logprobs, advantages, batch.loss_mask, 0.2, MAX_COMPLETION_LENGTH
    )
    loss.backward()
    expected, gradient = whet_gradient(DrGRPO(epsilon=0.2), batch)
    assert_close(loss.detach(), expected)
    assert_close(logprobs.grad, gradient)
    assert gradient.norm() > 1e-3


def test_the_reinforce_example_agrees_with_whet():
    example = load("reinforce")
    batch = annotate(Reinforce(baseline="batch"), draw(ROWS, REWARDS, GROUP), None)
    logprobs = forward(table(0), batch).logprobs.requires_grad_()
    advantages = torch.tensor(REWARDS, dtype=torch.float64) - 0.4375  # (1 + 0 + 0.25 + 0.5) / 4
    loss = example.reinforce_loss(logprobs, advantages, batch.loss_mask, MAX_COMPLETION_LENGTH)
    loss.backward()
    expected, gradient = whet_gradient(Reinforce(baseline="batch"), batch)
    assert_close(loss.detach(), expected)
    assert_close(logprobs.grad, gradient)


@pytest.mark.parametrize(("name", "steps", "least"), [("reinforce", 45, 0.9), ("dr_grpo", 35, 0.8)])
def test_an_example_learns(name, steps, least):
    rewards = load(name).train(steps, seed=0)
    assert rewards[0] < 0.25
    assert sum(rewards[-5:]) / 5 > least
