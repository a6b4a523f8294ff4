"""Octave convolution: a map in two frequencies, the paths between them, and the sizes of what each path pools, convolves and repeats."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, TypeAlias

from npconv.geometry.checks import Array, IntOrPair, Pair, check_shape, pair, shown, word
from npconv.geometry.convolution import Conv2dGeometry
from npconv.geometry.padding import Padding
from npconv.geometry.pooling import Pool2dGeometry, UpsampleGeometry

Shape: TypeAlias = "tuple[int, ...]"  # () stands for an absent array

FREQUENCIES = ("high", "low")


class OctaveMap(NamedTuple):
    """A feature map in two frequencies, the low one at half the size; an absent one is None.

    Attributes
    ----------
    high, low : array (N, Ch, H, W), array (N, Cl, ceil(H / 2), ceil(W / 2)), or None
        float16, float32 or float64.
    """

    high: Array | None
    low: Array | None


class OctaveWeight(NamedTuple):
    """The four kernels of an octave convolution, ``hl`` leading from high to low; an absent path is None.

    Attributes
    ----------
    hh, hl : array (Oh, Ch / groups, kh, kw), array (Ol, Ch / groups, kh, kw), or None
        float16, float32 or float64.
    lh, ll : array (Oh, Cl / groups, kh, kw), array (Ol, Cl / groups, kh, kw), or None
    """

    hh: Array | None = None
    hl: Array | None = None
    lh: Array | None = None
    ll: Array | None = None


class OctaveBias(NamedTuple):
    """One bias per output of an octave convolution; an absent one is None.

    Attributes
    ----------
    high, low : array (Oh,), array (Ol,), or None
        float16, float32 or float64.
    """

    high: Array | None
    low: Array | None


class OctavePath(NamedTuple):
    """One way through an octave convolution: pool by a factor, convolve, repeat by a factor. 0 is high, 1 is low."""

    name: str
    source: int
    target: int
    pool: int
    repeat: int


_EQUATION_4 = (
    OctavePath("hh", 0, 0, 1, 1),
    OctavePath("hl", 0, 1, 2, 1),
    OctavePath("lh", 1, 0, 1, 2),
    OctavePath("ll", 1, 1, 1, 1),
)
_POOLED_FIRST = (
    OctavePath("hh", 0, 0, 2, 1),
    OctavePath("hl", 0, 1, 4, 1),
    OctavePath("lh", 1, 0, 1, 1),
    OctavePath("ll", 1, 1, 2, 1),
)


def octave_paths(stride: IntOrPair, stride_mode: str) -> tuple[tuple[OctavePath, ...], Pair]:
    """The paths of an octave convolution, and the stride of the convolution in each.

    Source: OctConv (arXiv 1904.05049), equation 4; for stride 2 in stride_mode "pool", the official code, which pools all
    that it reads and then convolves at stride 1.

    >>> paths, strides = octave_paths(2, "pool")
    >>> paths[2], strides  # the low map has the high output's size already
    (OctavePath(name='lh', source=1, target=0, pool=1, repeat=1), (1, 1))
    """
    word("stride_mode", stride_mode, "pool", "conv")
    strides = pair("stride", stride, minimum=1)
    if stride_mode == "conv" or strides == (1, 1):
        return _EQUATION_4, strides
    if strides != (2, 2):
        raise ValueError(f"stride must be 1 or 2 in stride_mode 'pool', got stride={shown(stride)}")
    return _POOLED_FIRST, (1, 1)


class OctaveStep(NamedTuple):
    """A path with the sizes of its three parts. Pooling is in ceil mode, so that odd sizes work."""

    path: OctavePath
    pooling: Pool2dGeometry
    convolution: Conv2dGeometry
    upsampling: UpsampleGeometry


class OctaveGeometry(NamedTuple):
    """Every size of one octave convolution; make one with `OctaveGeometry.of`, which checks that all paths fit together."""

    steps: tuple[OctaveStep, ...]
    x_shapes: tuple[Shape, Shape]
    y_shapes: tuple[Shape, Shape]

    @classmethod
    def of(
        cls,
        x_shapes: tuple[Shape, Shape],
        w_shapes: tuple[Shape, ...],
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int | None = 1,
        stride_mode: str = "pool",
    ) -> OctaveGeometry:
        """The geometry of (high, low) maps under the kernels hh, hl, lh, ll; () stands for an absent one.

        No `groups`, None, is a depthwise convolution, which has no paths from one frequency to the other.
        """
        options = stride, padding, dilation, groups, stride_mode
        # A list cannot be looked up, and (1.0, True) would be taken for (1, 1).
        simple = all(option is None or type(option) in (int, str) for option in options)
        return (_octave if simple else _octave.__wrapped__)(x_shapes, w_shapes, *options)

    def pooling_of(self, step: OctaveStep) -> tuple[int, Pool2dGeometry]:
        """From which level the map of a step is pooled, and how: (1, its own pooling), or less work from level 2.

        Where windows of 4 x 4 tile a map that another path has pooled by 2 already, they are windows of 2 x 2 of that.
        """
        pooling = step.pooling
        halved = any(other.path.source == step.path.source and other.path.pool == 2 for other in self.steps)
        if step.path.pool != 4 or not halved or pooling.in_height % 4 or pooling.in_width % 4:
            return 1, pooling
        halves = pooling.batch, pooling.channels, pooling.in_height // 2, pooling.in_width // 2
        return 2, Pool2dGeometry.of(halves, 2, ceil_mode=True)

    def check_dy(self, dy: tuple[Array | None, ...]) -> None:
        """Raise unless `dy` has the shapes of the outputs."""
        for name, dy_map, y_shape in zip(FREQUENCIES, dy, self.y_shapes, strict=True):
            _check_optional(f"dy.{name}", dy_map, y_shape, "that of the output")

    def check_bias(self, b: tuple[Array | None, ...] | None) -> None:
        """Raise unless each bias has one number per channel of its output; None is none."""
        for name, bias, y_shape in zip(FREQUENCIES, b or (None, None), self.y_shapes, strict=True):
            if bias is not None:
                _check_optional(f"b.{name}", bias, y_shape[1:2], "one number per output channel")


@functools.lru_cache(maxsize=256)  # making one takes as long as one of the convolutions of a small image
def _octave(
    x_shapes: tuple[Shape, Shape],
    w_shapes: tuple[Shape, ...],
    stride: IntOrPair,
    padding: Padding,
    dilation: IntOrPair,
    groups: int | None,
    stride_mode: str,
) -> OctaveGeometry:
    paths, strides = octave_paths(stride, stride_mode)
    options: dict[str, Any] = {"stride": strides, "padding": padding, "dilation": dilation}
    convolution = Conv2dGeometry.of_depthwise
    if groups is not None:
        convolution = Conv2dGeometry.of
        options["groups"] = groups
    _check_octave(*x_shapes)
    steps: list[OctaveStep] = []
    y_shapes: list[Shape] = [(), ()]
    for path, kernel_shape in zip(paths, w_shapes, strict=True):
        if not kernel_shape:
            continue
        source, target = FREQUENCIES[path.source], FREQUENCIES[path.target]
        x_shape = x_shapes[path.source]
        if groups is None and path.source != path.target:
            raise ValueError(
                f"w.{path.name} must be None: a depthwise octave convolution has no path {source} to {target}"
            )
        if not x_shape:
            raise ValueError(f"w.{path.name} must be None where x.{source} is None, got an array")
        try:
            pooling = Pool2dGeometry.of(x_shape, path.pool, ceil_mode=True)
            geometry = convolution(pooling.y_shape, kernel_shape, **options)
        except ValueError as error:
            raise ValueError(f"path {path.name} ({source} to {target}): {error}") from None
        part = geometry.y_shape
        y_shape = y_shapes[path.target] or (*part[:2], *(length * path.repeat for length in part[2:]))
        needed = (*y_shape[:2], *(-(-length // path.repeat) for length in y_shape[2:]))
        if part != needed:
            raise ValueError(
                f"the paths to the {target} output must fit together: {path.name} gives {part}, got a {target} output of "
                f"{y_shape}, for which it must give {needed}"
            )
        y_shapes[path.target] = y_shape
        upsampling = UpsampleGeometry.of(part, path.repeat, (y_shape[2], y_shape[3]))
        steps.append(OctaveStep(path, pooling, geometry, upsampling))
    for frequency, name in enumerate(FREQUENCIES):
        if x_shapes[frequency] and not any(step.path.source == frequency for step in steps):
            raise ValueError(f"x.{name} must be None where no path of w reads it, got an array")
    high, low = y_shapes
    if high and low and low[2:] != _octave_below(high):
        raise ValueError(
            f"padding must keep the outputs an octave apart: low must be {_octave_below(high)} for a high output of "
            f"{high[2:]}, got {low[2:]} with padding={shown(padding)}"
        )
    return OctaveGeometry(tuple(steps), x_shapes, (high, low))


def _octave_below(shape: Shape) -> Pair:
    """(rows, columns) of the low map beside a high one: half, rounded up."""
    return -(-shape[2] // 2), -(-shape[3] // 2)


def _check_octave(high: Shape, low: Shape) -> None:
    """Raise unless the two input maps are an octave apart."""
    if not high and not low:
        raise ValueError("x must have at least one map, got (None, None)")
    if high and low and (low[0] != high[0] or low[2:] != _octave_below(high)):
        expected = (high[0], low[1], *_octave_below(high))
        raise ValueError(f"x.low must be an octave below x.high {high}, {expected}, got {low}")


def _check_optional(name: str, array: Array | None, expected: Shape, meaning: str) -> None:
    """Raise unless `array` has the `expected` shape, or is None where that is ()."""
    if not expected:
        if array is not None:
            raise ValueError(f"{name} must be None where w has no path to that output, got an array")
    elif array is None:
        raise ValueError(f"{name} must be an array of the shape {expected} ({meaning}), got None")
    else:
        check_shape(name, array, expected, meaning)
