"""Every layer against its counterpart in torch.nn, in float64: the output, the input's gradient and all parameters'."""

from __future__ import annotations

import numpy as np
import pytest
from required import framework

from npconv import nn
from npconv.geometry import Array

torch = framework("torch")

# They need torch, so they come after the line that skips without it.
from torch_models import GhostModule, SqueezeExcite, copy_parameters  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 1e-12
OPTIONS = {"rng": np.random.default_rng(0), "dtype": np.float64}

PAIRS = {
    "conv2d": (
        nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, **OPTIONS),
        torch.nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
    ),
    "conv2d without bias": (nn.Conv2d(6, 5, 3, bias=False, **OPTIONS), torch.nn.Conv2d(6, 5, 3, bias=False)),
    "depthwise": (
        nn.DepthwiseConv2d(6, 3, multiplier=2, stride=2, padding=1, **OPTIONS),
        torch.nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=6),
    ),
    "pointwise": (
        nn.PointwiseConv2d(6, 9, stride=2, groups=3, **OPTIONS),
        torch.nn.Conv2d(6, 9, 1, stride=2, groups=3),
    ),
    "separable": (
        nn.SeparableConv2d(6, 5, 3, multiplier=2, padding=1, **OPTIONS),
        torch.nn.Sequential(torch.nn.Conv2d(6, 12, 3, padding=1, groups=6, bias=False), torch.nn.Conv2d(12, 5, 1)),
    ),
    "ghost": (nn.GhostModule(6, 7, ratio=3, **OPTIONS), GhostModule(6, 7, ratio=3)),
    "channel shuffle": (nn.ChannelShuffle(3), torch.nn.ChannelShuffle(3)),
    "squeeze-excite": (nn.SqueezeExcite(6, 2, **OPTIONS), SqueezeExcite(6, 2)),
    "relu": (nn.ReLU(), torch.nn.ReLU()),
    "relu6": (nn.ReLU6(), torch.nn.ReLU6()),
    "hard swish": (nn.HardSwish(), torch.nn.Hardswish()),
    "average pool": (
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
        torch.nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    ),
    "max pool": (nn.MaxPool2d(3, stride=2, padding=1), torch.nn.MaxPool2d(3, stride=2, padding=1)),
    "global average pool": (nn.GlobalAvgPool2d(), torch.nn.AdaptiveAvgPool2d(1)),
    "up-sampling": (nn.Upsample((2, 3)), torch.nn.Upsample(scale_factor=(2, 3))),
    "linear": (
        nn.Sequential(nn.Flatten(), nn.Linear(6 * 7 * 8, 5, **OPTIONS)),
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6 * 7 * 8, 5)),
    ),
    "linear without bias": (
        nn.Sequential(nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(6, 5, bias=False, **OPTIONS)),
        torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 5, bias=False)),
    ),
    "dropout in evaluation": (nn.Dropout(0.5, rng=np.random.default_rng(0)).eval(), torch.nn.Dropout(0.5).eval()),
}


@pytest.mark.parametrize("name", PAIRS)
def test_layer(name: str) -> None:
    layer, module = PAIRS[name]
    rng = np.random.default_rng(1)
    randomize(layer, rng)
    copy_parameters(layer, module.double())
    compare(layer, module, 2 * rng.standard_normal((4, 6, 7, 8)), rng)


@pytest.mark.parametrize("momentum", [0.1, 0.75])
def test_batch_norm(momentum: float) -> None:
    """Training, with the running statistics of three batches of different sizes, and then evaluation with them."""
    layer = nn.BatchNorm2d(6, eps=1e-3, momentum=momentum, dtype=np.float64)
    module = torch.nn.BatchNorm2d(6, eps=1e-3, momentum=momentum).double()
    rng = np.random.default_rng(1)
    randomize(layer, rng)
    copy_parameters(layer, module)
    for size in (7, 5, 2):
        compare(layer, module, rng.normal(3.0, 2.0, (2, 6, size, size)), rng)
        for name, buffer in layer.named_buffers():
            assert_close(name, buffer, getattr(module, name))
    compare(layer.eval(), module.eval(), rng.normal(3.0, 2.0, (2, 6, 5, 5)), rng)


def test_batch_norm_in_tensorflows_convention() -> None:
    """TensorFlow's momentum is the share of the old: 0.99 there is 0.01 in PyTorch."""
    layer = nn.BatchNorm2d(6, momentum=0.99, momentum_convention="tensorflow", dtype=np.float64)
    module = torch.nn.BatchNorm2d(6, momentum=1 - 0.99).double()
    rng = np.random.default_rng(1)
    for _ in range(3):
        compare(layer, module, rng.normal(3.0, 2.0, (2, 6, 5, 5)), rng)
    for name, buffer in layer.named_buffers():
        assert_close(name, buffer, getattr(module, name))


def randomize(layer: nn.Layer, rng: np.random.Generator) -> None:
    """Parameters that no initialisation would give: biases of 0 and gammas of 1 hide mistakes."""
    for _, array in layer.named_params():
        array[...] = rng.standard_normal(array.shape)


def compare(layer: nn.Layer, module: torch.nn.Module, x: Array, rng: np.random.Generator) -> None:
    """Forward and backward of both, with a random dy."""
    x_tensor = torch.from_numpy(x).requires_grad_()
    y, y_tensor = layer(x), module(x_tensor)
    assert_close("y", y, y_tensor)
    dy = rng.standard_normal(y.shape)
    dx = layer.backward(dy)
    expected = torch.autograd.grad(y_tensor, (x_tensor, *module.parameters()), torch.from_numpy(dy))
    got = [("dx", dx), *layer.named_grads()]
    assert [name for name, _ in layer.named_grads()] == [name for name, _ in layer.named_params()]
    for (name, gradient), tensor in zip(got, expected, strict=True):
        assert_close(name, gradient, tensor)


def assert_close(name: str, got: Array, expected: torch.Tensor) -> None:
    """Equal to within TOLERANCE of the largest number in the array."""
    reference = expected.detach().numpy()
    np.testing.assert_allclose(
        got, reference, rtol=0, atol=TOLERANCE * np.abs(reference).max(), strict=True, err_msg=name
    )
