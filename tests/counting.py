"""Counting: nested loops over every multiplication of a convolution, and convolutions of all kinds to count them in.

The loops share nothing with `npconv.geometry`: a window exists if its last tap is inside the padded input.
"""

from __future__ import annotations

from itertools import product

from hypothesis import settings
from hypothesis import strategies as st

DIRECTIONS = ("forward", "input_grad", "weight_grad")
many = settings(max_examples=5 * settings().max_examples)  # counting is quick


def window_starts(size, kernel, stride, dilation, pads):
    """Where windows start on the padded axis, found by sliding one along until it no longer fits."""
    starts, start = [], 0
    while start + dilation * (kernel - 1) < size + sum(pads):
        starts.append(start)
        start += stride
    return starts


def multiplications(x_shape, w_shape, *, stride, padding, dilation, groups):
    """Every product of the definition as (y index, x index or None for a tap on padding, w index)."""
    (batch, _, height, width), (out_channels, in_channels_per_group, kernel_height, kernel_width) = x_shape, w_shape
    (top, bottom), (left, right) = padding
    rows = window_starts(height, kernel_height, stride[0], dilation[0], (top, bottom))
    columns = window_starts(width, kernel_width, stride[1], dilation[1], (left, right))
    for n, o, (p, top_row), (q, left_column) in product(
        range(batch), range(out_channels), enumerate(rows), enumerate(columns)
    ):
        group = o // (out_channels // groups)
        for c, r, s in product(range(in_channels_per_group), range(kernel_height), range(kernel_width)):
            h, w = top_row + r * dilation[0] - top, left_column + s * dilation[1] - left
            inside = 0 <= h < height and 0 <= w < width
            yield (n, o, p, q), (n, group * in_channels_per_group + c, h, w) if inside else None, (o, c, r, s)


def macs_of(x_shape, w_shape, count_padding=True, *, stride=(1, 1), padding=((0, 0),) * 2, dilation=(1, 1), groups=1):
    products = multiplications(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return sum(1 for _, x, _ in products if count_padding or x is not None)


sizes = st.integers(1, 6)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
alphas = st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.75, 1.0])


@st.composite
def convolutions(draw, depthwise=False):
    """(x_shape, w_shape, options): any stride, asymmetric padding, dilation and groups, the kernel fitting."""
    groups = draw(st.integers(1, 3))
    in_per_group, out_per_group = (1 if depthwise else draw(st.integers(1, 2))), draw(st.integers(1, 2))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = tuple(draw(st.tuples(st.integers(0, 3), st.integers(0, 3))) for _ in range(2))
    size = tuple(
        draw(st.integers(max(d * (k - 1) + 1 - sum(pads), 1), 7))
        for k, d, pads in zip(kernel, dilation, padding, strict=True)
    )
    x_shape = (draw(st.integers(0, 2)), groups * in_per_group, *size)
    w_shape = (groups * out_per_group, in_per_group, *kernel)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return x_shape, w_shape, options if depthwise else options | {"groups": groups}
