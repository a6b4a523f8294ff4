"""Costs against what runs: the sizes of the arrays themselves, and the calls that composite operators make."""

from __future__ import annotations

import copy
from functools import partial
from math import ceil

import numpy as np
import pytest
from counting import DIRECTIONS, alphas, convolutions, many
from hypothesis import given
from hypothesis import strategies as st

import npconv
from npconv import backends, costs, reference
from npconv.costs import Cost
from npconv.costs.composites import octave_calls
from npconv.geometry import OctaveGeometry, octave_channels, octave_paths
from npconv.ops import branches
from npconv.testing import map_arrays

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
        gate = array(2, 4, 1, 1)
        backends.primitives.add(x, x, "relu")
        backends.primitives.concatenate((x, array(2, 3, 5, 7)), None)
        backends.primitives.scale(x, gate, None)
        backends.primitives.scale(x, gate, x)
        backends.primitives.scale_gate_grad(x, x)
    return calls


def calls_of_composites_and_others():
    """(primitive, arguments) of those that read a slice of an array, move arrays on, or are made of several."""
    rng = np.random.default_rng(0)
    x, m, one = rng.standard_normal((2, 4, 6, 8)), np.ones(4), np.ones((4, 1, 1, 1))
    octave = npconv.OctaveMap(x, x[:, :, ::2, ::2])
    kernels = npconv.OctaveWeight(*np.ones((4, 4, 4, 3, 3)))
    with npconv.backend("numpy"), backends.record() as calls:
        mixing = np.ones((4, 4, 1, 1))
        npconv.separable_conv2d_backward(npconv.separable_conv2d(x, one, mixing), x, one, mixing)
        npconv.ghost_conv2d_backward(npconv.ghost_conv2d(x, mixing, one), x, mixing, one)
        npconv.octave_conv2d_backward(npconv.octave_conv2d(octave, kernels, padding=1), octave, kernels, padding=1)
        backends.primitives.concatenate_input_grad(x, x, 1, 3, "relu")
        backends.primitives.sgd_update(m.copy(), m, m.copy(), 0.1, 0.9, False, 0.0)
        backends.primitives.adam_update(m.copy(), m, m.copy(), m.copy(), 1, 0.1, (0.9, 0.9), 1e-8, 0.0, False)
    return calls


CALLS, OTHERS = calls_of_every_primitive(), calls_of_composites_and_others()


def test_the_calls_reach_every_primitive():
    assert {primitive for primitive, _ in (*CALLS, *OTHERS)} == set(reference.__all__)


@pytest.mark.parametrize(("primitive", "arguments"), [*CALLS, *OTHERS], ids=[name for name, _ in (*CALLS, *OTHERS)])
def test_zeros_have_the_form_of_the_result(primitive, arguments):
    """Whoever stands in for a backend answers with as many arrays, of the same shapes and dtypes."""
    expected = getattr(reference, primitive)(*copy.deepcopy(arguments))
    got = costs.zeros_of(primitive, *arguments)
    assert (got is None) == (expected is None)
    if got is not None:
        assert type(got) is type(expected)
        form = partial(map_arrays, lambda array: (array.shape, array.dtype, bool(array.any())))
        assert form(got) == form(map_arrays(np.zeros_like, expected))


def test_slices_and_updates_cost_what_they_touch():
    """Of the joined map only the part's channels are read; an update reads all of its arrays and writes all but the gradient."""
    rows = {primitive: costs.call_cost(primitive, arguments) for primitive, arguments in OTHERS}
    part, dtype = 2 * 2 * 6 * 8, 8
    assert rows["concatenate_input_grad"].cost == Cost(
        elements_in=2 * part, elements_out=part, bytes_moved=3 * part * dtype
    )
    assert rows["concatenate_input_grad"].out_shape == (2, 2, 6, 8)
    assert rows["sgd_update"].cost == Cost(bytes_moved=(3 + 2) * 4 * dtype)
    assert rows["adam_update"].cost == Cost(bytes_moved=(4 + 3) * 4 * dtype)


@pytest.mark.parametrize(("primitive", "arguments"), CALLS, ids=[primitive for primitive, _ in CALLS])
def test_a_call_moves_each_of_its_arrays_once(primitive, arguments):
    """The bytes are those of the arrays that went in and came out; the maps among them have the elements."""
    results = getattr(reference, primitive)(*arguments)
    results = results if isinstance(results, tuple) else (results,)
    row = costs.call_cost(primitive, arguments)
    read = [*(arguments[0] if isinstance(arguments[0], tuple) else arguments[:1]), *arguments[1:]]
    moved = [array for array in (*read, *results) if isinstance(array, np.ndarray)]
    assert row.cost.bytes_moved == sum(array.nbytes for array in moved)
    assert row.in_shape == read[0].shape
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


# --- composites: against simple operators that make the same, one after the other --------------------------------


def recorded(run):
    """The cost of the primitives that `run` calls."""
    with backends.record() as calls:
        run()
    return sum((costs.call_cost(*call).cost for call in calls), Cost())


def both(closed_form):
    """The costs of both gradients together."""
    return sum((closed_form(direction=direction) for direction in DIRECTIONS[1:]), Cost())


@pytest.mark.slow
@many
@given(convolutions(depthwise=True), st.integers(1, 3))
def test_separable_is_the_sum_of_its_parts(problem, multiplier):
    x_shape, (_, _, *kernel), options = problem
    x, w_pointwise = np.ones(x_shape), np.ones((5, x_shape[1] * multiplier, 1, 1))
    w_depthwise, b = np.ones((x_shape[1] * multiplier, 1, *kernel)), np.ones(5)
    closed = partial(
        costs.separable_conv2d, x_shape, (5, x_shape[1], *kernel), multiplier=multiplier, itemsize=8, **options
    )

    def parts():
        filtered = npconv.depthwise_conv2d(x, w_depthwise, **options)
        return filtered, npconv.pointwise_conv2d(filtered, w_pointwise, b)

    assert recorded(parts) == closed(bias=True)
    assert recorded(lambda: npconv.separable_conv2d(x, w_depthwise, w_pointwise, b, **options)) == closed(bias=True)
    filtered, y = parts()

    def gradients():
        dfiltered, _, _ = npconv.pointwise_conv2d_backward(y, filtered, w_pointwise)
        npconv.depthwise_conv2d_backward(dfiltered, x, w_depthwise, **options)

    assert recorded(gradients) == both(closed)
    assert recorded(lambda: npconv.separable_conv2d_backward(y, x, w_depthwise, w_pointwise, **options)) == both(closed)


@pytest.mark.slow
@many
@given(convolutions(), st.integers(2, 3), st.integers(1, 4), st.integers(0, 2))
def test_ghost_is_the_sum_of_its_parts(problem, ratio, cheap_kernel, cut):
    """Ghosts that are cut cost as much as the others."""
    x_shape, (maps, *rest), options = problem
    x, w_primary = np.ones(x_shape), np.ones((maps, *rest))
    w_cheap = np.ones((maps * (ratio - 1), 1, cheap_kernel, cheap_kernel))
    kept = maps * ratio - min(cut, ratio - 1)
    whole = maps * ratio  # the standard convolution's groups must divide its output channels; a cut may leave others
    closed = partial(
        costs.ghost_conv2d, x_shape, (whole, *rest), ratio=ratio, cheap_kernel=cheap_kernel, itemsize=8, **options
    )

    def parts():
        primary = npconv.conv2d(x, w_primary, **options)
        return primary, npconv.depthwise_conv2d(primary, w_cheap, padding="same")

    assert recorded(parts) == closed()
    y = npconv.ghost_conv2d(x, w_primary, w_cheap, out_channels=kept, **options)
    assert recorded(lambda: npconv.ghost_conv2d(x, w_primary, w_cheap, out_channels=kept, **options)) == closed()
    primary, ghosts = parts()

    def gradients():
        dprimary, _, _ = npconv.depthwise_conv2d_backward(ghosts, primary, w_cheap, padding="same")
        npconv.conv2d_backward(branches.add(dprimary, primary), x, w_primary, **options)

    assert recorded(gradients) == both(closed)
    whole_call = partial(npconv.ghost_conv2d_backward, y, x, w_primary, w_cheap, out_channels=kept, **options)
    assert recorded(whole_call) == both(closed)


def octave_by_paths(x, w, y, *, stride, stride_mode, gradients=False, **options):
    """What an octave convolution computes, path by path; y has the outputs' shapes."""
    paths, strides = octave_paths(stride, stride_mode)
    halves, sums, dsums = [None, None], [None, None], {}

    def plus(totals, place, part):
        totals[place] = part if totals[place] is None else branches.add(totals[place], part)

    for path in paths:
        kernel, source = getattr(w, path.name), x[path.source]
        if kernel is None:
            continue
        again = path.pool == 4 and w.hh is not None and source.shape[2] % 4 == source.shape[3] % 4 == 0
        before, pooling = (halves[path.source], 2) if again else (source, path.pool)
        pooled = npconv.avg_pool2d(before, pooling, ceil_mode=True) if path.pool > 1 else source
        if path.pool == 2:
            halves[path.source] = pooled
        part = npconv.conv2d(pooled, kernel, stride=strides, **options)
        size = y[path.target].shape[2:]
        made = npconv.upsample_nearest2d(part, path.repeat, size=size) if path.repeat > 1 else part
        if not gradients:
            plus(sums, path.target, made)
            continue
        with backends.record() as calls:
            dpart = npconv.upsample_nearest2d_backward(made, part, path.repeat, size=size) if path.repeat > 1 else part
            dpooled, _, _ = npconv.conv2d_backward(dpart, pooled, kernel, stride=strides, **options)
            dbefore = npconv.avg_pool2d_backward(dpooled, before, pooling, ceil_mode=True) if path.pool > 1 else dpooled
            dsums.setdefault(path.source, [None, None])
            if dsums[path.source][0] is not None:
                branches.add(dbefore, dbefore)  # the two gradients meet where the second one ends
            dsums[path.source][0] = dbefore
        sums[0] = (sums[0] or Cost()) + sum((costs.call_cost(*call).cost for call in calls), Cost())
    return sums[0]


@pytest.mark.slow
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
def test_octave_is_the_sum_of_its_paths(
    channels, out_channels, height, width, alpha_in, alpha_out, stride_and_mode, padding, with_bias
):
    stride, mode = stride_and_mode
    ins, outs = octave_channels(channels, alpha_in), octave_channels(out_channels, alpha_out)
    shapes = (2, channels, height, width), (out_channels, channels, 3, 3)
    options = {"stride": stride, "padding": padding, "stride_mode": mode}
    closed = partial(
        costs.octave_conv2d, *shapes, alpha_in=alpha_in, alpha_out=alpha_out, bias=with_bias, itemsize=8, **options
    )
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
            closed()
        return
    biases = sum(out.shape[1] for out in y if out is not None) if with_bias else 0
    expected = recorded(lambda: octave_by_paths(x, w, y, **options))
    assert closed() == expected + Cost(parameters=biases, bytes_moved=8 * biases)
    b = npconv.OctaveBias(*(None if out is None else np.ones(out.shape[1]) for out in y)) if with_bias else None
    assert recorded(lambda: npconv.octave_conv2d(x, w, b, **options)) == closed()
    expected = octave_by_paths(x, w, y, gradients=True, **options)
    assert both(closed) == expected + Cost(bytes_moved=8 * biases)
    assert recorded(lambda: npconv.octave_conv2d_backward(y, x, w, **options)) == expected


def test_calls_of_an_octave_convolution_read_and_make_maps_of_their_own_shapes():
    """A gradient reads the map that the forward made."""
    geometry = OctaveGeometry.of(
        ((2, 4, 6, 8), (2, 5, 3, 4)), ((6, 4, 3, 3), (7, 4, 3, 3), (6, 5, 3, 3), (7, 5, 3, 3)), padding=1
    )
    pooled, repeated = ((2, 4, 6, 8), (2, 4, 3, 4)), ((2, 6, 3, 4), (2, 6, 6, 8))
    for direction, expected in (
        ("forward", {("avg_pool2d", *pooled), ("upsample_nearest2d", *repeated)}),
        ("input_grad", {("avg_pool2d_input_grad", *pooled[::-1]), ("upsample_nearest2d_input_grad", *repeated[::-1])}),
    ):
        calls = list(octave_calls(geometry, False, direction, True, 8))
        assert {(c.primitive, c.in_shape, c.out_shape) for c in calls if c.kind in ("pool", "upsample")} == expected


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_octave_with_groups_and_depthwise_are_what_the_operators_call(stride, size):
    x = npconv.OctaveMap(np.ones((2, 4, *size)), np.ones((2, 4, ceil(size[0] / 2), ceil(size[1] / 2))))
    options = {"stride": stride, "padding": 2, "dilation": 2}

    grouped = npconv.OctaveWeight(*[np.ones((6, 2, 3, 3))] * 4)
    closed = costs.octave_conv2d(
        (2, 8, *size), (12, 4, 3, 3), alpha_in=0.5, alpha_out=0.5, groups=2, itemsize=8, **options
    )
    assert recorded(lambda: npconv.octave_conv2d(x, grouped, groups=2, **options)) == closed
    assert closed.parameters == 12 * 4 * 9

    filters = np.ones((8, 1, 3, 3))
    depthwise = npconv.OctaveWeight(hh=filters, ll=filters)
    closed = costs.octave_depthwise_conv2d((2, 8, *size), (16, 1, 3, 3), alpha=0.5, itemsize=8, **options)
    assert recorded(lambda: npconv.octave_depthwise_conv2d(x, depthwise, **options)) == closed
    assert closed.parameters == 16 * 9
