"""Costs against counting: nested loops that count one per multiplication, arrays' own sizes, and the papers' numbers.

The counting loops share nothing with `npconv.geometry`: a window exists if its last tap is inside the padded input.
"""

from __future__ import annotations

from itertools import product
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npconv
from npconv import backends, costs, reference
from npconv.costs import Cost
from npconv.geometry import octave_channels

DIRECTIONS = ("forward", "input_grad", "weight_grad")
many = settings(max_examples=5 * settings().max_examples)  # counting is quick


@pytest.fixture(autouse=True)
def numpy_backend():
    """What is counted does not depend on the backend; NumPy has nothing to compile."""
    with npconv.backend("numpy"):
        yield


# --- counting ----------------------------------------------------------------------------------------------------


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


@many
@given(convolutions(depthwise=True), st.booleans())
def test_depthwise_conv2d_is_the_number_of_multiplications(problem, count_padding):
    x_shape, w_shape, options = problem
    expected = macs_of(x_shape, w_shape, count_padding, groups=x_shape[1], **options)
    for direction in DIRECTIONS:
        cost = costs.depthwise_conv2d(x_shape, w_shape, direction=direction, count_padding=count_padding, **options)
        assert cost.macs == expected


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


def test_ghosts_that_are_cut_still_cost():
    """15 outputs at ratio 2 are 8 primary maps and 8 ghosts, the last of which is dropped after it was made."""
    cost = costs.ghost_conv2d((1, 3, 4, 4), (15, 3, 1, 1))
    assert cost.macs == 16 * (8 * 3 + 8 * 9)
    assert cost.parameters == 8 * 3 + 8 * 9


alphas = st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.75, 1.0])


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


# --- traffic: against the arrays themselves ----------------------------------------------------------------------


def calls_of_every_primitive():
    """(primitive, arguments) of calls that reach every primitive, recorded from the operators and their gradients."""
    rng = np.random.default_rng(0)

    def array(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def both(name, *args, **options):
        y = getattr(npconv, name)(*args, **options)
        getattr(npconv, f"{name}_backward")(np.ones_like(y), *args, **options)

    x = array(2, 4, 5, 7)
    with npconv.backend("numpy"), backends.record() as calls:
        for b in (None, array(6)):
            both("conv2d", x, array(6, 2, 3, 2), b, groups=2, stride=2, padding=((1, 0), (2, 1)))
            both("pointwise_conv2d", x, array(6, 4, 1, 1), b, stride=2)
            both("linear", array(3, 5), array(6, 5), b)
        both("depthwise_conv2d", x, array(8, 1, 3, 3), array(8), padding="same")
        both("avg_pool2d", x, 2, ceil_mode=True)
        both("max_pool2d", x, 3, stride=2)
        both("global_avg_pool2d", x)
        both("upsample_nearest2d", x, (2, 3), size=(9, 20))
        both("batch_norm2d", x, array(4), array(4))
        both("batch_norm2d", x, array(4), array(4), array(4), np.ones(4, np.float32))
        both("channel_shuffle", x, groups=2)
        both("channel_unshuffle", x, groups=2)
        for name in ("relu", "relu6", "hard_sigmoid", "hard_swish"):
            both(name, x)
        both("softmax_cross_entropy", array(3, 5), np.array([0, 4, 2]))
    return calls


CALLS = calls_of_every_primitive()


def test_the_calls_reach_every_primitive():
    assert {primitive for primitive, _ in CALLS} == set(reference.__all__)


@pytest.mark.parametrize(("primitive", "arguments"), CALLS, ids=[primitive for primitive, _ in CALLS])
def test_a_call_moves_each_of_its_arrays_once(primitive, arguments):
    """The bytes are those of the arrays that went in and came out; the maps among them have the elements."""
    results = getattr(reference, primitive)(*arguments)
    results = results if isinstance(results, tuple) else (results,)
    row = costs.call_cost(primitive, arguments)
    moved = [array for array in (*arguments, *results) if isinstance(array, np.ndarray)]
    assert row.cost.bytes_moved == sum(array.nbytes for array in moved)
    assert row.in_shape == arguments[0].shape
    assert row.out_shape == results[0].shape


def test_elements_are_those_of_maps():
    x, w, b, dy = (2, 4, 6, 6), (8, 4, 3, 3), 8, 2 * 8 * 4 * 4
    forward, input_grad, weight_grad = (costs.conv2d(x, w, bias=True, direction=direction) for direction in DIRECTIONS)
    assert (forward.elements_in, forward.elements_out) == (288, dy)
    assert (input_grad.elements_in, input_grad.elements_out) == (dy, 288)
    assert (weight_grad.elements_in, weight_grad.elements_out) == (288 + dy, 0)
    assert forward.bytes_moved == weight_grad.bytes_moved == 4 * (288 + dy + 288 + b)
    assert input_grad.bytes_moved == 4 * (288 + dy + 288)
    assert (forward.parameters, input_grad.parameters, weight_grad.parameters) == (296, 0, 0)


def test_itemsize_scales_bytes_alone():
    single, double = (costs.conv2d((1, 2, 5, 5), (3, 2, 3, 3), itemsize=itemsize) for itemsize in (4, 8))
    assert double.bytes_moved == 2 * single.bytes_moved
    assert double[:-1] == single[:-1]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_operators_without_weights_cost_no_macs(direction):
    x = (2, 4, 6, 6)
    every = [
        costs.avg_pool2d(x, 2, direction=direction),
        costs.max_pool2d(x, 2, direction=direction),
        costs.global_avg_pool2d(x, direction=direction),
        costs.upsample_nearest2d(x, direction=direction),
        costs.channel_shuffle(x, 2, direction=direction),
        costs.activation(x, direction=direction),
        costs.add(x, direction=direction),
        costs.batch_norm2d(x, direction=direction),
    ]
    assert sum(every, Cost()).macs == 0
    if direction == "weight_grad":
        assert every[:-1] == [Cost()] * 7


def test_batch_norm_traffic_in_training_is_that_of_evaluation():
    """The statistics, which evaluation reads, are written, and x is read once for both."""
    x, channels = 2 * 3 * 5 * 7, 3
    forward = costs.batch_norm2d((2, 3, 5, 7), batch_statistics=True)
    assert forward.bytes_moved == 4 * (x + x + 4 * channels)
    assert forward.parameters == 2 * channels


# --- composites: against the calls that the operators make -------------------------------------------------------


def recorded(run):
    with backends.record() as calls:
        run()
    return [costs.call_cost(*call) for call in calls]


def total(rows, *, gradients=False):
    forward = [row for row in rows if gradients == row.primitive.endswith("_grad")]
    return sum((row.cost for row in forward), Cost())


@many
@given(convolutions(depthwise=True), st.integers(1, 3))
def test_separable_is_what_the_operator_calls(problem, multiplier):
    x_shape, (_, _, *kernel), options = problem
    x, w_pointwise = np.ones(x_shape), np.ones((5, x_shape[1] * multiplier, 1, 1))
    w_depthwise, b = np.ones((x_shape[1] * multiplier, 1, *kernel)), np.ones(5)
    rows = recorded(lambda: npconv.separable_conv2d(x, w_depthwise, w_pointwise, b, **options))
    closed = costs.separable_conv2d(
        x_shape, (5, x_shape[1], *kernel), multiplier=multiplier, bias=True, itemsize=8, **options
    )
    assert total(rows) == closed


@many
@given(convolutions(), st.integers(2, 3), st.integers(1, 4), st.integers(0, 2))
def test_ghost_is_what_the_operator_calls(problem, ratio, cheap_kernel, cut):
    x_shape, (maps, *rest), options = problem
    x, w_primary = np.ones(x_shape), np.ones((maps, *rest))
    w_cheap = np.ones((maps * (ratio - 1), 1, cheap_kernel, cheap_kernel))
    out_channels = maps * ratio - min(cut, ratio - 1)
    whole = maps * ratio  # the standard convolution's groups must divide its output channels; a cut may leave others
    rows = recorded(lambda: npconv.ghost_conv2d(x, w_primary, w_cheap, out_channels=out_channels, **options))
    choices = {"ratio": ratio, "cheap_kernel": cheap_kernel, "itemsize": 8, **options}
    assert total(rows) == costs.ghost_conv2d(x_shape, (whole, *rest), **choices)

    dy = np.ones(npconv.ghost_conv2d(x, w_primary, w_cheap, **options).shape)
    rows = recorded(lambda: npconv.ghost_conv2d_backward(dy, x, w_primary, w_cheap, **options))
    closed = [costs.ghost_conv2d(x_shape, (whole, *rest), direction=d, **choices) for d in DIRECTIONS[1:]]
    sums = costs.add((x_shape[0], maps, *dy.shape[2:]), itemsize=8)
    assert total(rows, gradients=True) + sums == sum(closed, Cost())


@many
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(2, 9),
    st.integers(2, 9),
    alphas,
    alphas,
    st.sampled_from([(1, "pool"), (2, "pool"), (2, "conv"), (3, "conv")]),
    st.sampled_from([1, "same"]),
    st.booleans(),
)
def test_octave_is_what_the_operator_calls(
    channels, out_channels, height, width, alpha_in, alpha_out, stride_and_mode, padding, with_bias
):
    stride, mode = stride_and_mode
    ins, outs = octave_channels(channels, alpha_in), octave_channels(out_channels, alpha_out)
    shapes = (2, channels, height, width), (out_channels, channels, 3, 3)
    options = {"stride": stride, "padding": padding, "stride_mode": mode}
    choices = {"alpha_in": alpha_in, "alpha_out": alpha_out, "bias": with_bias, "itemsize": 8, **options}
    low_size = ceil(height / 2), ceil(width / 2)
    x = npconv.OctaveMap(
        np.ones((2, ins[0], height, width)) if ins[0] else None, np.ones((2, ins[1], *low_size)) if ins[1] else None
    )
    w = npconv.OctaveWeight(
        **{
            name: np.ones((outs["hl".index(name[1])], ins["hl".index(name[0])], 3, 3))
            for name in ("hh", "hl", "lh", "ll")
            if outs["hl".index(name[1])] and ins["hl".index(name[0])]
        }
    )
    try:
        y = npconv.octave_conv2d(x, w, **options)
    except ValueError:  # a stride that parts the two maps by more than an octave is refused by both
        with pytest.raises(ValueError, match=r"must"):
            costs.octave_conv2d(*shapes, **choices)
        return
    rows = recorded(lambda: npconv.octave_conv2d(x, w, **options))
    both_in, both_out = (not any(part is None for part in pair) for pair in (x, y))
    pooled_first = (stride, mode) == (2, "pool")
    expected = total(rows)
    for out in y:
        if out is not None:
            if (
                both_in and out is y.high and not pooled_first
            ):  # what is up-sampled is added, all else is one convolution
                expected += costs.add(out.shape, itemsize=8)
            if with_bias:  # the operator adds it by itself; the cost has it in the convolution
                expected += Cost(parameters=out.shape[1], bytes_moved=8 * out.shape[1])
    assert costs.octave_conv2d(*shapes, **choices) == expected

    rows = recorded(lambda: npconv.octave_conv2d_backward(y, x, w, **options))
    expected = total(rows, gradients=True)
    for map_in, map_out in zip(x, y, strict=True):
        if map_in is not None and both_out and (map_in is x.high or pooled_first):  # else it is one convolution, again
            # the two gradients of a high map that is pooled twice meet where it is pooled once
            again = map_in is x.high and pooled_first and height % 4 == width % 4 == 0
            met = (*map_in.shape[:2], height // 2, width // 2) if again else map_in.shape
            expected += costs.add(met, itemsize=8)
        if map_out is not None and with_bias:
            expected += Cost(bytes_moved=8 * map_out.shape[1])
    closed = [costs.octave_conv2d(*shapes, direction=direction, **choices) for direction in DIRECTIONS[1:]]
    assert sum(closed, Cost()) == expected


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_octave_with_groups_and_depthwise_are_what_the_operators_call(stride, size):
    x = npconv.OctaveMap(np.ones((2, 4, *size)), np.ones((2, 4, ceil(size[0] / 2), ceil(size[1] / 2))))
    options = {"stride": stride, "padding": 2, "dilation": 2}

    grouped = npconv.OctaveWeight(*[np.ones((6, 2, 3, 3))] * 4)
    rows = recorded(lambda: npconv.octave_conv2d(x, grouped, groups=2, **options))
    closed = costs.octave_conv2d((2, 8, *size), (12, 4, 3, 3), alpha_in=0.5, alpha_out=0.5, groups=2, **options)
    assert total(rows).macs == closed.macs
    assert total(rows).parameters == closed.parameters == 12 * 4 * 9

    filters = np.ones((8, 1, 3, 3))
    depthwise = npconv.OctaveWeight(hh=filters, ll=filters)
    rows = recorded(lambda: npconv.octave_depthwise_conv2d(x, depthwise, **options))
    closed = costs.octave_depthwise_conv2d((2, 8, *size), (16, 1, 3, 3), alpha=0.5, itemsize=8, **options)
    assert total(rows) == closed


# --- the papers --------------------------------------------------------------------------------------------------


def test_mobilenet_table_3():
    """One layer, 3 x 3, 512 to 512 channels, 14 x 14: MobileNets, table 3, cumulative rows."""
    standard = costs.conv2d((1, 512, 14, 14), (512, 512, 3, 3), padding=1)
    separable = costs.separable_conv2d((1, 512, 14, 14), (512, 512, 3, 3), padding=1)
    narrow = costs.separable_conv2d((1, 384, 14, 14), (384, 384, 3, 3), padding=1)
    small = costs.separable_conv2d((1, 384, 10, 10), (384, 384, 3, 3), padding=1)
    assert standard[:2] == (462_422_016, 2_359_296)
    assert separable[:2] == (52_283_392, 266_752)
    assert narrow[:2] == (29_578_752, 150_912)
    assert small[:2] == (15_091_200, 150_912)
    assert costs.separable_macs(512, 512, 3, 14) == separable.macs
    assert costs.separable_macs(512, 512, 3, 14, alpha=0.75) == narrow.macs
    assert costs.separable_macs(512, 512, 3, 14, alpha=0.75, rho=10 / 14) == pytest.approx(small.macs, rel=1e-12)
    assert separable.macs / standard.macs == pytest.approx(costs.separable_ratio(512, 3), rel=1e-12)


def test_mobilenet_layers():
    """MobileNets, table 1: the first convolution, a depthwise with stride 2, the last pointwise, the classifier."""
    assert costs.conv2d((1, 3, 224, 224), (32, 3, 3, 3), stride=2, padding="same")[:2] == (10_838_016, 864)
    assert costs.depthwise_conv2d((1, 64, 112, 112), (64, 1, 3, 3), stride=2, padding="same")[:2] == (1_806_336, 576)
    assert costs.pointwise_conv2d((1, 1024, 7, 7), (1024, 1024, 1, 1))[:2] == (51_380_224, 1_048_576)
    assert costs.linear((1, 1024), (1000, 1024), bias=True)[:2] == (1_024_000, 1_025_000)


@many
@given(sizes, sizes, st.sampled_from([1, 3, 5]), sizes, st.floats(0.1, 2), st.floats(0.1, 2))
def test_width_and_resolution_laws(in_channels, out_channels, kernel, size, alpha, rho):
    def macs(**multipliers):
        return costs.separable_macs(in_channels, out_channels, kernel, size, **multipliers)

    assert macs(rho=rho) == pytest.approx(rho**2 * macs(), rel=1e-12)
    depthwise = kernel**2 * in_channels * size**2
    pointwise = in_channels * out_channels * size**2
    assert macs(alpha=alpha) == pytest.approx(alpha * depthwise + alpha**2 * pointwise, rel=1e-12)


@many
@given(sizes, sizes, st.tuples(sizes, sizes), st.sampled_from([1, 2]))
def test_separable_ratio_is_the_ratio_of_costs(channels, out_channels, kernel, stride):
    shapes = (1, channels, 6, 6), (out_channels, channels, *kernel)
    ratio = costs.separable_conv2d(*shapes, stride=stride).macs / costs.conv2d(*shapes, stride=stride).macs
    assert ratio == pytest.approx(costs.separable_ratio(out_channels, kernel), rel=1e-12)


@pytest.mark.parametrize(
    ("in_channels", "kernel", "ratio", "cheap_kernel", "speedup"),
    [(64, 3, 2, 3, 1.96923077), (256, 3, 4, 3, 3.95366795), (256, 1, 2, 3, 1.93207547), (64, 3, 2, 7, 1.8432)],
)
def test_ghost_speedup_and_compression(in_channels, kernel, ratio, cheap_kernel, speedup):
    """r_s and r_c as numbers, and as what they are ratios of."""
    choices = {"ratio": ratio, "cheap_kernel": cheap_kernel}
    assert costs.ghost_speedup(in_channels, kernel, **choices) == pytest.approx(speedup, abs=5e-9)
    shapes = (1, in_channels, 14, 14), (8 * ratio, in_channels, kernel, kernel)
    standard = costs.conv2d(*shapes, padding=kernel // 2)
    ghost = costs.ghost_conv2d(*shapes, padding=kernel // 2, **choices)
    assert standard.macs / ghost.macs == pytest.approx(costs.ghost_speedup(in_channels, kernel, **choices), rel=1e-12)
    compression = costs.ghost_compression(in_channels, kernel, **choices)
    assert standard.parameters / ghost.parameters == pytest.approx(compression, rel=1e-12)


def test_ghost_approximation():
    """Exact where the cheap kernel is as large as the primary one; PAPERS: 1.99221790 for c = 256 where it is not exact."""
    assert costs.ghost_speedup_approximation(256, ratio=2) == pytest.approx(1.99221790, abs=5e-9)
    for ratio in (1, 2, 3, 5):
        exact = costs.ghost_speedup(64, 3, ratio=ratio, cheap_kernel=3)
        assert costs.ghost_speedup_approximation(64, ratio=ratio) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(
    ("alpha", "cost", "memory"),
    [
        (0, 1, 1),
        (0.125, 0.82421875, 0.90625),
        (0.25, 0.671875, 0.8125),
        (0.5, 0.4375, 0.625),
        (0.75, 0.296875, 0.4375),
        (0.875, 0.26171875, 0.34375),  # the paper prints 35 % of memory: it is 34.4 %
        (1, 0.25, 0.25),
    ],
)
def test_octave_table_1(alpha, cost, memory):
    """Drop an Octave, table 1, as formula and as the cost of a layer whose sizes and channels divide."""
    assert costs.octave_cost_ratio(alpha, alpha) == cost
    assert costs.octave_memory_ratio(alpha) == memory
    shapes = (1, 8, 4, 4), (16, 8, 3, 3)
    standard = costs.conv2d(*shapes, padding=1).macs
    octave = costs.octave_conv2d(*shapes, alpha_in=alpha, alpha_out=alpha, padding=1).macs
    assert octave == cost * standard
    first = costs.octave_conv2d(*shapes, alpha_in=0, alpha_out=alpha, padding=1).macs
    last = costs.octave_conv2d(*shapes, alpha_in=alpha, alpha_out=0, padding=1).macs
    assert first == last == memory * standard == costs.octave_cost_ratio(0, alpha) * standard
    depthwise = costs.octave_depthwise_conv2d((1, 8, 4, 4), (8, 1, 3, 3), alpha=alpha, padding=1).macs
    assert depthwise == memory * costs.depthwise_conv2d((1, 8, 4, 4), (8, 1, 3, 3), padding=1).macs
    pooled = costs.octave_conv2d(*shapes, alpha_in=alpha, alpha_out=alpha, stride=2, padding=1).macs
    assert pooled == memory * costs.conv2d(*shapes, stride=2, padding=1).macs


def test_resnext_units_are_mostly_pointwise():
    """ShuffleNet, section 3.1: 1 x 1 convolutions take 93.4 % of a ResNeXt unit (c = 256, m = 128, 32 groups)."""
    unit = costs.resnext_unit_macs(256, 128, 28, 28, groups=32)
    pointwise = 2 * costs.pointwise_conv2d((1, 256, 28, 28), (128, 256, 1, 1)).macs
    assert pointwise / unit == pytest.approx(0.934307, abs=5e-7)


@many
@given(sizes, sizes, sizes, sizes, st.integers(1, 3))
def test_units_are_the_sum_of_their_convolutions(channels, bottleneck, height, width, groups):
    channels, bottleneck = channels * groups, bottleneck * groups
    x, middle = (1, channels, height, width), (1, bottleneck, height, width)

    def unit(pointwise_groups, groups):
        return (
            costs.pointwise_conv2d(x, (bottleneck, channels // pointwise_groups, 1, 1), groups=pointwise_groups)
            + costs.conv2d(middle, (bottleneck, bottleneck // groups, 3, 3), padding=1, groups=groups)
            + costs.pointwise_conv2d(middle, (channels, bottleneck // pointwise_groups, 1, 1), groups=pointwise_groups)
        ).macs

    sizes_of_unit = (channels, bottleneck, height, width)
    assert costs.resnet_unit_macs(*sizes_of_unit) == unit(1, 1)
    assert costs.resnext_unit_macs(*sizes_of_unit, groups=groups) == unit(1, groups)
    assert costs.shufflenet_unit_macs(*sizes_of_unit, groups=groups) == unit(groups, bottleneck)


@pytest.mark.parametrize(
    ("groups", "channels", "macs"), [(1, 144, 8_382_528), (2, 200, 8_192_800), (3, 240, 7_949_760)]
)
def test_shufflenet_stage_2_units(groups, channels, macs):
    assert costs.shufflenet_unit_macs(channels, channels // 4, 28, 28, groups=groups) == macs


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
            r"padding must keep the outputs an octave apart, got a high output of \(4, 4\) and a low one of \(1, 1\)",
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
