"""Hypothesis strategies: random well-posed problems for every operator, small enough for a definition of nested loops.

    @given(problems("conv2d"))
    def test_forward(problem):
        assert np.array_equal(problem.forward(), my_conv2d(*problem.args, **problem.options))

Hypothesis draws sizes and options, so failures shrink to small ones; the numbers come from a NumPy generator whose seed
it draws. Where other implementations go wrong is drawn often: strides that leave rows over (the floor case), padding of
every form, even and one-row kernels, kernels as large as the image, 1 x 1 images, empty batches, odd octave maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from npconv.geometry import Array, IntOrPair, Padding, Pair
from npconv.ops import OctaveBias, OctaveMap, OctaveWeight
from npconv.testing.gradients import Tree, map_arrays
from npconv.testing.problem import Problem

__all__ = ["OPERATORS", "Problem", "dy_like", "layouts", "problems", "problems_with_dy"]


@st.composite
def problems(
    draw: st.DrawFn, op: str, dtype: DTypeLike = np.float32, *, whole: bool = True, largest: int = 4
) -> Problem:
    """Problems for the operator named `op`, one of `OPERATORS`.

    Parameters
    ----------
    op : str
    dtype : float16, float32 or float64
    whole : bool
        Whole numbers, small enough that float32 holds every partial sum exactly in any order (where `largest` is 4; for
        larger problems that is only all but certain). Otherwise numbers with a normal distribution.
    largest : int
        The scale of the sizes: images have up to so many pixels more per axis than the kernel needs.

    Returns
    -------
    Hypothesis strategy of `npconv.testing.Problem`

    Raises
    ------
    ValueError
        There is no such operator.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(problems("relu"))
    ... def test_relu_is_not_negative(problem):
    ...     assert (problem.forward() >= 0).all()
    >>> test_relu_is_not_negative()
    """
    if op not in _PROBLEMS:
        raise ValueError(f"op must be one of {', '.join(OPERATORS)}, got {op!r}")
    drawn = _Draw(draw, np.random.default_rng(draw(_SEEDS)), np.dtype(dtype), whole, largest)
    return _PROBLEMS[op](drawn)._replace(op=op)


@st.composite
def dy_like(draw: st.DrawFn, y: Tree, *, whole: bool = True, unit: int = 1) -> Tree:
    """Output gradients for the result `y`: random numbers in its shape and dtype, multiples of `unit` where `whole`.

    Parameters
    ----------
    y : array of any shape, or tuple of arrays
        The result, of any dtype of floats.
    whole : bool
    unit : int

    Returns
    -------
    Hypothesis strategy

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(dy_like(np.zeros((1, 2), np.float32)))
    ... def test_dy_is_like_y(dy):
    ...     assert dy.shape == (1, 2)
    >>> test_dy_is_like_y()
    """
    rng = np.random.default_rng(draw(_SEEDS))
    return map_arrays(lambda array: _numbers(rng, array.shape, array.dtype, whole, unit), y)


@st.composite
def problems_with_dy(
    draw: st.DrawFn, op: str, dtype: DTypeLike = np.float32, *, whole: bool = True, largest: int = 4
) -> tuple[Problem, Tree]:
    """As `problems`, each with a dy, for what concerns the backward.

    Parameters
    ----------
    op, dtype, whole, largest
        As in `problems`.

    Returns
    -------
    Hypothesis strategy of (`npconv.testing.Problem`, dy)

    Raises
    ------
    ValueError
        There is no such operator.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(problems_with_dy("relu"))
    ... def test_the_gradient_is_like_x(drawn):
    ...     problem, dy = drawn
    ...     assert problem.backward(dy).shape == problem.args[0].shape
    >>> test_the_gradient_is_like_x()
    """
    problem = draw(problems(op, dtype, whole=whole, largest=largest))
    return problem, draw(dy_like(problem.forward(), whole=whole, unit=problem.unit))


def layouts(array: Array) -> st.SearchStrategy[Array]:
    """The same numbers as `array`, laid out in memory in any way that NumPy knows; every one a new array.

    Parameters
    ----------
    array : array of any shape and dtype

    Returns
    -------
    Hypothesis strategy of arrays
        Of the shape and dtype of `array`.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=5, deadline=None)
    ... @given(layouts(np.arange(4.0).reshape(2, 2)))
    ... def test_the_numbers_are_the_same(array):
    ...     assert array.tolist() == [[0, 1], [2, 3]]
    >>> test_the_numbers_are_the_same()
    """
    return st.sampled_from(_LAYOUTS).map(lambda lay_out: lay_out(array))


# --- layouts -----------------------------------------------------------------------------------------------------


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def _reversed(array: Array) -> Array:
    """Negative strides on every axis."""
    backwards: Any = (..., *(slice(None, None, -1) for _ in array.shape))
    flipped: Array = array[backwards].copy()[backwards]
    return flipped


def _sliced(array: Array) -> Array:
    """Every second element of every axis of a larger array, whose other elements are NaN: whoever reads them shows it."""
    wide = np.full([2 * length + 1 for length in array.shape], np.nan, array.dtype)
    every_second: Any = (..., *(slice(1, None, 2) for _ in array.shape))
    view: Array = wide[every_second]
    view[...] = array
    return view


def _fortran(array: Array) -> Array:
    return array.copy(order="F")


def _channels_last(array: Array) -> Array:
    """Axis 1, where there is one, varies fastest, as in the memory of an NHWC image."""
    axes = sorted(range(array.ndim), key=lambda axis: axis == 1)
    return array.transpose(axes).copy().transpose(np.argsort(axes))


def _unaligned(array: Array) -> Array:
    """Starts one byte past where a number of its dtype would."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view: Array = memory.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


_LAYOUTS = (np.copy, _read_only, _reversed, _sliced, _fortran, _channels_last, _unaligned)


# --- sizes, options and numbers ----------------------------------------------------------------------------------

_SEEDS = st.integers(0, 2**32 - 1)


def _numbers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, whole: bool, unit: int = 1, largest: int = 4
) -> Array:
    """Multiples of `unit` up to ``largest * unit`` either way, or numbers normally distributed about 0 of that scale."""
    if whole:
        return np.asarray(rng.integers(-largest, largest, shape, endpoint=True) * unit, dtype)
    return np.asarray(rng.normal(0.0, largest / 4, shape), dtype)


class _Window(NamedTuple):
    """A kernel on an image that it fits on, with the options that say how."""

    size: Pair
    kernel: Pair
    options: dict[str, Any]


class _Draw(NamedTuple):
    """What every problem is drawn with."""

    draw: st.DrawFn
    rng: np.random.Generator
    dtype: np.dtype[Any]
    whole: bool
    largest: int

    def numbers(self, *shape: int, unit: int = 1, largest: int = 4) -> Array:
        return _numbers(self.rng, shape, self.dtype, self.whole, unit, largest)

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def int_or_pair(self, low: int, high: int) -> IntOrPair:
        """An option that may be given as an int or as (rows, columns)."""
        numbers = st.integers(low, high)
        return self.draw(st.one_of(numbers, st.tuples(numbers, numbers)))

    def batch(self) -> int:
        return self.one_of(1, 2, 1, 3, 2, 0)

    def channels(self) -> int:
        return self.integer(1, max(3, self.largest // 2))

    def size(self, least: int = 1) -> int:
        """The pixels along one axis, of which `least` are needed."""
        return least + self.integer(0, self.largest)

    def kernel(self, largest: int = 4) -> Pair:
        """Square, one row, one column, or anything."""
        sides = st.integers(1, largest)
        return self.draw(
            st.one_of(
                sides.map(lambda side: (side, side)),
                sides.map(lambda side: (1, side)),
                sides.map(lambda side: (side, 1)),
                st.tuples(sides, sides),
            )
        )

    def padding(self, largest: Pair) -> Padding:
        """Any form of padding, at most `largest` rows and columns on each side where it is given in numbers."""
        rows, columns = (st.integers(0, length) for length in largest)
        return self.draw(
            st.one_of(
                st.sampled_from(("same", "same_lower", "valid")),
                st.integers(0, min(largest)),
                st.tuples(rows, columns),
                st.tuples(st.tuples(rows, rows), st.tuples(columns, columns)),
            )
        )

    def window(self) -> _Window:
        """A convolution's window; stride and dilation are drawn large half of the time at most, to keep images small."""
        kernel = self.kernel()
        stride, dilation = self.int_or_pair(1, 4), self.one_of(1, 1, 2, 3, (1, 2), (3, 1))
        padding = self.padding((2, 2))
        size = tuple(
            self.size(1 if padding in ("same", "same_lower") else max(1, reach - sum(pads)))
            for reach, pads in zip(_reach(kernel, dilation), _sides(padding), strict=True)
        )
        return _Window((size[0], size[1]), kernel, {"stride": stride, "padding": padding, "dilation": dilation})

    def bias(self, channels: int) -> Array | None:
        return self.numbers(channels) if self.draw(st.booleans()) else None


def _both(value: IntOrPair) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _reach(kernel: Pair, dilation: IntOrPair) -> Pair:
    """Rows and columns that a dilated kernel spans."""
    rows, columns = _both(dilation)
    return rows * (kernel[0] - 1) + 1, columns * (kernel[1] - 1) + 1


def _sides(padding: Any) -> tuple[Pair, Pair]:
    """Padding in numbers on its four sides; "valid" is none, and "same" is known only with the size."""
    rows, columns = (0, 0) if isinstance(padding, str) else _both(padding)
    return _both(rows), _both(columns)


# --- one function per operator -----------------------------------------------------------------------------------


def _problem(*args: Tree, unit: int = 1, **options: Any) -> Problem:
    """`problems` fills in the name."""
    return Problem("", args, options, unit)


def _conv2d(drawn: _Draw) -> Problem:
    window = drawn.window()
    groups, ins, outs = drawn.integer(1, 3), drawn.channels(), drawn.channels()
    x = drawn.numbers(drawn.batch(), groups * ins, *window.size)
    w = drawn.numbers(groups * outs, ins, *window.kernel)
    return _problem(x, w, drawn.bias(groups * outs), groups=groups, **window.options)


def _depthwise_conv2d(drawn: _Draw) -> Problem:
    window = drawn.window()
    channels, multiplier = drawn.channels(), drawn.integer(1, 3)
    x = drawn.numbers(drawn.batch(), channels, *window.size)
    w = drawn.numbers(channels * multiplier, 1, *window.kernel)
    return _problem(x, w, drawn.bias(channels * multiplier), **window.options)


def _pointwise_conv2d(drawn: _Draw) -> Problem:
    groups, ins, outs = drawn.integer(1, 3), drawn.channels(), drawn.channels()
    x = drawn.numbers(drawn.batch(), groups * ins, drawn.size(), drawn.size())
    w = drawn.numbers(groups * outs, ins, 1, 1)
    return _problem(x, w, drawn.bias(groups * outs), stride=drawn.int_or_pair(1, 4), groups=groups)


def _separable_conv2d(drawn: _Draw) -> Problem:
    depthwise, outs = _depthwise_conv2d(drawn), drawn.channels()
    x, w_depthwise, _ = depthwise.args
    w_pointwise = drawn.numbers(outs, w_depthwise.shape[0], 1, 1)
    return _problem(x, w_depthwise, w_pointwise, drawn.bias(outs), **depthwise.options)


def _octave_conv2d(drawn: _Draw) -> Problem:
    """Maps and paths first: low channels 0 are alpha 0, high channels 0 are alpha 1."""
    groups = drawn.integer(1, 3)
    in_high, in_low = drawn.one_of((1, 1), (2, 1), (1, 2), (2, 0), (0, 2))
    out_high, out_low = drawn.one_of((1, 1), (2, 1), (1, 2), (2, 0), (0, 2))
    ends = {
        "hh": (in_high, out_high),
        "hl": (in_high, out_low),
        "lh": (in_low, out_high),
        "ll": (in_low, out_low),
    }
    channels = {path: (ins, outs * groups) for path, (ins, outs) in ends.items() if ins and outs}
    if drawn.one_of(False, False, True) and len(channels) == 4:  # a path that could be, and is absent
        del channels[drawn.one_of("hh", "hl", "lh", "ll")]
    return _octave(drawn, (in_high * groups, in_low * groups), channels, {"groups": groups})


def _octave_depthwise_conv2d(drawn: _Draw) -> Problem:
    high, low = drawn.one_of((1, 1), (2, 1), (1, 2), (2, 0), (0, 2))
    ends = {"hh": (1, high * drawn.integer(1, 3)), "ll": (1, low * drawn.integer(1, 3))}
    return _octave(drawn, (high, low), {path: end for path, end in ends.items() if end[1]}, {})


def _octave(drawn: _Draw, in_channels: Pair, paths: dict[str, Pair], options: dict[str, Any]) -> Problem:
    """An octave problem with in_channels = (high, low) and the (input channels per group, output channels) of each path."""
    kernel, dilation = drawn.kernel(), drawn.one_of(1, 1, 2, (1, 2))
    stride, stride_mode = drawn.one_of(
        (1, "pool"), (2, "pool"), ((2, 2), "pool"), (2, "conv"), (3, "conv"), ((2, 1), "conv")
    )
    reach = _reach(kernel, dilation)
    # To keep two maps an octave apart, the sides of an axis must add up to reach - 1; one path alone can have any padding.
    padding: Padding
    if len(paths) == 1:
        padding = drawn.padding((1, 1))
    elif reach[0] == reach[1] and reach[0] % 2 and drawn.draw(st.booleans()):
        padding = reach[0] // 2
    else:
        before = drawn.integer(0, reach[0] - 1), drawn.integer(0, reach[1] - 1)
        sides = tuple((first, length - 1 - first) for first, length in zip(before, reach, strict=True))
        padding = drawn.one_of("same", "same_lower", sides)

    # What the paths' convolutions read is the high map less a factor of at most 4: `least` is for that.
    same = padding in ("same", "same_lower")
    least = [1 if same else max(1, length - sum(pads)) for length, pads in zip(reach, _sides(padding), strict=True)]
    pooled_first = stride_mode == "pool" and stride != 1
    factor = (4 if "hl" in paths or "ll" in paths else 2) if pooled_first else (2 if set(paths) - {"hh"} else 1)
    size = [drawn.size((pixels - 1) * factor + 1) for pixels in least]
    below = [-(-pixels // 2) for pixels in size]

    unit = 9 if pooled_first and "hl" in paths else 1  # an average over 4 x 4 pixels may have 3 x 3 at the border
    batch = drawn.batch()
    high, low = in_channels
    x = OctaveMap(
        drawn.numbers(batch, high, *size, unit=unit) if high else None,
        drawn.numbers(batch, low, *below, unit=unit) if low else None,
    )
    w = OctaveWeight(**{path: drawn.numbers(outs, ins, *kernel) for path, (ins, outs) in paths.items()})
    out_high = next((outs for path, (_, outs) in paths.items() if path[1] == "h"), 0)
    out_low = next((outs for path, (_, outs) in paths.items() if path[1] == "l"), 0)
    b = OctaveBias(
        drawn.bias(out_high) if out_high else None,
        drawn.bias(out_low) if out_low else None,
    )
    return _problem(
        x,
        w,
        b if drawn.draw(st.booleans()) else None,
        unit=unit,
        stride=stride,
        padding=padding,
        dilation=dilation,
        stride_mode=stride_mode,
        **options,
    )


def _ghost_conv2d(drawn: _Draw) -> Problem:
    window = drawn.window()
    groups, ins, ratio = drawn.integer(1, 2), drawn.channels(), drawn.integer(1, 4)
    primary = groups * drawn.integer(1, 3)
    x = drawn.numbers(drawn.batch(), groups * ins, *window.size)
    w_primary = drawn.numbers(primary, ins, *window.kernel)
    w_cheap = drawn.numbers(primary * (ratio - 1), 1, *drawn.kernel(5)) if ratio > 1 else None
    cut = drawn.one_of(None, *range((primary - 1) * ratio + 1, primary * ratio + 1))
    return _problem(x, w_primary, w_cheap, groups=groups, out_channels=cut, **window.options)


def _channel_shuffle(drawn: _Draw) -> Problem:
    groups, per_group = drawn.integer(1, 4), drawn.integer(1, 4)
    return _problem(drawn.numbers(drawn.batch(), groups * per_group, drawn.size(), drawn.size()), groups=groups)


def _pool2d(drawn: _Draw) -> Problem:
    kernel = drawn.one_of(1, 2, 3, 4, drawn.kernel())
    rows, columns = _both(kernel)
    stride = drawn.one_of(None, drawn.int_or_pair(1, 4))
    padding = drawn.padding((rows - 1, columns - 1))
    ceil_mode = drawn.draw(st.booleans())
    fits = ceil_mode or padding in ("same", "same_lower")
    size = [
        drawn.size(1 if fits else max(1, length - sum(pads)))
        for length, pads in zip((rows, columns), _sides(padding), strict=True)
    ]
    # A window of 3 or 4 rows may hold 3 of them, and so for columns: the sums have to be divisible by that.
    unit = (3 if rows >= 3 else 1) * (3 if columns >= 3 else 1)
    x = drawn.numbers(drawn.batch(), drawn.channels(), *size, unit=unit)
    return _problem(x, unit=unit, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)


def _avg_pool2d(drawn: _Draw) -> Problem:
    problem = _pool2d(drawn)
    return problem._replace(options=problem.options | {"count_include_pad": drawn.draw(st.booleans())})


def _global_avg_pool2d(drawn: _Draw) -> Problem:
    height, width = drawn.size(), drawn.size()
    unit = height * width
    return _problem(drawn.numbers(drawn.batch(), drawn.channels(), height, width, unit=unit), unit=unit)


def _upsample_nearest2d(drawn: _Draw) -> Problem:
    size, scale = (drawn.size(), drawn.size()), drawn.int_or_pair(1, 4)
    cropped = tuple(
        length * factor - drawn.integer(0, factor - 1) for length, factor in zip(size, _both(scale), strict=True)
    )
    x = drawn.numbers(drawn.batch(), drawn.channels(), *size)
    return _problem(x, scale=scale, size=drawn.one_of(None, cropped))


def _batch_norm2d(drawn: _Draw) -> Problem:
    """With the batch's own statistics, of which an empty batch has none, or with fixed ones."""
    fixed, channels = drawn.draw(st.booleans()), drawn.channels()
    batch = drawn.batch() if fixed else drawn.integer(1, 3)
    x = drawn.numbers(batch, channels, drawn.size(), drawn.size())
    gamma, beta = drawn.numbers(channels), drawn.numbers(channels)
    mean, var = (
        (drawn.numbers(channels), np.abs(drawn.numbers(channels)) + drawn.dtype.type(0.5)) if fixed else (None, None)
    )
    return _problem(x, gamma, beta, mean, var, eps=drawn.one_of(1e-5, 1e-3, 0.5))


def _elementwise(drawn: _Draw) -> Problem:
    """Arrays of any shape, on both sides of every kink; whole numbers also on the kinks."""
    shape = drawn.draw(st.lists(st.integers(0, drawn.largest), max_size=4))
    return _problem(drawn.numbers(*shape, largest=16))


def _linear(drawn: _Draw) -> Problem:
    ins, outs = drawn.size(), drawn.size()
    return _problem(drawn.numbers(drawn.batch(), ins), drawn.numbers(outs, ins), drawn.bias(outs))


def _softmax_cross_entropy(drawn: _Draw) -> Problem:
    batch, classes = drawn.integer(1, 3), drawn.size()
    labels = drawn.rng.integers(0, classes, batch).astype(drawn.one_of(np.int64, np.int32, np.uint8))
    return _problem(drawn.numbers(batch, classes), labels=labels, label_smoothing=drawn.one_of(0.0, 0.1, 1.0))


_PROBLEMS: dict[str, Callable[[_Draw], Problem]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise_conv2d,
    "pointwise_conv2d": _pointwise_conv2d,
    "separable_conv2d": _separable_conv2d,
    "octave_conv2d": _octave_conv2d,
    "octave_depthwise_conv2d": _octave_depthwise_conv2d,
    "ghost_conv2d": _ghost_conv2d,
    "channel_shuffle": _channel_shuffle,
    "channel_unshuffle": _channel_shuffle,
    "avg_pool2d": _avg_pool2d,
    "max_pool2d": _pool2d,
    "global_avg_pool2d": _global_avg_pool2d,
    "upsample_nearest2d": _upsample_nearest2d,
    "batch_norm2d": _batch_norm2d,
    "relu": _elementwise,
    "relu6": _elementwise,
    "hard_sigmoid": _elementwise,
    "hard_swish": _elementwise,
    "linear": _linear,
    "softmax_cross_entropy": _softmax_cross_entropy,
}
OPERATORS: tuple[str, ...] = tuple(_PROBLEMS)
"""Every operator that has a backward."""
