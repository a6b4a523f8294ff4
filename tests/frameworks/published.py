"""Comparing a network here with the same one of another package, which gave its weights: logits and gradients."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from required import framework

from npconv import nn, weights

torch = framework("torch")


def torchvision() -> ModuleType:
    """The package, also where its compiled operators are built for another PyTorch and cannot be loaded.

    No classifier uses them, but importing the package registers more about the two that are named here.
    """
    try:
        return framework("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{operator}", signature)
        return framework("torchvision")


def made(make: Callable[[], Any], dtype: Any) -> Any:
    """The module that `make` makes, in evaluation mode, of the NumPy dtype `dtype`, always with the same random weights.

    Its batch norms are random too: statistics, scales and shifts.
    """
    torch.manual_seed(0)
    module = make().to(getattr(torch, np.dtype(dtype).name)).eval()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.uniform_(part.bias, -0.2, 0.2)
    return module


class ExactHardsigmoid(torch.nn.Module):
    """What PyTorch's own computes, with a gradient in float64: its own takes 1/6 in float32, and is 3e-8 off."""

    def forward(self, x: Any) -> Any:
        return torch.nn.functional.relu6(x + 3) / 6


def make_gates_exact(module: Any) -> None:
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, torch.nn.Hardsigmoid):
                setattr(part, name, ExactHardsigmoid())


def arrays(module: Any) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def assert_close(ours: np.ndarray, theirs: Any, tolerance: float, what: str) -> None:
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, what
    assert ours.dtype == theirs.dtype, what
    assert np.abs(theirs).max() > 0, what
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max(), what


def assert_gradient_close(ours: np.ndarray, theirs: Any, tolerance: float, what: str) -> None:
    """As `assert_close` in float64. In float32 the gradient as a whole is judged, and loosely.

    Where a ReLU's input rounds to the other side of 0, all gradients behind it change, and of millions of inputs some do.
    Seen in ResNet-101: single elements off by 0.1, the whole by 0.017; without such a flip all are within 5e-6.
    """
    if ours.dtype == np.float64:
        assert_close(ours, theirs, tolerance, what)
        return
    theirs = theirs.detach().numpy()
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), what
    assert np.abs(theirs).max() > 0, what
    assert np.linalg.norm(ours - theirs) <= 0.05 * np.linalg.norm(theirs), what


def check(module: Any, model: nn.Layer, source: str, *, image: int, tolerance: float) -> None:
    """`model`, once it has the arrays of `module`, gives its logits and gradients, the images' and every parameter's."""
    names = weights.load_state_dict(model, arrays(module), source)
    rng = np.random.default_rng(0)
    dtype = next(array.dtype for _, array in model.named_params())
    x = rng.standard_normal((2, 3, image, image)).astype(dtype)
    dy = rng.standard_normal(model.eval()(x).shape).astype(dtype)

    assert_close(model(x), module(torch.from_numpy(x)), tolerance, "logits")
    make_gates_exact(module)
    x_there = torch.from_numpy(x).requires_grad_()
    module(x_there).backward(torch.from_numpy(dy))
    assert_gradient_close(model.backward(dy), x_there.grad, tolerance, "dx")
    parameters = dict(module.named_parameters())
    grads = dict(model.named_grads())
    assert len(grads) == len(parameters)
    for name, grad in grads.items():
        assert_gradient_close(grad, parameters[names[name]].grad, tolerance, name)


def check_file(module: Any, model: nn.Layer, source: str, path: Any) -> None:
    """The file that PyTorch's users write has the same weights."""
    framework("safetensors.torch").save_file(module.state_dict(), path)
    assert weights.load(model, path, source) == {}
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    assert_close(model.eval()(x), module(torch.from_numpy(x)), 1e-4, "logits")


def check_refused(module: Any, model: nn.Layer, source: str, key: str) -> None:
    """The weights of another network are an error that names the key, and `model` is as it was."""
    before = {name: array.copy() for name, array in model.state().items()}
    with pytest.raises(ValueError, match=re.escape(key)):
        weights.load_state_dict(model, arrays(module), source)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])
