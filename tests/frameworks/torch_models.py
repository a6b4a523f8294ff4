"""The tiny networks of `npconv.models` in plain PyTorch, written from the papers' units, and the copying of parameters.

Modules are registered in the order in which npconv lists its parameters, so that the two lists go together one by one.
"""

from __future__ import annotations

from typing import Any

from required import framework

import npconv.nn

torch = framework("torch")
# It needs torch, so it comes after the line that skips without it.
from npconv.check.adapters import load  # noqa: E402

nn = torch.nn
torch_ops = load("torch")
functional = nn.functional

Tensor = Any
Module = Any
Maps = tuple[Any, Any]
"""(high, low); low is None where it has no channels."""


def copy_parameters(layer: npconv.nn.Layer, module: Module) -> None:
    """Copy the parameters of `layer` into `module`, in order; every shape must agree."""
    with torch.no_grad():
        for (name, array), parameter in zip(layer.named_params(), module.parameters(), strict=True):
            assert array.shape == parameter.shape, f"{name} has the shape {array.shape}, PyTorch's {parameter.shape}"
            parameter.copy_(torch.from_numpy(array))


def conv_bn(ins: int, outs: int, kernel: int, *, stride: int = 1, groups: int = 1, relu: bool = True) -> Module:
    """Convolution, batch norm and, if asked for, ReLU: what all four papers are made of."""
    convolution = nn.Conv2d(ins, outs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outs), *([nn.ReLU()] if relu else []))


def head(channels: int, num_classes: int) -> Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


# --- MobileNet, figure 3 -----------------------------------------------------------------------------------------


def separable_block(ins: int, outs: int, *, stride: int = 1) -> Module:
    return nn.Sequential(conv_bn(ins, ins, 3, stride=stride, groups=ins), conv_bn(ins, outs, 1))


def mobilenet(num_classes: int, in_channels: int) -> Module:
    return nn.Sequential(
        conv_bn(in_channels, 16, 3),
        separable_block(16, 32),
        separable_block(32, 64, stride=2),
        separable_block(64, 64),
        separable_block(64, 128, stride=2),
        head(128, num_classes),
    )


# --- ShuffleNet, figure 2 ----------------------------------------------------------------------------------------


class ShuffleUnit(nn.Module):
    def __init__(self, ins: int, outs: int, *, groups: int = 3, stride: int = 1, group_first: bool = True) -> None:
        super().__init__()
        middle, made = outs // 4, outs if stride == 1 else outs - ins
        self.stride = stride
        self.main = nn.Sequential(
            conv_bn(ins, middle, 1, groups=groups if group_first else 1),
            nn.ChannelShuffle(groups),
            conv_bn(middle, middle, 3, stride=stride, groups=middle, relu=False),
            conv_bn(middle, made, 1, groups=groups, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return functional.relu(x + self.main(x))
        pooled = functional.avg_pool2d(x, 3, self.stride, 1)
        return functional.relu(torch.cat([pooled, self.main(x)], dim=1))


def shufflenet(num_classes: int, in_channels: int) -> Module:
    return nn.Sequential(
        conv_bn(in_channels, 24, 3),
        ShuffleUnit(24, 96, stride=2, group_first=False),
        ShuffleUnit(96, 96),
        ShuffleUnit(96, 192, stride=2),
        ShuffleUnit(192, 192),
        head(192, num_classes),
    )


# --- GhostNet, figures 2 and 3 -----------------------------------------------------------------------------------


class GhostModule(nn.Module):
    def __init__(self, ins: int, outs: int, *, ratio: int = 2, relu: bool = True) -> None:
        super().__init__()
        self.outs, maps = outs, -(-outs // ratio)
        self.primary = conv_bn(ins, maps, 1, relu=relu)
        self.cheap = conv_bn(maps, maps * (ratio - 1), 3, groups=maps, relu=relu)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], dim=1)[:, : self.outs]


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, reduced, 1), nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = functional.relu(self.reduce(x.mean(dim=(2, 3), keepdim=True)))
        # Not F.hardsigmoid: the 1/6 of its gradient has single precision, in float64 too.
        return x * (functional.relu6(self.expand(squeezed) + 3) / 6)


class GhostBottleneck(nn.Module):
    def __init__(self, ins: int, expanded: int, outs: int, *, stride: int = 1, reduced: int | None = None) -> None:
        super().__init__()
        self.main = nn.Sequential(
            GhostModule(ins, expanded),
            conv_bn(expanded, expanded, 3, stride=stride, groups=expanded, relu=False) if stride > 1 else nn.Identity(),
            SqueezeExcite(expanded, reduced) if reduced else nn.Identity(),
            GhostModule(expanded, outs, relu=False),
        )
        self.shortcut = nn.Identity()
        if stride > 1 or ins != outs:
            self.shortcut = nn.Sequential(
                conv_bn(ins, ins, 3, stride=stride, groups=ins, relu=False), conv_bn(ins, outs, 1, relu=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)


def ghostnet(num_classes: int, in_channels: int) -> Module:
    return nn.Sequential(
        conv_bn(in_channels, 16, 3),
        GhostBottleneck(16, 16, 16),
        GhostBottleneck(16, 48, 24, stride=2),
        GhostBottleneck(24, 72, 24, reduced=20),
        GhostBottleneck(24, 72, 40, stride=2, reduced=20),
        conv_bn(40, 120, 1),
        head(120, num_classes),
    )


# --- ResNet, figure 5, and the octave network that it becomes ----------------------------------------------------


class BasicBlock(nn.Module):
    def __init__(self, ins: int, outs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.main = nn.Sequential(conv_bn(ins, outs, 3, stride=stride), conv_bn(outs, outs, 3, relu=False))
        self.shortcut = nn.Identity()
        if stride > 1 or ins != outs:
            self.shortcut = conv_bn(ins, outs, 1, stride=stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.main(x) + self.shortcut(x))


def resnet(num_classes: int, in_channels: int) -> Module:
    return nn.Sequential(
        conv_bn(in_channels, 16, 3),
        BasicBlock(16, 16),
        BasicBlock(16, 32, stride=2),
        BasicBlock(32, 32),
        head(32, num_classes),
    )


class OctaveConvBN(nn.Module):
    """Octave convolution and a batch norm per frequency; `ins` and `outs` are (high, low) channels."""

    def __init__(self, ins: tuple[int, int], outs: tuple[int, int], kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.options = {"stride": stride, "padding": kernel // 2}
        paths = {"hh": (0, 0), "hl": (0, 1), "lh": (1, 0), "ll": (1, 1)}
        for path, (source, target) in paths.items():
            shape = outs[target], ins[source], kernel, kernel
            self.register_parameter(path, nn.Parameter(torch.empty(shape)) if all(shape) else None)
        self.bn_high, self.bn_low = (nn.BatchNorm2d(channels) if channels else None for channels in outs)

    def forward(self, x: Maps) -> Maps:
        high, low = torch_ops.octave_conv2d(x, (self.hh, self.hl, self.lh, self.ll), **self.options)
        return self.bn_high(high), None if low is None else self.bn_low(low)


class OctaveBlock(nn.Module):
    def __init__(self, ins: tuple[int, int], outs: tuple[int, int], *, stride: int = 1) -> None:
        super().__init__()
        self.first = OctaveConvBN(ins, outs, 3, stride=stride)
        self.second = OctaveConvBN(outs, outs, 3)
        self.shortcut = OctaveConvBN(ins, outs, 1, stride=stride) if stride > 1 or ins != outs else nn.Identity()

    def forward(self, x: Maps) -> Maps:
        y = self.second(tuple(None if a is None else functional.relu(a) for a in self.first(x)))
        return tuple(None if a is None else functional.relu(a + b) for a, b in zip(y, self.shortcut(x), strict=True))


class OctaveNet(nn.Module):
    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = conv_bn(in_channels, 16, 3)
        self.blocks = nn.Sequential(
            OctaveBlock((16, 0), (8, 8)), OctaveBlock((8, 8), (16, 16), stride=2), OctaveBlock((16, 16), (32, 0))
        )
        self.head = head(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        high, _ = self.blocks((self.stem(x), None))
        return self.head(high)


NETWORKS = {
    "mobilenet": mobilenet,
    "shufflenet": shufflenet,
    "ghostnet": ghostnet,
    "octave": OctaveNet,
    "resnet": resnet,
}
