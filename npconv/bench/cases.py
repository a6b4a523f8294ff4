"""What is timed: convolution layers of the papers' networks, and a few more shapes, at batch 1 and 8."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv import costs
from npconv.geometry import Array, Conv2dGeometry, explicit_padding, ghost_channels, octave_channels
from npconv.memory import aligned
from npconv.models import NETWORKS
from npconv.nn import ChannelShuffle, GhostModule, Layer

Direction: TypeAlias = Literal["forward", "backward", "input_grad", "weight_grad"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward", "input_grad", "weight_grad")
"""A backward is all gradients at once, those of the input and of the weights; the other two are its halves."""

OPS = ("standard", "pointwise", "depthwise", "group", "octave", "ghost", "shuffle")


class Case(NamedTuple):
    """One call of one operator: the layer that makes it, its sizes (square maps and kernels) and its options."""

    op: str
    network: str
    batch: int
    in_channels: int
    out_channels: int
    size: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    alpha: float = 0.0  # of octave convolutions: the share of the low frequency, on both sides
    ratio: int = 1  # of ghost convolutions
    cheap_kernel: int = 3

    @property
    def shape(self) -> str:
        """The sizes, for people: "8x64->128 @56 3x3/2 g4".

        >>> Case("group", "", 8, 64, 128, 56, kernel=3, stride=2, padding=1, groups=4).shape
        '8x64->128 @56 3x3/2 g4'
        """
        words = [f"{self.batch}x{self.in_channels}->{self.out_channels}", f"@{self.size}"]
        if self.op != "shuffle":
            words.append(f"{self.kernel}x{self.kernel}" + (f"/{self.stride}" if self.stride > 1 else ""))
        if self.op in ("group", "shuffle"):
            words.append(f"g{self.groups}")
        if self.alpha:
            words.append(f"a{self.alpha:g}")
        if self.ratio > 1:
            words.append(f"s{self.ratio}")
        return " ".join(words)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """What there is of the case: the backward of a composite has no halves."""
        return DIRECTIONS[:2] if self.op in ("octave", "ghost", "shuffle") else DIRECTIONS

    def cost(self, direction: Direction, itemsize: int) -> costs.Cost:
        """Multiply-accumulates and compulsory traffic; those of a backward are the sum of its halves."""
        if direction == "backward":
            return self.cost("input_grad", itemsize) + self.cost("weight_grad", itemsize)
        options: dict[str, Any] = {"direction": direction, "itemsize": itemsize}
        if self.op == "shuffle":
            return costs.channel_shuffle(self._x_shape, self.groups, **options)
        options |= {"stride": self.stride, "padding": self.padding, "groups": self.groups}
        if self.op == "octave":
            return costs.octave_conv2d(
                self._x_shape, self._w_shape, alpha_in=self.alpha, alpha_out=self.alpha, **options
            )
        if self.op == "ghost":
            options |= {"ratio": self.ratio, "cheap_kernel": self.cheap_kernel}
            return costs.ghost_conv2d(self._x_shape, self._w_shape, **options)
        return costs.conv2d(self._x_shape, self._w_shape, **options)

    @property
    def terms(self) -> int:
        """At least as many products, one after another, as any number of the output or of a gradient is the sum of."""
        geometry = self.geometry
        taps = self.kernel**2
        weight_terms = self.batch * geometry.out_height * geometry.out_width
        longest = max(geometry.in_channels_per_group * taps, geometry.out_channels_per_group * taps, weight_terms)
        if self.op in ("octave", "ghost"):  # two sums one after another, or two into one, and pooling or adding
            return 2 * longest + self.cheap_kernel**2 + 16
        return longest

    def arrays(self, seed: int, dtype: DTypeLike) -> Arrays:
        """The same normally distributed numbers in every process, placed as libraries place theirs: from a cache line on."""
        rng = np.random.default_rng(seed)

        def draw(*shape: int) -> Array:
            return aligned(rng.standard_normal(shape, np.float32).astype(dtype, copy=False))

        batch, taps = self.batch, (self.kernel, self.kernel)
        y_size = self.geometry.out_height
        if self.op == "shuffle":
            return Arrays((draw(*self._x_shape),), (), (draw(*self._x_shape),))
        if self.op == "octave":
            inputs = octave_channels(self.in_channels, self.alpha)
            outputs = octave_channels(self.out_channels, self.alpha)
            sizes, y_sizes = (self.size, -(-self.size // 2)), (y_size, -(-y_size // 2))
            return Arrays(
                tuple(draw(batch, c, size, size) for c, size in zip(inputs, sizes, strict=True)),
                tuple(draw(outputs[o], inputs[i] // self.groups, *taps) for i, o in ((0, 0), (0, 1), (1, 0), (1, 1))),
                tuple(draw(batch, c, size, size) for c, size in zip(outputs, y_sizes, strict=True)),
            )
        dy = draw(batch, self.out_channels, y_size, y_size)
        if self.op == "ghost":
            maps, ghosts = ghost_channels(self.out_channels, self.ratio)
            primary = draw(maps, self.in_channels // self.groups, *taps)
            return Arrays(
                (draw(*self._x_shape),), (primary, draw(ghosts, 1, self.cheap_kernel, self.cheap_kernel)), (dy,)
            )
        return Arrays((draw(*self._x_shape),), (draw(*self._w_shape),), (dy,))

    @property
    def _x_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.in_channels, self.size, self.size

    @property
    def _w_shape(self) -> tuple[int, int, int, int]:
        return self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel

    @property
    def geometry(self) -> Conv2dGeometry:
        """The sizes of the convolution; a composite's is that of the convolution that it replaces."""
        return Conv2dGeometry.of(
            self._x_shape, self._w_shape, stride=self.stride, padding=self.padding, groups=self.groups
        )


class Arrays(NamedTuple):
    """What a case reads: octave maps are (high, low), octave kernels (hh, hl, lh, ll), ghost kernels (primary, cheap)."""

    x: tuple[Array, ...]
    w: tuple[Array, ...]
    dy: tuple[Array, ...]


class _Drawn(NamedTuple):
    """A layer of a network for images of `IMAGE` pixels: the case's sizes are read from the network."""

    op: str
    label: str
    network: str
    options: tuple[tuple[str, Any], ...]
    path: str


IMAGE = 224  # rows and columns, as in the papers

_RESNEXT = (("groups", 32), ("group_width", 4))
_DRAWN = [
    _Drawn(op, f"{label} {note}".rstrip(), network, options, path)
    for label, network, options, layers in (
        ("mobilenet_v1", "mobilenet_v1", (("padding", 1),), (
            ("standard", "stem", "stem.conv"),
            ("pointwise", "", "block1.pointwise"),
            ("pointwise", "", "block2.pointwise"),
            ("pointwise", "", "block5.pointwise"),
            ("pointwise", "", "block8.pointwise"),
            ("pointwise", "", "block13.pointwise"),
            ("depthwise", "", "block1.depthwise"),
            ("depthwise", "/2", "block2.depthwise"),
            ("depthwise", "", "block3.depthwise"),
            ("depthwise", "", "block8.depthwise"),
            ("depthwise", "", "block13.depthwise"),
        )),
        ("resnet", "resnet", (), (
            ("standard", "stem", "stem.conv"),
            ("standard", "3x3", "stage1.1.sum.main.conv2"),
            ("standard", "3x3", "stage2.1.sum.main.conv2"),
            ("standard", "3x3", "stage3.1.sum.main.conv2"),
            ("standard", "3x3", "stage4.1.sum.main.conv2"),
            ("standard", "3x3/2", "stage2.0.sum.main.conv2"),
        )),
        ("resnext", "resnet", _RESNEXT, (("group", "3x3 g32", "stage1.1.sum.main.conv2"),)),
        ("ghostnet", "ghostnet", (), (
            ("pointwise", "primary", "block11.main.expand.primary.conv"),
            ("depthwise", "5x5/2", "block4.main.depthwise"),
            ("depthwise", "5x5/2", "block12.main.depthwise"),
            ("depthwise", "cheap", "block5.main.expand.cheap.conv"),
            ("ghost", "", "block3.main.expand"),
            ("ghost", "", "block10.main.expand"),
        )),
        ("shufflenet g3", "shufflenet_v1", (("groups", 3),), (
            ("group", "", "stage2.1.sum.main.compress"),
            ("group", "", "stage2.1.sum.main.expand"),
            ("shuffle", "", "stage2.1.sum.main.shuffle"),
        )),
        ("shufflenet g8", "shufflenet_v1", (("groups", 8),), (
            ("group", "", "stage3.1.sum.main.compress"),
            ("group", "", "stage4.1.sum.main.expand"),
            ("shuffle", "", "stage3.1.sum.main.shuffle"),
        )),
    )
    for op, note, path in layers
]  # fmt: skip

# What no network here has in exactly this form: ablations, tiny networks on images of 32 x 32, and odd ones out.
_TYPED = [
    *(
        case
        for batch in (1, 8)
        for case in (
            Case("octave", "oct-resnet 3x3", batch, 64, 64, 56, 3, 1, 1, alpha=0.5),
            Case("octave", "oct-resnet 3x3", batch, 128, 128, 28, 3, 1, 1, alpha=0.25),
            Case("octave", "oct-resnet 1x1", batch, 256, 128, 28, alpha=0.5),
            Case("octave", "oct-resnet 3x3/2", batch, 128, 128, 56, 3, 2, 1, alpha=0.5),
            Case("ghost", "ghost-vgg 3x3", batch, 128, 128, 16, 3, 1, 1, ratio=2),
        )
    ),
    Case("standard", "tiny", 64, 16, 16, 32, 3, 1, 1),
    Case("standard", "tiny", 64, 32, 32, 16, 3, 1, 1),
    Case("standard", "tiny", 64, 3, 16, 32, 3, 1, 1),
    Case("standard", "tiny", 64, 1, 16, 8, 3, 1, 1),
    Case("pointwise", "tiny", 64, 32, 64, 16),
    Case("depthwise", "tiny", 64, 32, 32, 32, 3, 1, 1, 32),
    Case("depthwise", "tiny", 64, 64, 64, 8, 3, 1, 1, 64),
    Case("group", "tiny", 64, 48, 48, 16, groups=3),
]


def cases() -> list[Case]:
    """All cases, operator by operator, then by batch."""
    drawn = [_drawn(layer, batch) for batch in (1, 8) for layer in _DRAWN]
    return sorted([*drawn, *_TYPED], key=lambda case: (OPS.index(case.op), case.batch))


def _drawn(drawn: _Drawn, batch: int) -> Case:
    layers, inputs = _walked(drawn.network, drawn.options)
    layer, path = layers[drawn.path], drawn.path
    ghost: dict[str, Any] = {}
    if isinstance(layer, GhostModule):
        ghost = {"out_channels": layer.out_channels, "ratio": layer.ratio, "cheap_kernel": layer.cheap_kernel}
        path += ".primary.conv"
        layer = layers[path]
    _, channels, size, _ = inputs[path]
    case = Case(drawn.op, drawn.label, batch, channels, channels, size)
    if isinstance(layer, ChannelShuffle):
        return case._replace(groups=layer.groups)
    out_channels, in_channels_per_group, kernel, _ = layer.params["w"].shape
    stride = getattr(layer, "stride", 1)
    padding = getattr(layer, "padding", 0)
    rows, _ = explicit_padding(padding, (size, size), (kernel, kernel), (stride, stride), (1, 1))
    convolution = {
        "out_channels": out_channels,
        "kernel": kernel,
        "stride": stride,
        "padding": rows[0],  # each of these layers has as much on all sides, in whichever form it says so
        "groups": channels // in_channels_per_group,
    }
    return case._replace(**convolution | ghost)


@functools.cache
def _walked(network: str, options: tuple[tuple[str, Any], ...]) -> tuple[dict[str, Layer], dict[str, tuple[int, ...]]]:
    """The layers of a network by path, and the shape that the first primitive of each reads for one image."""
    model = NETWORKS[network](**dict(options), rng=np.random.default_rng(0))
    cost = costs.count(model, (1, 3, IMAGE, IMAGE))
    return dict(model.named_layers()), {layer.layer: layer.calls[0].in_shape for layer in cost.layers if layer.calls}
