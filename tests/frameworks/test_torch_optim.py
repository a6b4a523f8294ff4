"""Optimisers and schedules against torch.optim, in float64, over 20 steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from required import framework

from npconv import nn, optim

torch = framework("torch")

TOLERANCE, STEPS = 1e-12, 20


def both(name: str, *args: Any, **options: Any) -> Any:
    """One of npconv's optimisers, and a function from parameters to PyTorch's of the same name and arguments."""
    label = f"{name}({', '.join([*map(str, args), *(f'{key}={value}' for key, value in options.items())])})"
    ours, theirs = getattr(optim, name), getattr(torch.optim, name)
    return pytest.param(lambda: ours(*args, **options), lambda params: theirs(params, *args, **options), id=label)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        both("SGD", 0.1),
        both("SGD", 0.1, weight_decay=0.02),
        both("SGD", 0.1, momentum=0.9),
        both("SGD", 0.1, momentum=0.9, weight_decay=0.02),
        both("SGD", 0.1, momentum=0.9, nesterov=True),
        both("SGD", 0.1, momentum=0.9, nesterov=True, weight_decay=0.02),
        both("Adam"),
        both("Adam", 0.01, betas=(0.8, 0.95), eps=1e-3),
        both("Adam", 0.01, weight_decay=0.02),
        both("AdamW"),
        both("AdamW", 0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2),
        both("AdamW", 0.01, weight_decay=0.0),
    ],
)
def test_steps(ours: Any, theirs: Any) -> None:
    model, params = linear_twins()
    descend(model, ours(), params, theirs(params))


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_no_decay(name: str) -> None:
    """What npconv spares by name is PyTorch's second group, with a weight decay of its own."""
    model, params = linear_twins()
    groups = [{"params": params[:1]}, {"params": params[1:], "weight_decay": 0.0}]
    ours = getattr(optim, name)(0.1, weight_decay=0.3, no_decay=("b",))
    descend(model, ours, params, getattr(torch.optim, name)(groups, lr=0.1, weight_decay=0.3))


@pytest.mark.parametrize(
    ("schedule", "scheduler"),
    [
        (optim.step(0.1, 6, 0.3), lambda sgd: torch.optim.lr_scheduler.StepLR(sgd, 6, gamma=0.3)),
        (optim.linear(0.1, STEPS), lambda sgd: torch.optim.lr_scheduler.PolynomialLR(sgd, STEPS, power=1.0)),
        (optim.cosine(0.1, STEPS, 0.02), lambda sgd: torch.optim.lr_scheduler.CosineAnnealingLR(sgd, STEPS, 0.02)),
        (
            optim.constant(0.1, warmup=5),
            lambda sgd: torch.optim.lr_scheduler.LinearLR(sgd, start_factor=1 / 5, total_iters=4),
        ),
    ],
    ids=["step", "linear", "cosine", "warmup"],
)
def test_schedule(schedule: optim.Schedule, scheduler: Any) -> None:
    model, params = linear_twins()
    sgd = torch.optim.SGD(params, 0.1, momentum=0.9)
    descend(model, optim.SGD(schedule, momentum=0.9), params, sgd, scheduler(sgd))


def linear_twins() -> tuple[nn.Layer, list[Any]]:
    """A layer with two parameters, and copies of them as PyTorch's."""
    model = nn.Linear(4, 3, rng=np.random.default_rng(0), dtype=np.float64)
    return model, [torch.nn.Parameter(torch.tensor(array)) for _, array in model.named_params()]


def descend(model: nn.Layer, ours: optim.Optimizer, params: list[Any], theirs: Any, scheduler: Any = None) -> None:
    """Feed both the same random gradients and compare the parameters after each step."""
    rng = np.random.default_rng(1)
    for step in range(STEPS):
        for (name, array), param in zip(model.named_params(), params, strict=True):
            model.grads[name] = rng.standard_normal(array.shape)
            param.grad = torch.tensor(model.grads[name])
        ours.step(model)
        theirs.step()
        if scheduler is not None:
            scheduler.step()
        for (name, array), param in zip(model.named_params(), params, strict=True):
            expected = param.detach().numpy()
            atol = TOLERANCE * np.abs(expected).max()
            np.testing.assert_allclose(array, expected, rtol=0, atol=atol, err_msg=f"{name}, step {step}")
