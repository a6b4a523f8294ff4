"""Costs against what runs: the sizes of the arrays themselves, and the calls that composite operators make."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from counting import DIRECTIONS, alphas, convolutions, many
from hypothesis import given
from hypothesis import strategies as st

import npconv
from npconv import backends, costs, reference
from npconv.costs import Cost
from npconv.geometry import octave_channels

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
