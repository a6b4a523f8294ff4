"""Sizes, padding rules and argument checks: the one place where a problem is found to be well posed.

Everything below `npconv.ops` relies on it: a geometry that exists is right, so neither `reference` nor `kernels`
checks anything. Every error is raised here, before any work, and names the argument, its value and the rule.

Imports nothing of npconv.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = tuple[int, int]
IntOrPair: TypeAlias = "int | Sequence[int]"
Padding: TypeAlias = "int | Sequence[int] | Sequence[Sequence[int]] | Literal['valid', 'same', 'same_lower']"

LARGEST = 2**31 - 1  # of any size or step: products of two still fit the kernels' 64-bit indices
FLOAT_DTYPES = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))


# --- scalars and pairs -------------------------------------------------------------------------------------------


def integer(name: str, value: object, *, minimum: int | None = None) -> int:
    """`value` as an int of at least `minimum`. Python and NumPy integers are welcome; bools and floats are not."""
    if type(value) is int and (minimum is None or value >= minimum) and value <= LARGEST:
        return value  # nearly always; small convolutions wait for these checks
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        result = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if minimum is not None and result < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {name}={result}")
    if result > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST}, got {name}={result}")
    return result


def _number(name: str, value: object) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


def positive(name: str, value: object, *, zero: bool = False) -> float:
    """`value` as a finite float above 0, or at least 0 where `zero`."""
    result = _number(name, value)
    if not (0.0 < result < float("inf") or (zero and result == 0.0)):
        raise ValueError(f"{name} must be finite and {'at least' if zero else 'above'} 0, got {name}={result}")
    return result


def fraction(name: str, value: object, *, below_one: bool = False) -> float:
    """`value` as a float in [0, 1], or in [0, 1) where `below_one`."""
    result = _number(name, value)
    if not 0.0 <= result <= 1.0 or (below_one and result == 1.0):
        raise ValueError(f"{name} must be in [0, 1{')' if below_one else ']'}, got {name}={result}")
    return result


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return type(value) is not int and isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)


def pair(name: str, value: object, *, minimum: int) -> Pair:
    """`value` as (rows, columns): an int counts for both."""
    if not _is_sequence(value):
        both = integer(name, value, minimum=minimum)
        return both, both
    if len(value) != 2:
        raise ValueError(f"{name} must be an int or (rows, columns), got {value!r}")
    return integer(name, value[0], minimum=minimum), integer(name, value[1], minimum=minimum)


def shape(name: str, value: object, letters: str) -> tuple[int, ...]:
    """`value` as a tuple of sizes, one for each of `letters`; only the batch, N, may be 0."""
    if (
        type(value) is tuple
        and len(value) == len(letters)
        and all(type(size) is int and 0 < size <= LARGEST for size in value)
    ):
        return value  # that of an array that is not empty
    if not _is_sequence(value):
        raise TypeError(f"{name} must be a tuple of {len(letters)} ints, got {value!r}")
    if len(value) != len(letters):
        raise ValueError(f"{name} must have {len(letters)} sizes ({', '.join(letters)}), got {tuple(value)}")
    sizes = tuple(integer(f"{name}[{axis}]", size) for axis, size in enumerate(value))
    for letter, size in zip(letters, sizes, strict=True):
        if size < (0 if letter == "N" else 1):
            raise ValueError(
                f"{name} must have no empty axis but the batch, got shape {sizes} for ({', '.join(letters)})"
            )
    return sizes


def check_array(name: str, array: object, letters: str) -> tuple[int, ...]:
    """The shape of `array`, once it is known to be a NumPy array with one axis for each of `letters`."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.ndim != len(letters):
        raise ValueError(
            f"{name} must have {len(letters)} axes ({', '.join(letters)}), got {array.ndim} in shape {array.shape}"
        )
    return shape(name, array.shape, letters)


def check_shape(name: str, array: object, expected: tuple[int, ...], meaning: str) -> None:
    """Raise unless `array` is a NumPy array of the `expected` shape; `meaning` says what that shape is."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.shape != expected:
        raise ValueError(f"{name} must have the shape {expected} ({meaning}), got {array.shape}")


def check_dtypes(arrays: Sequence[tuple[str, object]]) -> np.dtype[Any]:
    """The one float dtype that all the named `arrays` share."""
    first_name, first_dtype = "", None
    for name, array in arrays:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
        if array.dtype not in FLOAT_DTYPES:
            raise TypeError(f"{name} must be float16, float32 or float64, got dtype {array.dtype}")
        if first_dtype is None:
            first_name, first_dtype = name, array.dtype
        elif array.dtype != first_dtype:
            raise TypeError(
                f"{name} must have the dtype of {first_name}, got {array.dtype} with {first_name} {first_dtype}"
            )
    if first_dtype is None:
        raise TypeError("at least one array is needed, got none")
    return first_dtype


# --- padding -----------------------------------------------------------------------------------------------------


def effective_kernel(kernel: int, dilation: int) -> int:
    """Pixels from the first to the last tap of a dilated kernel, both included."""
    return dilation * (kernel - 1) + 1


def same_padding(size: int, kernel: int, stride: int, dilation: int, *, lower: bool) -> Pair:
    """(before, after) so that the output has ceil(size / stride) pixels; the odd pixel goes after, or before if `lower`.

    TensorFlow's SAME and ONNX's SAME_UPPER (SAME_LOWER if `lower`), at any stride.
    """
    out = -(-size // stride)
    total = max((out - 1) * stride + effective_kernel(kernel, dilation) - size, 0)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def explicit_padding(padding: object, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Any form of `padding` as ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0), (0, 0)
        if padding not in ("same", "same_lower"):
            raise ValueError(f"padding must be 'valid', 'same' or 'same_lower' where it is a string, got {padding!r}")
        lower = padding == "same_lower"
        return (
            same_padding(size[0], kernel[0], stride[0], dilation[0], lower=lower),
            same_padding(size[1], kernel[1], stride[1], dilation[1], lower=lower),
        )
    if _is_sequence(padding):
        nested = [_is_sequence(side) for side in padding]
        if len(nested) != 2 or any(nested) != all(nested):
            raise ValueError(
                f"padding must be an int, (rows, columns), ((top, bottom), (left, right)) or a string, got {padding!r}"
            )
        if all(nested):
            return pair("padding", padding[0], minimum=0), pair("padding", padding[1], minimum=0)
    rows, columns = pair("padding", padding, minimum=0)
    return (rows, rows), (columns, columns)


def _output_size(axis: str, size: int, kernel: int, stride: int, dilation: int, pads: Pair) -> int:
    """Outputs along one axis: floor((size + pads - effective kernel) / stride) + 1."""
    padded, reach = size + sum(pads), effective_kernel(kernel, dilation)
    if reach > padded:
        raise ValueError(
            f"the kernel must fit into the padded input, got an effective kernel {axis} of {reach} = "
            f"{dilation} * ({kernel} - 1) + 1 on a padded {axis} of {padded} = {size} + {pads[0]} + {pads[1]}"
        )
    return (padded - reach) // stride + 1


# --- convolution -------------------------------------------------------------------------------------------------


class Conv2dGeometry(NamedTuple):
    """Every size of one 2-D convolution; make one with `Conv2dGeometry.of`, which checks that they fit together.

    Output pixel (p, q) reads input row ``p * stride_height + r * dilation_height - pad_top`` at kernel row r, and the
    column likewise; rows and columns outside the input are 0.
    """

    batch: int
    groups: int
    in_channels_per_group: int
    out_channels_per_group: int
    in_height: int
    in_width: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    dilation_height: int
    dilation_width: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
    ) -> Conv2dGeometry:
        """The geometry of x (N, C, H, W) convolved with w (O, C/groups, kh, kw)."""
        batch, in_channels, in_height, in_width = shape("x", x_shape, "NCHW")
        out_channels, in_channels_per_group, kernel_height, kernel_width = shape("w", w_shape, "OCHW")
        groups = integer("groups", groups, minimum=1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                "groups must divide in_channels and out_channels, "
                f"got groups={groups}, in_channels={in_channels}, out_channels={out_channels}"
            )
        if in_channels_per_group != in_channels // groups:
            raise ValueError(
                f"w must have in_channels / groups = {in_channels // groups} channels on axis 1, "
                f"got {in_channels_per_group} in shape {tuple(w_shape)} with in_channels={in_channels}, groups={groups}"
            )
        kernel = kernel_height, kernel_width
        strides = pair("stride", stride, minimum=1)
        dilations = pair("dilation", dilation, minimum=1)
        rows, columns = explicit_padding(padding, (in_height, in_width), kernel, strides, dilations)
        return cls(
            batch,
            groups,
            in_channels_per_group,
            out_channels // groups,
            in_height,
            in_width,
            _output_size("height", in_height, kernel_height, strides[0], dilations[0], rows),
            _output_size("width", in_width, kernel_width, strides[1], dilations[1], columns),
            kernel_height,
            kernel_width,
            *strides,
            *dilations,
            *rows,
            *columns,
        )

    @classmethod
    def of_depthwise(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
    ) -> Conv2dGeometry:
        """The geometry of x (N, C, H, W) convolved with w (C * m, 1, kh, kw), one group per channel."""
        channels = shape("x", x_shape, "NCHW")[1]
        w_sizes = shape("w", w_shape, "OCHW")
        if w_sizes[1] != 1 or w_sizes[0] % channels:
            raise ValueError(
                f"w must have the shape (C * multiplier, 1, kh, kw) with C = {channels} channels of x, got {w_sizes}"
            )
        return cls.of(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=channels)

    @property
    def in_channels(self) -> int:
        return self.groups * self.in_channels_per_group

    @property
    def out_channels(self) -> int:
        return self.groups * self.out_channels_per_group

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.in_channels, self.in_height, self.in_width

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        return self.out_channels, self.in_channels_per_group, self.kernel_height, self.kernel_width

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.out_channels, self.out_height, self.out_width

    def check_bias(self, b: object) -> None:
        """Raise unless `b` is None or one number per output channel."""
        if b is not None:
            check_shape("b", b, (self.out_channels,), "one number per output channel")

    def check_dy(self, dy: object) -> None:
        """Raise unless `dy` has the shape of the output."""
        check_shape("dy", dy, self.y_shape, "that of the output")


# --- pooling and up-sampling -------------------------------------------------------------------------------------


class Pool2dGeometry(NamedTuple):
    """Every size of one 2-D pooling; make one with `Pool2dGeometry.of`, which checks that every window holds a pixel."""

    batch: int
    channels: int
    in_height: int
    in_width: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int

    @classmethod
    def of(
        cls,
        x_shape: Sequence[int],
        kernel: IntOrPair,
        *,
        stride: IntOrPair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
    ) -> Pool2dGeometry:
        """The geometry of x (N, C, H, W) under windows of `kernel`, `stride` apart (by default the kernel's size).

        `ceil_mode` adds the last, incomplete window, provided that it starts inside the input or its leading padding.
        """
        batch, channels, in_height, in_width = shape("x", x_shape, "NCHW")
        kernels = pair("kernel", kernel, minimum=1)
        strides = kernels if stride is None else pair("stride", stride, minimum=1)
        sides = explicit_padding(padding, (in_height, in_width), kernels, strides, (1, 1))
        counts = []
        for axis, size, k, s, pads in zip(
            ("height", "width"), (in_height, in_width), kernels, strides, sides, strict=True
        ):
            if max(pads) >= k:
                raise ValueError(
                    f"padding must be smaller than the kernel so that every window holds a pixel, "
                    f"got padding {pads} with a kernel {axis} of {k}"
                )
            if ceil_mode:
                count = max(-(-(size + sum(pads) - k) // s), 0) + 1
                count -= (count - 1) * s >= size + pads[0]
            else:
                count = _output_size(axis, size, k, s, 1, pads)
            counts.append(count)
        out_height, out_width = counts
        return cls(
            batch, channels, in_height, in_width, out_height, out_width, *kernels, *strides, *sides[0], *sides[1]
        )

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.in_height, self.in_width

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.out_height, self.out_width

    def check_dy(self, dy: object) -> None:
        """Raise unless `dy` has the shape of the output."""
        check_shape("dy", dy, self.y_shape, "that of the output")


class UpsampleGeometry(NamedTuple):
    """Sizes of one nearest-neighbour up-sampling: output pixel (p, q) is input pixel (p // scale_height, q // scale_width)."""

    batch: int
    channels: int
    in_height: int
    in_width: int
    out_height: int
    out_width: int
    scale_height: int
    scale_width: int

    @classmethod
    def of(cls, x_shape: Sequence[int], scale: IntOrPair = 2, size: IntOrPair | None = None) -> UpsampleGeometry:
        """The geometry of x (N, C, H, W) repeated `scale` times, cropped to `size` = (rows, columns) where given.

        `size` may crop less than one input pixel: ceil(size / scale) must be the input's size.
        """
        batch, channels, in_height, in_width = shape("x", x_shape, "NCHW")
        scales = pair("scale", scale, minimum=1)
        full = in_height * scales[0], in_width * scales[1]
        out = full if size is None else pair("size", size, minimum=1)
        for axis, want, have, s in zip(("height", "width"), out, (in_height, in_width), scales, strict=True):
            if -(-want // s) != have:
                raise ValueError(
                    f"size must crop less than one input pixel, so {axis} must be in "
                    f"[{(have - 1) * s + 1}, {have * s}], got size={out} for an input {axis} of {have} at scale {s}"
                )
        return cls(batch, channels, in_height, in_width, *out, *scales)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.in_height, self.in_width

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.out_height, self.out_width

    def check_dy(self, dy: object) -> None:
        """Raise unless `dy` has the shape of the output."""
        check_shape("dy", dy, self.y_shape, "that of the output")


# --- the papers' channel rules -----------------------------------------------------------------------------------


def octave_channels(channels: int, alpha: float) -> Pair:
    """(high, low) channels of an octave map: low = int(alpha * channels), high is the rest.

    Source: OctConv (arXiv 1904.05049), section 3.1; the rounding is the official code's.

    >>> octave_channels(10, 0.25)
    (8, 2)
    """
    channels = integer("channels", channels, minimum=1)
    low = int(fraction("alpha", alpha) * channels)
    return channels - low, low


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
    if stride_mode not in ("pool", "conv"):
        raise ValueError(f"stride_mode must be 'pool' or 'conv', got {stride_mode!r}")
    strides = pair("stride", stride, minimum=1)
    if stride_mode == "conv" or strides == (1, 1):
        return _EQUATION_4, strides
    if strides != (2, 2):
        raise ValueError(f"stride must be 1 or 2 in stride_mode 'pool', got stride={stride!r}")
    return _POOLED_FIRST, (1, 1)


def octave_pooling(path: OctavePath, names: Collection[str], shape: tuple[int, ...]) -> tuple[int, Pool2dGeometry]:
    """How a path pools its source of that shape (N, C, H, W), and from which level: 1 is the source itself.

    At an odd border the last window is smaller: ceil mode, padding not counted. Where windows of 4 x 4 tile the map, and a path
    among `names` has pooled it by 2 already, they are windows of 2 x 2 of that, level 2.

    >>> high_to_low = octave_paths(2, "pool")[0][1]
    >>> octave_pooling(high_to_low, ("hh", "hl"), (1, 1, 8, 8))[0], octave_pooling(high_to_low, ("hl",), (1, 1, 8, 8))[0]
    (2, 1)
    """
    batch, channels, height, width = shape
    level = 2 if path.name == "hl" and path.pool == 4 and "hh" in names and not (height % 4 or width % 4) else 1
    pooled = batch, channels, -(-height // level), -(-width // level)
    return level, Pool2dGeometry.of(pooled, path.pool // level, ceil_mode=True)


def octave_joints(
    convolutions: Sequence[tuple[int, int, Conv2dGeometry]], channels: str
) -> list[tuple[list[int], Conv2dGeometry]]:
    """Which convolutions of an octave convolution are one with more `channels`, the name of a field: their places, and that one.

    Each is given with the map that it leads to, or comes from, and its factor there. Those that agree in all but their channels
    are one; channels that are in groups would have to be put side by side in each.
    """
    joints: dict[tuple[Any, ...], tuple[list[int], Conv2dGeometry]] = {}
    for place, (frequency, factor, geometry) in enumerate(convolutions):
        alone = place if geometry.groups > 1 else None
        key = frequency, factor, alone, geometry._replace(**{channels: 0})
        places, joint = joints.get(key, ([], geometry._replace(**{channels: 0})))
        joint = joint._replace(**{channels: getattr(joint, channels) + getattr(geometry, channels)})
        joints[key] = [*places, place], joint
    return list(joints.values())


def ghost_channels(out_channels: int, ratio: int) -> Pair:
    """(primary, cheap) channels of a ghost convolution: m = ceil(out_channels / ratio) primary maps, m * (ratio - 1) ghosts.

    Together they may be more than `out_channels`: the surplus ghosts are cut.
    Source: GhostNet (arXiv 1911.11907), section 3.1; the rounding is the official code's.

    >>> ghost_channels(15, 2)
    (8, 8)
    """
    out_channels = integer("out_channels", out_channels, minimum=1)
    ratio = integer("ratio", ratio, minimum=1)
    primary = -(-out_channels // ratio)
    return primary, primary * (ratio - 1)


def check_shuffle_groups(channels: int, groups: int) -> int:
    """`groups` as an int that divides `channels`."""
    groups = integer("groups", groups, minimum=1)
    if channels % groups:
        raise ValueError(f"groups must divide the channels, got groups={groups}, channels={channels}")
    return groups
