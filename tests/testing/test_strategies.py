"""The strategies really draw what they are for: each hard case is among the first hundreds of problems."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from npconv.geometry import Conv2dGeometry, Pool2dGeometry
from npconv.testing import named_arrays
from npconv.testing.strategies import OPERATORS, dy_like, layouts, problems, problems_with_dy


def shape_options(problem):
    return {
        name: value for name, value in problem.options.items() if name in ("stride", "padding", "dilation", "groups")
    }


def geometry_of(problem):
    x, w = problem.args[:2]
    of = Conv2dGeometry.of_depthwise if problem.op == "depthwise_conv2d" else Conv2dGeometry.of
    return of(x.shape, w.shape, **shape_options(problem))


def unread_rows(problem):
    """(H + 2p - d(k - 1) - 1) % s, the floor case where not 0."""
    g = geometry_of(problem)
    rest = g.in_height + g.pad_top + g.pad_bottom - g.dilation_height * (g.kernel_height - 1) - 1
    return rest % g.stride_height


def complete(parts):
    """No map, kernel or bias of an octave is missing."""
    return all(part is not None for part in parts)


def is_nested(padding):
    return isinstance(padding, tuple) and isinstance(padding[0], tuple)


CONVOLUTION = {
    "no image": lambda p: p.args[0].shape[0] == 0,
    "an image of one pixel": lambda p: p.args[0].shape[2:] == (1, 1),
    "the floor case": unread_rows,
    "the floor case by 2 rows": lambda p: unread_rows(p) > 1,
    "a kernel of one row": lambda p: p.args[1].shape[2] == 1 < p.args[1].shape[3],
    "a kernel of one column": lambda p: p.args[1].shape[3] == 1 < p.args[1].shape[2],
    "an even kernel": lambda p: p.args[1].shape[2:] in ((2, 2), (4, 4)),
    "a kernel as large as the image": lambda p: p.args[0].shape[2:] == p.args[1].shape[2:] > (1, 1),
    "a stride of 4": lambda p: p.options["stride"] == 4,
    "a stride larger than the kernel": lambda p: geometry_of(p).stride_height > geometry_of(p).kernel_height,
    "different strides": lambda p: geometry_of(p).stride_height != geometry_of(p).stride_width,
    "different dilations": lambda p: geometry_of(p).dilation_height != geometry_of(p).dilation_width,
    "a dilation of 3": lambda p: p.options["dilation"] == 3 and p.args[1].shape[2] > 1,
    "padding by a number": lambda p: isinstance(p.options["padding"], int) and p.options["padding"],
    "padding by a pair": lambda p: isinstance(p.options["padding"], tuple) and not is_nested(p.options["padding"]),
    "different padding on all sides": lambda p: (
        is_nested(p.options["padding"]) and len(set(sum(p.options["padding"], ()))) > 2
    ),
    "valid": lambda p: p.options["padding"] == "valid",
    "same, one side larger": lambda p: (
        p.options["padding"] == "same" and geometry_of(p).pad_bottom > geometry_of(p).pad_top
    ),
    "same_lower, one side larger": lambda p: (
        p.options["padding"] == "same_lower" and geometry_of(p).pad_left > geometry_of(p).pad_right
    ),
    "same with a stride": lambda p: (
        p.options["padding"] == "same" and geometry_of(p).stride_height > 1 < geometry_of(p).out_height
    ),
    "a bias": lambda p: p.args[2] is not None,
    "no bias": lambda p: p.args[2] is None,
    "padding and the floor case and dilation": lambda p: (
        unread_rows(p) and geometry_of(p).pad_top and geometry_of(p).dilation_height > 1
    ),
}
GROUPS = {
    "groups of several channels": lambda p: p.options["groups"] > 1 and p.args[1].shape[1] > 1,
    "groups of different sizes in and out": lambda p: (
        p.options["groups"] > 1 and p.args[0].shape[1] != p.args[1].shape[0]
    ),
}
OCTAVE = {
    "alpha_in 0": lambda p: p.args[0].low is None,
    "alpha_in 1": lambda p: p.args[0].high is None,
    "alpha_out 0": lambda p: p.args[1].hl is None and p.args[1].ll is None,
    "alpha_out 1": lambda p: p.args[1].hh is None and p.args[1].lh is None,
    "all four paths": lambda p: complete(p.args[1]),
    "a path left out": lambda p: sum(kernel is None for kernel in p.args[1]) == 1,
    "odd rows": lambda p: p.args[0].high is not None and p.args[0].high.shape[2] % 2 and complete(p.args[1]),
    "rows that 4 does not divide, pooled first": lambda p: (
        p.options["stride"] == 2
        and p.options["stride_mode"] == "pool"
        and p.args[1].hl is not None
        and p.args[0].high.shape[2] % 4 == 3
    ),
    "strided convolutions": lambda p: p.options["stride_mode"] == "conv" and p.args[1].lh is not None,
    "groups": lambda p: p.options["groups"] > 1,
    "one bias of two": lambda p: p.args[2] is not None and sum(bias is None for bias in p.args[2]) == 1,
    "an even kernel": lambda p: p.args[1].lh is not None and p.args[1].lh.shape[2] == 2,
    "dilation": lambda p: p.options["dilation"] == 2 and complete(p.args[1]) and p.args[1].hh.shape[2] > 1,
    "no image": lambda p: any(array.shape[0] == 0 for _, array in named_arrays(p.args[0])),
}
CASES = {
    "conv2d": CONVOLUTION | GROUPS,
    "depthwise_conv2d": CONVOLUTION | {"a multiplier": lambda p: p.args[1].shape[0] == 3 * p.args[0].shape[1] > 3},
    "pointwise_conv2d": GROUPS | {"a stride": lambda p: p.options["stride"] == (2, 3)},
    "separable_conv2d": {"a multiplier": lambda p: p.args[1].shape[0] > p.args[0].shape[1]},
    "octave_conv2d": OCTAVE,
    "octave_depthwise_conv2d": {
        "both frequencies": lambda p: complete(p.args[0]),
        "different multipliers": lambda p: complete(p.args[0]) and p.args[1].hh.shape[0] != p.args[1].ll.shape[0],
    },
    "ghost_conv2d": {
        "ratio 1": lambda p: p.args[2] is None,
        "ratio 4": lambda p: p.args[2] is not None and p.args[2].shape[0] == 3 * p.args[1].shape[0],
        "a cut": lambda p: p.args[2] is not None and 0 < (p.options["out_channels"] or 99) < p.args[1].shape[0] + p.args[2].shape[0],
        "no cut": lambda p: p.options["out_channels"] is None,
        "a cheap kernel of 1": lambda p: p.args[2] is not None and p.args[2].shape[2:] == (1, 1),
        "a cheap kernel of 5": lambda p: p.args[2] is not None and p.args[2].shape[2:] == (5, 5),
        "an even cheap kernel": lambda p: p.args[2] is not None and p.args[2].shape[2:] == (2, 2),
        "groups": lambda p: p.options["groups"] > 1,
    },
    "avg_pool2d": {
        "ceil mode that adds a window": lambda p: p.options["ceil_mode"]
        and pool_rows(p, ceil_mode=True) != pool_rows(p, ceil_mode=False),
        "padding counted": lambda p: p.options["count_include_pad"] and p.options["padding"] in (1, 2, 3),
        "overlapping windows": lambda p: p.options["stride"] == 1 and p.options["kernel"] == 3,
        "gaps between windows": lambda p: p.options["stride"] == 3 and p.options["kernel"] == 2,
        "no image": lambda p: p.args[0].shape[0] == 0,
        "an image of one pixel under a larger window": lambda p: p.args[0].shape[2:] == (1, 1) and p.options["kernel"] == 3,
    },
    "max_pool2d": {"a tie": lambda p: p.options["kernel"] == 3 and np.unique(p.args[0]).size < p.args[0].size},
    "upsample_nearest2d": {
        "a crop": lambda p: p.options["size"] is not None and p.args[0].shape[2] * 4 > p.options["size"][0] > 9,
        "different scales": lambda p: p.options["scale"] == (2, 3),
    },
    "batch_norm2d": {
        "the batch's statistics": lambda p: p.args[3] is None,
        "fixed statistics": lambda p: p.args[3] is not None,
        "no image": lambda p: p.args[0].shape[0] == 0,
        "one number per channel": lambda p: p.args[0][:, 0].size == 1,
    },
    "relu": {"no axes": lambda p: p.args[0].ndim == 0, "four axes": lambda p: p.args[0].ndim == 4},
    "relu6": {"a number at the kink": lambda p: (p.args[0] == 6).any(), "a number above": lambda p: (p.args[0] > 6).any()},
    "softmax_cross_entropy": {
        "one class": lambda p: p.args[0].shape[1] == 1,
        "smoothing": lambda p: p.options["label_smoothing"] == 0.1,
    },
}  # fmt: skip


def pool_rows(problem, *, ceil_mode):
    options = {name: problem.options[name] for name in ("stride", "padding")}
    try:
        return Pool2dGeometry.of(
            problem.args[0].shape, problem.options["kernel"], ceil_mode=ceil_mode, **options
        ).out_height
    except ValueError:  # the only window is an incomplete one
        return 0


# `find` raises where so many problems have none of the kind; what it finds is not needed small.
SEARCH = settings(
    max_examples=500, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
@pytest.mark.parametrize(("op", "case"), [(op, case) for op, cases in CASES.items() for case in cases])
def test_hard_cases_occur(op, case):
    find(problems(op), lambda problem: bool(CASES[op][case](problem)), settings=SEARCH)


@pytest.mark.slow
@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
def test_problems_are_of_the_kind_asked_for(op, data):
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    whole = data.draw(st.booleans())
    problem, dy = data.draw(problems_with_dy(op, dtype, whole=whole))
    assert problem.op == op
    for _, array in named_arrays((problem.args, dy)):
        assert array.dtype == dtype
    if whole and op != "batch_norm2d":
        for _, array in named_arrays((problem.args[0], dy)):
            assert not (array % problem.unit).any()


@pytest.mark.parametrize("op", OPERATORS)
def test_real_numbers_are_no_whole_numbers(op):
    problem = find(
        problems(op, whole=False),
        lambda problem: all(array.size > 1 for _, array in named_arrays(problem.args[0])),
        settings=SEARCH,
    )
    assert any((array % 1).any() for _, array in named_arrays(problem.args))


@given(st.data(), st.lists(st.integers(0, 3), max_size=4))
def test_layouts_keep_the_numbers(data, shape):
    array = np.random.default_rng(0).standard_normal(shape)
    laid_out = data.draw(layouts(array))
    np.testing.assert_array_equal(laid_out, array)
    assert laid_out.dtype == array.dtype
    assert not np.shares_memory(laid_out, array)


LAYOUTS = {
    "reversed": lambda array: max(array.strides) < 0,
    "read-only": lambda array: not array.flags.writeable,
    "with gaps": lambda array: min(array.strides) > array.itemsize,
    "in Fortran order": lambda array: array.flags.f_contiguous,
    "channels last": lambda array: array.strides[1] == array.itemsize and not array.flags.f_contiguous,
    "unaligned": lambda array: not array.flags.aligned,
    "contiguous": lambda array: array.flags.c_contiguous,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_occurs(layout):
    find(layouts(np.zeros((2, 3, 4, 5))), LAYOUTS[layout], settings=SEARCH)


@given(st.data())
def test_dy_is_random_and_like_y(data):
    y = (np.zeros((3, 3), np.float32), None)
    dy = data.draw(dy_like(y, unit=3))
    assert dy[0].shape == (3, 3)
    assert dy[0].dtype == np.float32
    assert dy[1] is None
    assert len(np.unique(dy[0])) > 1
    assert not (dy[0] % 3).any()


def test_unknown_operators_are_named():
    with pytest.raises(ValueError, match=r"op must be one of conv2d, .*, got 'conv3d'"):
        find(problems("conv3d"), lambda problem: True)
