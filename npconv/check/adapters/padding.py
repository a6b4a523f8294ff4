"""Padding and other options in the one form that a framework takes, worked out independently of `npconv.geometry`."""

from __future__ import annotations

from typing import Any, TypeAlias

Pair: TypeAlias = tuple[int, int]


def pair(value: Any) -> Pair:
    """(rows, columns); one number counts for both."""
    rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
    return int(rows), int(columns)


def window(stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> tuple[Pair, Any, Pair, int]:
    """A convolution's options in this order."""
    return pair(stride), padding, pair(dilation), groups


def sides(
    padding: Any, size: tuple[int, ...], kernel: tuple[int, ...], stride: Any = 1, dilation: Any = 1
) -> tuple[Pair, Pair]:
    """Any form of padding as ((top, bottom), (left, right)); `size` and `kernel` are read for "same" only."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding in ("same", "same_lower"):
        axes = zip(size, kernel, pair(stride), pair(dilation), strict=True)
        rows, columns = (_same(*axis) for axis in axes)
        return (rows, columns) if padding == "same" else (rows[::-1], columns[::-1])
    if isinstance(padding, (tuple, list)) and isinstance(padding[0], (tuple, list)):
        return pair(padding[0]), pair(padding[1])
    above, left = pair(padding)
    return (above, above), (left, left)


def _same(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    """TensorFlow's documented rule: what the last of ceil(size / stride) windows lacks, the odd pixel after the image.

    The last window starts at the largest multiple of the stride inside the image, and must end at its last tap.
    """
    last_start = (size - 1) // stride * stride
    lacking = max(last_start + (kernel - 1) * dilation - (size - 1), 0)
    return lacking // 2, (lacking + 1) // 2


def windows(size: int, kernel: int, stride: int, pads: Pair, ceil_mode: bool = False) -> int:
    """How many windows an axis has: whole ones, and in ceil mode one more where it starts before the padding at the end."""
    room = size + sum(pads) - kernel
    if not ceil_mode:
        return room // stride + 1
    return min(-(-max(room, 0) // stride), (size + pads[0] - 1) // stride) + 1
