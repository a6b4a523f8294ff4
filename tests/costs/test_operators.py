"""The costs of operators against counting: nested loops that count one per multiplication."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from counting import DIRECTIONS, alphas, convolutions, macs_of, many, pairs, sizes, window_starts
from hypothesis import given
from hypothesis import strategies as st

import npconv
from npconv import costs
from npconv.costs import Cost

# --- convolutions ------------------------------------------------------------------------------------------------


@many
@given(convolutions(), st.booleans())
def test_conv2d_is_the_number_of_multiplications(problem, count_padding):
    x_shape, w_shape, options = problem
    expected = macs_of(x_shape, w_shape, count_padding, **options)
    for direction in DIRECTIONS:  # each product has one x, one w and one y: whichever is asked for, it is formed once
        assert (
            costs.conv2d(x_shape, w_shape, direction=direction, count_padding=count_padding, **options).macs == expected
        )


@pytest.mark.slow
@many
@given(convolutions(depthwise=True), st.booleans())
def test_depthwise_conv2d_is_the_number_of_multiplications(problem, count_padding):
    x_shape, w_shape, options = problem
    expected = macs_of(x_shape, w_shape, count_padding, groups=x_shape[1], **options)
    for direction in DIRECTIONS:
        cost = costs.depthwise_conv2d(x_shape, w_shape, direction=direction, count_padding=count_padding, **options)
        assert cost.macs == expected


@pytest.mark.slow
@many
@given(convolutions())
def test_counts_are_what_sums_of_ones_come_to(problem):
    """With ones for x, w and dy, every product inside the image adds 1 to y, to dx and to dw."""
    x_shape, w_shape, options = problem
    x, w = np.ones(x_shape), np.ones(w_shape)
    y = npconv.conv2d(x, w, **options)
    dx, dw, _ = npconv.conv2d_backward(np.ones_like(y), x, w, **options)
    for total, direction in zip((y, dx, dw), DIRECTIONS, strict=True):
        cost = costs.conv2d(x_shape, w_shape, direction=direction, count_padding=False, **options)
        assert cost.macs == total.sum()


@pytest.mark.slow
@many
@given(sizes, sizes, sizes, sizes, pairs, st.integers(1, 2))
def test_pointwise_conv2d_is_the_number_of_multiplications(channels, out_channels, height, width, stride, groups):
    x_shape, w_shape = (2, channels * groups, height, width), (out_channels * groups, channels, 1, 1)
    for direction in DIRECTIONS:
        cost = costs.pointwise_conv2d(x_shape, w_shape, stride=stride, groups=groups, direction=direction)
        assert cost.macs == macs_of(x_shape, w_shape, stride=stride, groups=groups)


@many
@given(st.integers(0, 3), sizes, sizes)
def test_linear_is_the_number_of_multiplications(batch, in_features, out_features):
    products = [(n, c, o) for n in range(batch) for o in range(out_features) for c in range(in_features)]
    for direction in DIRECTIONS:
        assert costs.linear((batch, in_features), (out_features, in_features), direction=direction).macs == len(
            products
        )


def test_both_counts_differ_by_the_taps_on_padding():
    """A 3 x 3 kernel over a padded 2 x 2 image: each of the 4 windows has 4 of 9 taps inside."""
    options = {"padding": 1}
    assert costs.conv2d((1, 1, 2, 2), (1, 1, 3, 3), **options).macs == 36
    assert costs.conv2d((1, 1, 2, 2), (1, 1, 3, 3), count_padding=False, **options).macs == 16


@pytest.mark.slow
@many
@given(convolutions(depthwise=True), st.integers(1, 3), st.booleans())
def test_separable_conv2d_is_the_sum_of_its_literal_parts(problem, multiplier, count_padding):
    x_shape, (_, _, *kernel), options = problem
    batch, channels = x_shape[:2]
    padded_rows, padded_columns = options["padding"]
    out_size = [
        len(window_starts(size, k, s, d, pads))
        for size, k, s, d, pads in zip(
            x_shape[2:], kernel, options["stride"], options["dilation"], (padded_rows, padded_columns), strict=True
        )
    ]
    filters = channels * multiplier
    expected = macs_of(x_shape, (filters, 1, *kernel), count_padding, groups=channels, **options)
    expected += batch * out_size[0] * out_size[1] * 5 * filters
    for direction in DIRECTIONS:
        cost = costs.separable_conv2d(
            x_shape,
            (5, channels, *kernel),
            multiplier=multiplier,
            direction=direction,
            count_padding=count_padding,
            **options,
        )
        assert cost.macs == expected
    forward = costs.separable_conv2d(x_shape, (5, channels, *kernel), multiplier=multiplier, bias=True, **options)
    assert forward.parameters == filters * kernel[0] * kernel[1] + 5 * filters + 5


@pytest.mark.slow
@many
@given(convolutions(), st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_ghost_conv2d_is_the_sum_of_its_literal_parts(problem, ratio, cheap_kernel, count_padding):
    x_shape, (out_channels, in_per_group, *kernel), options = problem
    out_channels *= ratio  # so that the primary maps divide by the groups, and nothing is cut
    maps, ghosts = out_channels // ratio, out_channels - out_channels // ratio
    expected = macs_of(x_shape, (maps, in_per_group, *kernel), count_padding, **options)
    out_size = [
        len(window_starts(size, k, s, d, pads))
        for size, k, s, d, pads in zip(
            x_shape[2:], kernel, options["stride"], options["dilation"], options["padding"], strict=True
        )
    ]
    if ghosts:
        before, after = (cheap_kernel - 1) // 2, cheap_kernel - 1 - (cheap_kernel - 1) // 2
        expected += macs_of(
            (x_shape[0], maps, *out_size),
            (ghosts, 1, cheap_kernel, cheap_kernel),
            count_padding,
            padding=((before, after), (before, after)),
            groups=maps,
        )
    w_shape = (out_channels, in_per_group, *kernel)
    for direction in DIRECTIONS:
        cost = costs.ghost_conv2d(
            x_shape,
            w_shape,
            ratio=ratio,
            cheap_kernel=cheap_kernel,
            direction=direction,
            count_padding=count_padding,
            **options,
        )
        assert cost.macs == expected
    parameters = maps * in_per_group * kernel[0] * kernel[1] + ghosts * cheap_kernel**2
    assert (
        costs.ghost_conv2d(x_shape, w_shape, ratio=ratio, cheap_kernel=cheap_kernel, **options).parameters == parameters
    )


def test_a_ghost_convolution_of_ratio_1_costs_what_the_convolution_does():
    """There is no ghost, and no cheap filter."""
    options = {"stride": 2, "padding": 1, "groups": 2}
    assert costs.ghost_conv2d((1, 4, 7, 5), (6, 2, 3, 2), ratio=1, **options) == costs.conv2d(
        (1, 4, 7, 5), (6, 2, 3, 2), **options
    )


def test_ghosts_that_are_cut_still_cost():
    """15 outputs at ratio 2 are 8 primary maps and 8 ghosts, the last of which is dropped after it was made."""
    cost = costs.ghost_conv2d((1, 3, 4, 4), (15, 3, 1, 1))
    assert cost.macs == 16 * (8 * 3 + 8 * 9)
    assert cost.parameters == 8 * 3 + 8 * 9


@pytest.mark.slow
@many
@given(
    st.integers(0, 2),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(1, 9),
    alphas,
    alphas,
    st.sampled_from([1, 3]),
    st.sampled_from([(1, "pool"), (2, "pool"), (2, "conv")]),
    st.booleans(),
)
def test_octave_conv2d_is_the_sum_of_its_literal_paths(
    batch, channels, out_channels, height, width, alpha_in, alpha_out, kernel, stride_and_mode, count_padding
):
    """Each path by itself, at the resolution that the paper has it: see section 3.2 and, for stride 2, the published code."""
    stride, mode = stride_and_mode
    low_in, low_out = int(alpha_in * channels), int(alpha_out * out_channels)
    ins, outs = (channels - low_in, low_in), (out_channels - low_out, low_out)

    def halved(size, times=1):
        return tuple(ceil(length / 2**times) for length in size)

    full = (height, width)
    pooled_first = stride == 2 and mode == "pool"
    if pooled_first:
        read_at = {"hh": halved(full), "hl": halved(full, 2), "lh": halved(full), "ll": halved(halved(full))}
    else:
        read_at = {"hh": full, "hl": halved(full), "lh": halved(full), "ll": halved(full)}
    path_stride = 1 if pooled_first else stride
    side = (kernel // 2, kernel // 2)
    expected = parameters = 0
    for path, size in read_at.items():
        source, target = ins["hl".index(path[0])], outs["hl".index(path[1])]
        if source and target:
            expected += macs_of(
                (batch, source, *size),
                (target, source, kernel, kernel),
                count_padding,
                stride=(path_stride, path_stride),
                padding=(side, side),
            )
            parameters += target * source * kernel**2
    shapes = (batch, channels, height, width), (out_channels, channels, kernel, kernel)
    options = {"alpha_in": alpha_in, "alpha_out": alpha_out, "stride": stride, "padding": kernel // 2}
    for direction in DIRECTIONS:
        cost = costs.octave_conv2d(
            *shapes, stride_mode=mode, direction=direction, count_padding=count_padding, **options
        )
        assert cost.macs == expected
    assert parameters == out_channels * channels * kernel**2
    with_bias = costs.octave_conv2d(*shapes, stride_mode=mode, bias=True, **options)
    assert with_bias.parameters == parameters + out_channels


@pytest.mark.slow
@many
@given(st.integers(1, 6), st.integers(1, 2), st.integers(1, 9), st.integers(1, 9), alphas, st.sampled_from([1, 2]))
def test_octave_depthwise_conv2d_is_the_sum_of_its_literal_paths(channels, multiplier, height, width, alpha, stride):
    low = int(alpha * channels)
    high_size = (ceil(height / stride), ceil(width / stride))  # stride 2: pooled first
    low_size = tuple(ceil(ceil(length / 2) / stride) for length in (height, width))
    expected = sum(
        macs_of((1, part, *size), (part * multiplier, 1, 3, 3), padding=((1, 1), (1, 1)), groups=part)
        for part, size in ((channels - low, high_size), (low, low_size))
        if part
    )
    shapes = (1, channels, height, width), (channels * multiplier, 1, 3, 3)
    for direction in DIRECTIONS:
        cost = costs.octave_depthwise_conv2d(*shapes, alpha=alpha, stride=stride, padding=1, direction=direction)
        assert cost.macs == expected


# --- Cost --------------------------------------------------------------------------------------------------------


def test_costs_add():
    a, b = Cost(1, 2, 3, 4, 5), Cost(10, 20, 30, 40, 50)
    assert a + b == sum([a, b], Cost()) == Cost(11, 22, 33, 44, 55)
    with pytest.raises(TypeError):
        a + 1


def test_flops_and_intensity():
    cost = costs.linear((4, 8), (16, 8))
    assert cost.flops == 2 * 4 * 8 * 16
    assert cost.arithmetic_intensity == cost.flops / (4 * (4 * 8 + 8 * 16 + 4 * 16))
    assert Cost().arithmetic_intensity == 0


# --- errors ------------------------------------------------------------------------------------------------------

X, W = (1, 8, 6, 6), (8, 8, 3, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: costs.conv2d(X, W, groups=3),
            ValueError,
            "groups must divide in_channels and out_channels, got groups=3",
        ),
        (lambda: costs.conv2d(X, W, stride=0), ValueError, "stride must be at least 1"),
        (lambda: costs.conv2d(X, (8, 8, 9, 9)), ValueError, "the kernel must fit into the padded input"),
        (lambda: costs.conv2d(X, W, direction="backward"), ValueError, "direction must be .*got 'backward'"),
        (lambda: costs.conv2d(X, W, itemsize=0), ValueError, "itemsize must be at least 1, got itemsize=0"),
        (lambda: costs.conv2d(X, W, itemsize=4.0), TypeError, "itemsize must be an integer, got 4.0"),
        (lambda: costs.relu, AttributeError, "relu"),
        (lambda: costs.activation(X, direction="weights"), ValueError, "direction must be .*got 'weights'"),
        (lambda: costs.add(X, direction="weights"), ValueError, "direction must be .*got 'weights'"),
        (lambda: costs.batch_norm2d(X, direction="weights"), ValueError, "direction must be .*got 'weights'"),
        (lambda: costs.activation((2, -1)), ValueError, r"x\[1\] must be at least 0"),
        (lambda: costs.pointwise_conv2d(X, W), ValueError, r"w must have a kernel of 1 x 1.*got \(8, 8, 3, 3\)"),
        (lambda: costs.linear((1, 3), (4, 5)), ValueError, "w must have the 3 features of x on axis 1, got 5"),
        (lambda: costs.separable_conv2d(X, W, multiplier=0), ValueError, "multiplier must be at least 1"),
        (lambda: costs.ghost_conv2d(X, W, ratio=0), ValueError, "ratio must be at least 1"),
        (lambda: costs.ghost_conv2d(X, W, cheap_kernel=0), ValueError, "cheap_kernel must be at least 1"),
        (
            lambda: costs.octave_conv2d(X, W, alpha_in=2, alpha_out=0),
            ValueError,
            r"alpha must be in \[0, 1\], got alpha=2",
        ),
        (
            lambda: costs.octave_conv2d(X, W, alpha_in=0.5, alpha_out=0.5, stride=3),
            ValueError,
            "stride must be 1 or 2 in stride_mode 'pool', got stride=3",
        ),
        (
            lambda: costs.octave_conv2d(X, W, alpha_in=0.5, alpha_out=0.5, stride_mode="none"),
            ValueError,
            "stride_mode must be 'pool' or 'conv', got 'none'",
        ),
        (
            lambda: costs.octave_conv2d(X, W, alpha_in=0, alpha_out=0.5),
            ValueError,
            r"padding must keep the outputs an octave apart: low must be \(2, 2\) for a high output of \(4, 4\), got \(1, 1\)",
        ),
        (
            lambda: costs.octave_conv2d(X, (8, 2, 3, 3), alpha_in=0.25, alpha_out=0, padding=1, groups=4),
            ValueError,
            "groups must divide the channels, got groups=4, channels=6",
        ),
        (lambda: costs.channel_shuffle(X, 3), ValueError, "groups must divide the channels, got groups=3, channels=8"),
        (lambda: costs.separable_ratio(0, 3), ValueError, "out_channels must be at least 1"),
        (lambda: costs.separable_macs(8, 8, 3, 14, alpha=0), ValueError, "alpha must be finite and above 0"),
        (lambda: costs.separable_macs(8, 8, 3, 14, rho=-1.0), ValueError, "rho must be finite and above 0"),
        (lambda: costs.ghost_speedup(8, 3, ratio=0), ValueError, "ratio must be at least 1"),
        (lambda: costs.octave_cost_ratio(0.5, 1.5), ValueError, r"alpha_out must be in \[0, 1\], got alpha_out=1.5"),
        (lambda: costs.octave_memory_ratio(-0.5), ValueError, r"alpha must be in \[0, 1\], got alpha=-0.5"),
        (lambda: costs.resnext_unit_macs(8, 4, 7, 7, groups=3), ValueError, "groups must divide the channels"),
        (lambda: costs.shufflenet_unit_macs(8, 4, 7, 7, groups=8), ValueError, "groups must divide.*channels=4"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("kernel", "padding", "counted", "without_padding"),
    [((3, 1), (1, 0), 3 * 2 * (5 * 3) * 4, 3 * 2 * (5 * 3 - 2) * 4), ((1, 3), (0, 1), 3 * 2 * 5 * (4 * 3), 3 * 2 * 5 * (4 * 3 - 2))],
)  # fmt: skip
def test_kernels_of_one_row_or_column(kernel, padding, counted, without_padding):
    """Rows and columns are not exchanged: x has 5 rows and 4 columns, and padding is on two sides of one axis."""
    shapes = (1, 2, 5, 4), (3, 2, *kernel)
    assert costs.conv2d(*shapes, padding=padding).macs == counted
    assert costs.conv2d(*shapes, padding=padding, count_padding=False).macs == without_padding
