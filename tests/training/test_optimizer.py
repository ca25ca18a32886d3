"""Schedules against tables by hand, AdamW against a step by hand."""

import math

import pytest
import torch
from torch import nn

from whet.config import OptimizerConfig
from whet.errors import RunError
from whet.training.optimizer import Optimizer, learning_rate


def rates(steps: int, default_steps: int = 6, **settings: object) -> list[float]:
    config = OptimizerConfig(learning_rate=1.0, **settings)
    return [learning_rate(step, config, default_steps) for step in range(1, steps + 1)]


def test_warm_up_is_linear_and_reaches_the_rate_at_its_last_step() -> None:
    assert rates(6, warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


def test_a_constant_rate_is_constant() -> None:
    assert rates(9) == [1.0] * 9


def test_linear_falls_by_equal_parts_and_its_last_rate_holds() -> None:
    # Six steps: 1, 5/6, ..., 1/6; steps 7 and 8 are beyond the schedule.
    assert rates(8, schedule="linear") == pytest.approx(
        [6 / 6, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 1 / 6, 1 / 6]
    )


def test_linear_after_a_warm_up() -> None:
    # Warm-up 2, then four steps of decay.
    expected = [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.25]
    assert rates(7, warmup_steps=2, schedule="linear") == pytest.approx(expected)


def test_cosine_by_hand() -> None:
    # p = 0, 1/4, 2/4, 3/4: (1 + cos(pi p)) / 2 = 1, (2 + sqrt 2)/4, 1/2, (2 - sqrt 2)/4.
    expected = [1.0, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4, (2 - math.sqrt(2)) / 4]
    assert rates(5, default_steps=4, schedule="cosine") == pytest.approx(expected)


def test_schedule_steps_replace_the_length_of_the_run() -> None:
    assert rates(4, schedule="linear", schedule_steps=2) == pytest.approx([1.0, 0.5, 0.5, 0.5])


def test_a_schedule_that_ends_inside_its_warm_up_holds_the_full_rate() -> None:
    assert rates(5, default_steps=2, warmup_steps=3, schedule="linear") == pytest.approx(
        [1 / 3, 2 / 3, 1, 1, 1]
    )


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[1.0, -2.0]]))
        self.gain = nn.Parameter(torch.tensor([3.0]))
        self.frozen = nn.Parameter(torch.tensor([5.0]), requires_grad=False)


def optimizer_of(net: nn.Module, **settings: object) -> Optimizer:
    defaults = {"betas": (0.9, 0.99), "eps": 1e-8, "max_grad_norm": 100.0}
    return Optimizer(net, OptimizerConfig(**{"learning_rate": 0.1, **defaults, **settings}))


def step(net: Net, optimizer: Optimizer, gradients: tuple[float, float, float], rate: float = 0.1) -> None:
    net.matrix.grad = torch.tensor([gradients[:2]])
    net.gain.grad = torch.tensor([gradients[2]])
    optimizer.step(rate)


def test_two_steps_of_adamw_by_hand() -> None:
    # Step 1: m / (1 - 0.9) = g and v / (1 - 0.99) = g^2, so every weight moves by rate * sign(g).
    # Step 2 with the gradient of the first weight 0: m = 0.09 g, v = 0.0099 g^2;
    # m / (1 - 0.81) = 0.473684 g, v / (1 - 0.9801) = 0.497487 g^2; 0.473684 / sqrt(0.497487) = 0.671586.
    net = Net()
    optimizer = optimizer_of(net)
    step(net, optimizer, (2.0, -4.0, 0.5))
    assert net.matrix[0].tolist() == pytest.approx([0.9, -1.9], abs=1e-6)
    assert net.gain.tolist() == pytest.approx([2.9], abs=1e-6)
    step(net, optimizer, (0.0, -4.0, 0.5))
    assert net.matrix[0].tolist() == pytest.approx([0.9 - 0.0671586, -1.8], abs=1e-6)


def test_decay_shrinks_matrices_by_rate_times_decay_and_nothing_else() -> None:
    net = Net()
    step(net, optimizer_of(net, weight_decay=0.5), (0.0, 0.0, 0.0))
    assert net.matrix[0].tolist() == pytest.approx([0.95, -1.9])  # 1 - 0.1 * 0.5
    assert net.gain.tolist() == [3.0]


def test_the_rate_of_the_step_is_the_one_given() -> None:
    net = Net()
    step(net, optimizer_of(net), (1.0, 1.0, 1.0), rate=0.01)
    assert net.gain.tolist() == pytest.approx([2.99], abs=1e-6)


def test_clipping_scales_the_whole_gradient_and_tells_the_norm_before() -> None:
    net = Net()
    optimizer = optimizer_of(net, max_grad_norm=1.0)
    net.matrix.grad, net.gain.grad = torch.tensor([[2.0, 3.0]]), torch.tensor([6.0])
    assert optimizer.clip() == pytest.approx(7.0)  # sqrt(4 + 9 + 36)
    assert net.matrix.grad[0].tolist() == pytest.approx([2 / 7, 3 / 7], abs=1e-6)
    assert net.gain.grad.tolist() == pytest.approx([6 / 7], abs=1e-6)


def test_a_small_gradient_is_not_clipped() -> None:
    net = Net()
    net.matrix.grad, net.gain.grad = torch.tensor([[0.3, 0.0]]), torch.tensor([0.4])
    assert optimizer_of(net, max_grad_norm=1.0).clip() == pytest.approx(0.5)
    assert net.gain.grad.tolist() == pytest.approx([0.4])


def test_frozen_parameters_have_no_part() -> None:
    net = Net()
    optimizer = optimizer_of(net)
    assert len(optimizer.parameters) == 2
    step(net, optimizer, (1.0, 1.0, 1.0))
    assert not any(name.startswith("frozen") for name in optimizer.state_tensors())


def test_state_is_named_after_its_parameter_and_goes_on_bit_for_bit() -> None:
    one, other = Net(), Net()
    first, second = optimizer_of(one), optimizer_of(other)
    step(one, first, (2.0, -4.0, 0.5))
    saved = {name: tensor.clone() for name, tensor in first.state_tensors().items()}
    assert saved["matrix.exp_avg"][0].tolist() == pytest.approx([0.2, -0.4])  # (1 - 0.9) g
    assert saved["gain.exp_avg_sq"].tolist() == pytest.approx([0.0025])  # (1 - 0.99) g^2
    assert saved["gain.step"].item() == 1
    other.load_state_dict(one.state_dict())
    second.load_state_tensors(dict(reversed(saved.items())))  # by name, not by place
    for net, optimizer in ((one, first), (other, second)):
        step(net, optimizer, (1.0, 3.0, -2.0))
    assert torch.equal(one.matrix, other.matrix)
    assert torch.equal(one.gain, other.gain)
    assert all(torch.equal(second.state_tensors()[n], t) for n, t in first.state_tensors().items())


def test_gradients_of_16_bits_are_gathered_in_float32() -> None:
    # 1 and 2^-9: the sum has no bf16 number of its own, whose neighbours of 1 are 2^-7 away.
    net = Net().bfloat16()
    optimizer = optimizer_of(net)
    for gradient in (1.0, 2.0**-9):
        net.gain.grad = torch.tensor([gradient], dtype=torch.bfloat16)
        optimizer.gather()
    assert net.gain.grad is None
    assert [m.grad.item() for m in optimizer.masters if m.grad is not None] == [1.001953125]
    assert optimizer.clip() == 1.001953125


def test_small_steps_of_a_16_bit_parameter_add_up_in_its_master() -> None:
    # A step moves by the rate, 0.004. bf16 numbers near 3 are 2^-6 apart: 3.004 is written as 3, 3.008 as 3.015625.
    net = Net().bfloat16()
    optimizer = optimizer_of(net)
    seen = []
    for _ in range(3):
        net.gain.grad = torch.tensor([-1.0], dtype=torch.bfloat16)
        optimizer.gather()
        optimizer.step(rate=0.004)
        seen.append(net.gain.item())
        optimizer.forget_gradient()
    assert seen == [3.0, 3.015625, 3.015625]
    assert optimizer.state_tensors()["gain.master"].item() == pytest.approx(3.012, abs=1e-6)


def test_a_master_begins_where_its_parameter_is_at_the_first_step() -> None:
    net = Net().bfloat16()
    optimizer = optimizer_of(net)
    optimizer.state_tensors()  # as a checkpoint of step 0 does
    with torch.no_grad():
        net.gain.fill_(7.0)  # an earlier stage moved it
    net.gain.grad = torch.tensor([-1.0], dtype=torch.bfloat16)
    optimizer.gather()
    optimizer.step(rate=0.5)
    assert net.gain.item() == 7.5


def test_no_state_before_the_first_step() -> None:
    optimizer = optimizer_of(Net())
    assert optimizer.state_tensors() == {}
    optimizer.load_state_tensors({})


def test_the_state_of_another_model_is_refused_by_name() -> None:
    net = Net()
    optimizer = optimizer_of(net)
    step(net, optimizer, (1.0, 1.0, 1.0))
    tensors = optimizer.state_tensors()
    tensors["other.step"] = tensors.pop("gain.step")
    with pytest.raises(RunError, match=r"another model: gain\.step, other\.step"):
        optimizer_of(Net()).load_state_tensors(tensors)


def test_a_loaded_state_lies_where_its_parameters_are() -> None:
    net = Net()
    optimizer = optimizer_of(net)
    step(net, optimizer, (1.0, 1.0, 1.0))
    tensors = optimizer.state_tensors()
    elsewhere = optimizer_of(Net().to("meta"))  # any device that is not the CPU
    elsewhere.load_state_tensors(tensors)
    assert {t.device.type for t in elsewhere.state_tensors().values()} == {"meta"}
