"""Sizes: every rule against the counting that it stands for."""

from __future__ import annotations

import inspect

import definitions
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from npconv import costs, nn, ops
from npconv.geometry import (
    Conv2dGeometry,
    GhostGeometry,
    OctaveGeometry,
    Pool2dGeometry,
    SeparableGeometry,
    UpsampleGeometry,
    effective_kernel,
    explicit_padding,
    ghost_channels,
    octave_channels,
    same_padding,
)

sizes, kernels, strides, dilations, pads = (
    st.integers(low, high) for low, high in ((1, 20), (1, 6), (1, 5), (1, 3), (0, 4))
)


@given(sizes, kernels, strides, dilations, pads, pads)
def test_output_size_counts_the_places_of_the_kernel(size, kernel, stride, dilation, before, after):
    places = [
        start
        for start in range(-before, size + after, stride)
        if all(start + tap * dilation < size + after for tap in range(kernel))
    ]
    arguments = {"stride": (stride, 1), "dilation": (dilation, 1), "padding": ((before, after), (0, 0))}
    if not places:
        with pytest.raises(ValueError, match="the kernel must fit into the padded input"):
            Conv2dGeometry.of((1, 1, size, 1), (1, 1, kernel, 1), **arguments)
        return
    geometry = Conv2dGeometry.of((1, 1, size, 1), (1, 1, kernel, 1), **arguments)
    assert geometry.out_height == len(places)
    assert geometry.out_width == 1


@given(sizes, kernels, strides, dilations, st.booleans())
def test_same_is_the_least_padding_that_gives_size_over_stride(size, kernel, stride, dilation, lower):
    """Against a search, and against the shape that it is for; the odd pixel goes to the end, or to the beginning if lower."""
    pads = same_padding(size, kernel, stride, dilation, lower=lower)
    expected, _ = definitions.sides(
        "same_lower" if lower else "same", (size, 1), (kernel, 1), (stride, 1), (dilation, 1)
    )
    assert pads == tuple(expected)
    assert definitions.output_size(size, kernel, stride, dilation, pads) == -(-size // stride)
    assert (pads[0] - pads[1] if lower else pads[1] - pads[0]) in (0, 1)


@given(sizes, kernels, strides, dilations)
def test_same_at_stride_1_keeps_the_size(size, kernel, stride, dilation):
    geometry = Conv2dGeometry.of((1, 1, size, size), (1, 1, kernel, 1), padding="same", dilation=dilation)
    assert geometry.y_shape == (1, 1, size, size)
    assert geometry.pad_top + geometry.pad_bottom == effective_kernel(kernel, dilation) - 1


@given(sizes, kernels, st.none() | strides, pads, pads, st.booleans())
def test_pool_size_counts_the_windows(size, kernel, stride, before, after, ceil_mode):
    assume(max(before, after) < kernel)
    assume(ceil_mode or size + before + after >= kernel)
    geometry = Pool2dGeometry.of(
        (1, 1, size, 1),
        (kernel, 1),
        stride=None if stride is None else (stride, 1),
        padding=((before, after), (0, 0)),
        ceil_mode=ceil_mode,
    )
    windows = definitions.pool2d_windows(
        (1, 1, size, 1), (kernel, 1), None if stride is None else (stride, 1), ((before, after), (0, 0)), ceil_mode
    )
    assert geometry.out_height == len(windows)
    assert all(pixels for pixels, _ in windows.values())
    if ceil_mode:
        floor_windows = (size + before + after - kernel) // geometry.stride_height + 1
        assert geometry.out_height - floor_windows in (0, 1)


@given(sizes, strides, st.data())
def test_up_sampling_crops_less_than_a_pixel(size, scale, data):
    cropped = data.draw(st.integers(1, size * scale + 2))
    if -(-cropped // scale) == size:
        assert UpsampleGeometry.of((1, 1, size, 1), (scale, 1), (cropped, 1)).y_shape == (1, 1, cropped, 1)
    else:
        with pytest.raises(ValueError, match="size must crop less than one input pixel"):
            UpsampleGeometry.of((1, 1, size, 1), (scale, 1), (cropped, 1))


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (2, ((2, 2), (2, 2))),
        (np.int8(2), ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((1, 2), (3, 4)), ((1, 2), (3, 4))),
        ([[1, 2], [3, 4]], ((1, 2), (3, 4))),
        (np.array([[1, 2], [3, 4]]), ((1, 2), (3, 4))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((0, 1), (1, 2))),
        ("same_lower", ((1, 0), (2, 1))),
    ],
)
def test_padding_has_one_explicit_form(padding, expected):
    assert explicit_padding(padding, (4, 4), (2, 4), (1, 1), (1, 1)) == expected


def test_a_geometry_is_found_once_for_all_forms_of_its_arguments():
    forms = [
        Conv2dGeometry.of((2, 4, 6, 8), (4, 2, 3, 3), stride=stride, padding=padding, groups=groups)
        for stride in (1, (1, 1), [1, np.int64(1)])
        for padding in (1, (1, 1), [[1, 1], [1, 1]], np.array([1, 1]), "same")
        for groups in (2, np.uint8(2))
    ]
    assert set(forms) == {forms[0]}
    assert len({id(geometry) for geometry in forms}) == 2  # "same" is one by itself, as it is for other kernels
    assert {type(size) for geometry in forms for size in geometry} == {int}


def test_a_geometry_knows_its_shapes():
    geometry = Conv2dGeometry.of((2, 6, 7, 8), (4, 3, 3, 5), stride=2, padding=1, groups=2)
    assert geometry.x_shape == (2, 6, 7, 8)
    assert geometry.w_shape == (4, 3, 3, 5)
    assert geometry.y_shape == (2, 4, 4, 3)
    assert (geometry.in_channels, geometry.out_channels) == (6, 4)
    depthwise = Conv2dGeometry.of_depthwise((2, 3, 7, 8), (6, 1, 3, 3))
    assert (depthwise.groups, depthwise.in_channels_per_group, depthwise.out_channels_per_group) == (3, 1, 2)


@pytest.mark.parametrize(
    ("channels", "alpha", "expected"),
    [
        (10, 0.25, (8, 2)),
        (10, 0, (10, 0)),
        (10, 1, (0, 10)),
        (7, 0.5, (4, 3)),
        (1, 0.99, (1, 0)),
        (64, 0.125, (56, 8)),
        (100, 0.29, (72, 28)),  # 0.29 * 100 is a little below 29, and int() cuts: as in the published code
    ],
)
def test_octave_low_channels_are_cut_to_a_whole_number(channels, alpha, expected):
    assert octave_channels(channels, alpha) == expected


@given(st.integers(1, 200), st.integers(1, 8))
def test_ghost_has_the_fewest_primary_maps_that_suffice(out_channels, ratio):
    primary, ghosts = ghost_channels(out_channels, ratio)
    assert ghosts == primary * (ratio - 1)
    assert (primary - 1) * ratio < out_channels <= primary + ghosts


@pytest.mark.parametrize("side", range(4))
def test_a_pools_padding_on_one_side_must_be_smaller_than_the_kernel(side):
    """On any one, for a window there would hold no pixel; and of unequal sides each is that side's."""
    kernel = (2, 3)
    most = [kernel[side // 2] - 1 if place == side else 0 for place in range(4)]
    geometry = Pool2dGeometry.of((1, 1, 8, 9), kernel, padding=((most[0], most[1]), (most[2], most[3])))
    assert [geometry.pad_top, geometry.pad_bottom, geometry.pad_left, geometry.pad_right] == most
    most[side] += 1
    axis = "height" if side < 2 else "width"
    with pytest.raises(ValueError, match=rf"got padding .* with a kernel {axis} of {kernel[side // 2]}$"):
        Pool2dGeometry.of((1, 1, 8, 9), kernel, padding=((most[0], most[1]), (most[2], most[3])))


@pytest.mark.parametrize(
    ("of", "op"),
    [
        (Conv2dGeometry.of, "conv2d"),
        (Conv2dGeometry.of_depthwise, "depthwise_conv2d"),
        (SeparableGeometry.of, "separable_conv2d"),
        (GhostGeometry.of, "ghost_conv2d"),
        (OctaveGeometry.of, "octave_conv2d"),
        (Pool2dGeometry.of, "max_pool2d"),
        (UpsampleGeometry.of, "upsample_nearest2d"),
    ],
)
def test_defaults_are_those_of_the_operator_of_its_cost_and_of_its_layer(of, op):
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(of).parameters.items()
        if parameter.default is not parameter.empty
    }
    assert defaults
    functions = [getattr(ops, op), getattr(ops, f"{op}_backward"), getattr(costs, op)]
    layers = [layer for name in nn.__all__ if getattr(layer := getattr(nn, name), "operator", None) is functions[0]]
    for function in functions + layers:
        for name, parameter in inspect.signature(function).parameters.items():
            if name in defaults and parameter.default is not parameter.empty:
                assert parameter.default == defaults[name], (function, name)


@pytest.mark.parametrize("x_shape", [(1, 4, 6.0, 6), (1.0, 4.0, 6.0, 6.0), (1, 4, 6, True), (1, 4, "6", 6)])
def test_sizes_are_integers(x_shape):
    """Also where they are equal to some."""
    with pytest.raises(TypeError, match=r"x\[\d\] must be an int"):
        Conv2dGeometry.of(x_shape, (8, 4, 3, 3))
    with pytest.raises(TypeError, match=r"x\[\d\] must be an int"):
        Pool2dGeometry.of(x_shape, 3)


@pytest.mark.parametrize("geometry", [Pool2dGeometry.of((1, 4, 6, 8), 2), UpsampleGeometry.of((1, 4, 6, 8), 2)])
def test_a_gradient_has_the_shape_of_the_output(geometry):
    geometry.check_dy(np.zeros(geometry.y_shape))
    for shape in (geometry.x_shape, (1, 4, 1, 1), geometry.y_shape[:3]):
        with pytest.raises(ValueError, match="dy must have the shape"):
            geometry.check_dy(np.zeros(shape))
