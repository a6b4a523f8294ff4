"""Octave convolution: a feature map in two frequencies, the low one at half the resolution, each fed by both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

from npconv import backends
from npconv.geometry import (
    Array,
    Conv2dGeometry,
    IntOrPair,
    OctavePath,
    Padding,
    Pool2dGeometry,
    UpsampleGeometry,
    check_array,
    check_shape,
    octave_paths,
)
from npconv.ops.operator import operator

StrideMode: TypeAlias = Literal["pool", "conv"]
_Maps: TypeAlias = "tuple[Array | None, Array | None]"
_Shapes: TypeAlias = "tuple[tuple[int, ...], tuple[int, ...]]"  # of (high, low); () stands for an absent map


class OctaveMap(NamedTuple):
    """A feature map in two frequencies: high (N, Ch, H, W) and low (N, Cl, ceil(H / 2), ceil(W / 2)); an absent one is None."""

    high: Array | None
    low: Array | None


class OctaveWeight(NamedTuple):
    """The four kernels of an octave convolution, ``hl`` leading from high to low; an absent path is None.

    hh (Oh, Ch / groups, kh, kw), hl (Ol, Ch / groups, kh, kw), lh (Oh, Cl / groups, kh, kw), ll (Ol, Cl / groups, kh, kw).
    """

    hh: Array | None = None
    hl: Array | None = None
    lh: Array | None = None
    ll: Array | None = None


class OctaveBias(NamedTuple):
    """One bias per output: high (Oh,) and low (Ol,); an absent one is None."""

    high: Array | None
    low: Array | None


@operator("x", "w", "b")
def octave_conv2d(
    x: OctaveMap | tuple[Array | None, Array | None],
    w: OctaveWeight,
    b: OctaveBias | tuple[Array | None, Array | None] | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    stride_mode: StrideMode = "pool",
) -> OctaveMap:
    """Octave convolution of a two-frequency map; f is `conv2d` with the given options, pool and up act by factors of 2.

    ``y.high = f(x.high, w.hh) + up(f(x.low, w.lh)) + b.high``

    ``y.low = f(x.low, w.ll) + f(pool(x.high), w.hl) + b.low``

    pool is the 2 x 2 average (the paper's half-pixel rule), in ceil mode without counting padding; up repeats pixels and is
    cropped to the high map: so odd sizes work. An absent path adds nothing: without x.low (alpha_in = 0) only hh and hl
    are used, without low output (alpha_out = 0) only hh and lh.

    Parameters
    ----------
    x : OctaveMap, or (high, low)
        float16, float32 or float64; never modified.
    w : OctaveWeight
    b : OctaveBias, or (high, low), optional
        One bias per output.
    stride : int or (rows, columns)
    padding, dilation, groups
        As in `conv2d`, for every path. Padding must keep the two maps an octave apart: "same", or kernel // 2 for an odd
        kernel without dilation.
    stride_mode : "pool" or "conv"
        What stride 2 means. "pool", the published code's choice: average-pool the inputs first (4 x 4 for H to L), then
        convolve at stride 1; x.low then has the high output's size and is not up-sampled. Only strides 1 and 2.
        "conv": every f above has the stride, whatever it is.

    Returns
    -------
    OctaveMap
        Its maps are None where no path leads to them.

    Raises
    ------
    TypeError, ValueError
        As in `conv2d`; also maps that are not an octave apart, paths without their input, outputs that do not fit.

    Notes
    -----
    Drop an Octave (arXiv 1904.05049), section 3.2, equation 4; table 3 for the two stride modes.

    Examples
    --------
    >>> import numpy as np
    >>> x = OctaveMap(high=np.ones((1, 1, 2, 2)), low=np.full((1, 1, 1, 1), 10.0))
    >>> one = np.ones((1, 1, 1, 1))
    >>> y = octave_conv2d(x, OctaveWeight(hh=one, hl=one, lh=one, ll=one))
    >>> y.high[0, 0], y.low[0, 0]
    (array([[11., 11.],
           [11., 11.]]), array([[11.]]))
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _forward(_plan(_STANDARD, x, w, b, options, stride_mode), b)


@operator("dy", "x", "w", "b")
def octave_conv2d_backward(
    dy: OctaveMap | tuple[Array | None, Array | None],
    x: OctaveMap | tuple[Array | None, Array | None],
    w: OctaveWeight,
    b: OctaveBias | tuple[Array | None, Array | None] | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    stride_mode: StrideMode = "pool",
) -> tuple[OctaveMap, OctaveWeight, OctaveBias | None]:
    """The gradients (dx, dw, db) of `octave_conv2d` for dy = (dhigh, dlow); each has None where its argument has.

    The other arguments and the errors are the forward's.

    Examples
    --------
    >>> import numpy as np
    >>> x = OctaveMap(high=np.ones((1, 1, 2, 2)), low=np.full((1, 1, 1, 1), 10.0))
    >>> one = np.ones((1, 1, 1, 1))
    >>> dx, dw, db = octave_conv2d_backward(x, x, OctaveWeight(hh=one, hl=one, lh=one, ll=one))
    >>> dx.high[0, 0]  # 1 from its own pixel, 10 / 4 from the pooled one
    array([[3.5, 3.5],
           [3.5, 3.5]])
    >>> [grad.item() for grad in dw]
    [4.0, 10.0, 40.0, 100.0]
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _backward(_plan(_STANDARD, x, w, b, options, stride_mode), dy, b)


@operator("x", "w", "b")
def octave_depthwise_conv2d(
    x: OctaveMap | tuple[Array | None, Array | None],
    w: OctaveWeight,
    b: OctaveBias | tuple[Array | None, Array | None] | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    stride_mode: StrideMode = "pool",
) -> OctaveMap:
    """Depthwise octave convolution: each channel stays in its frequency, so only the paths hh and ll exist.

    ``y.high = depthwise_conv2d(x.high, w.hh) + b.high`` and ``y.low = depthwise_conv2d(x.low, w.ll) + b.low``,
    both inputs being pooled first where the stride is 2 and `stride_mode` is "pool".

    Parameters, result and errors are those of `octave_conv2d`, with the kernels hh (Ch * m, 1, kh, kw) and
    ll (Cl * m, 1, kh, kw); ValueError where w has the paths hl or lh.

    Notes
    -----
    Drop an Octave (arXiv 1904.05049), section 3.3: no exchange between frequencies in a depthwise convolution.

    Examples
    --------
    >>> import numpy as np
    >>> x = OctaveMap(high=np.ones((1, 1, 2, 2)), low=np.full((1, 1, 1, 1), 10.0))
    >>> y = octave_depthwise_conv2d(x, OctaveWeight(hh=np.ones((1, 1, 1, 1)), ll=np.full((1, 1, 1, 1), 2.0)))
    >>> y.high[0, 0], y.low[0, 0]
    (array([[1., 1.],
           [1., 1.]]), array([[20.]]))
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return _forward(_plan(_DEPTHWISE, x, w, b, options, stride_mode), b)


@operator("dy", "x", "w", "b")
def octave_depthwise_conv2d_backward(
    dy: OctaveMap | tuple[Array | None, Array | None],
    x: OctaveMap | tuple[Array | None, Array | None],
    w: OctaveWeight,
    b: OctaveBias | tuple[Array | None, Array | None] | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    stride_mode: StrideMode = "pool",
) -> tuple[OctaveMap, OctaveWeight, OctaveBias | None]:
    """The gradients (dx, dw, db) of `octave_depthwise_conv2d` for dy = (dhigh, dlow); None where the argument has None.

    The other arguments and the errors are the forward's.

    Examples
    --------
    >>> import numpy as np
    >>> x = OctaveMap(high=np.ones((1, 1, 2, 2)), low=None)
    >>> dx, dw, db = octave_depthwise_conv2d_backward(x, x, OctaveWeight(hh=np.full((1, 1, 1, 1), 3.0)))
    >>> dx.high[0, 0], dw.hh.item()
    (array([[3., 3.],
           [3., 3.]]), 4.0)
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return _backward(_plan(_DEPTHWISE, x, w, b, options, stride_mode), dy, b)


# --- the paths ---------------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """The convolution that the paths are made of: its primitive, its size rule, and which paths it has."""

    primitive: str
    geometry: Callable[..., Conv2dGeometry]
    paths: tuple[str, ...]


_STANDARD = _Kind("conv2d", Conv2dGeometry.of, ("hh", "hl", "lh", "ll"))
_DEPTHWISE = _Kind("depthwise_conv2d", Conv2dGeometry.of_depthwise, ("hh", "ll"))
_FREQUENCY = ("high", "low")


class _Step(NamedTuple):
    """A path with what it works on: the map it reads, its kernel, and what its convolution makes of them."""

    path: OctavePath
    x: Array
    w: Array
    geometry: Conv2dGeometry


class _Plan(NamedTuple):
    """An octave convolution that is known to be well posed: its steps, and the outputs' shapes."""

    kind: _Kind
    steps: list[_Step]
    y_shapes: _Shapes


def _forward(plan: _Plan, b: _Maps | None) -> OctaveMap:
    """Each path forwards; the second to reach an output starts its sums from what the first one left there.

    Where one of the two is up-sampled it goes first, so that no map is made only to be added, and brings the bias along.
    """
    y: list[Array | None] = [None, None]
    bias = list(b or (None, None))
    for path, x, w, geometry in sorted(plan.steps, key=lambda step: -step.path.repeat):
        x = _pooled(path, x)
        total = y[path.target]
        if total is None:
            part = backends.call(plan.kind.primitive, x, w, bias[path.target], geometry)
            if path.repeat > 1:
                part = backends.call("upsample_nearest2d", part, _upsampling(plan, path, geometry))
        else:
            part = backends.call(plan.kind.primitive, x, w, None, geometry, out=total, add=True)
        y[path.target] = part
    return OctaveMap(*y)


def _backward(plan: _Plan, dy: _Maps, b: _Maps | None) -> tuple[OctaveMap, OctaveWeight, OctaveBias | None]:
    """Each path backwards: the adjoint of repeating, the convolution's gradients, the adjoint of pooling; sums where paths met."""
    _check_pair("dy", dy)
    for name, dy_map, y_shape in zip(_FREQUENCY, dy, plan.y_shapes, strict=True):
        _check_optional(f"dy.{name}", dy_map, y_shape, "that of the output")
    dx: list[Array | None] = [None, None]
    dw: dict[str, Array] = {}
    for path, x, w, geometry in sorted(plan.steps, key=lambda step: -step.path.pool):
        dpart = dy[path.target]
        if path.repeat > 1:
            dpart = backends.call("upsample_nearest2d_input_grad", dpart, _upsampling(plan, path, geometry))
        dw[path.name] = backends.call(f"{plan.kind.primitive}_weight_grad", dpart, _pooled(path, x), geometry)
        total = dx[path.source]
        into: dict[str, Any] = {} if total is None else {"out": total, "add": True}  # as forwards, the sums go on
        if path.pool > 1:
            part = backends.call(f"{plan.kind.primitive}_input_grad", dpart, w, geometry)
            dx[path.source] = backends.call("avg_pool2d_input_grad", part, False, _pooling(path, x), **into)
        else:
            dx[path.source] = backends.call(f"{plan.kind.primitive}_input_grad", dpart, w, geometry, **into)
    if b is None:
        return OctaveMap(*dx), OctaveWeight(**dw), None
    db = (
        None if bias is None else backends.call("conv2d_bias_grad", dy_map) for bias, dy_map in zip(b, dy, strict=True)
    )
    return OctaveMap(*dx), OctaveWeight(**dw), OctaveBias(*db)


def _pooled(path: OctavePath, x: Array) -> Array:
    """What the path's convolution reads. At an odd border the last window is smaller: ceil mode, padding not counted."""
    return x if path.pool == 1 else backends.call("avg_pool2d", x, False, _pooling(path, x))


def _pooling(path: OctavePath, x: Array) -> Pool2dGeometry:
    return Pool2dGeometry.of(x.shape, path.pool, ceil_mode=True)


def _upsampling(plan: _Plan, path: OctavePath, geometry: Conv2dGeometry) -> UpsampleGeometry:
    """Of what the path's convolution makes, to the size of the output that it leads to."""
    return UpsampleGeometry.of(geometry.y_shape, path.repeat, plan.y_shapes[path.target][2:])


# --- the checks --------------------------------------------------------------------------------------------------


def _plan(
    kind: _Kind, x: _Maps, w: OctaveWeight, b: _Maps | None, options: dict[str, Any], stride_mode: StrideMode
) -> _Plan:
    """The plan of an octave convolution; every argument is checked here, before any work."""
    if not isinstance(w, OctaveWeight):
        raise TypeError(f"w must be an OctaveWeight, got {type(w).__name__}")
    paths, strides = octave_paths(options["stride"], stride_mode)
    options = options | {"stride": strides}

    x_shapes = _octave_shapes(x)
    steps: list[_Step] = []
    y_shapes: list[tuple[int, ...]] = [(), ()]
    for path in paths:
        kernel = getattr(w, path.name)
        if kernel is None:
            continue
        source, target = _FREQUENCY[path.source], _FREQUENCY[path.target]
        x_map = x[path.source]
        if path.name not in kind.paths:
            raise ValueError(
                f"w.{path.name} must be None: a depthwise octave convolution has no path {source} to {target}"
            )
        if x_map is None:
            raise ValueError(f"w.{path.name} must be None where x.{source} is None, got an array")
        batch, channels, *size = x_shapes[path.source]
        kernel_shape = check_array(f"w.{path.name}", kernel, "OCHW")
        pooled_size = [-(-length // path.pool) for length in size]
        try:
            geometry = kind.geometry((batch, channels, *pooled_size), kernel_shape, **options)
        except ValueError as error:
            raise ValueError(f"path {path.name} ({source} to {target}): {error}") from None
        part = geometry.y_shape
        y_shape = y_shapes[path.target] or (*part[:2], *(length * path.repeat for length in part[2:]))
        needed = (*y_shape[:2], *(-(-length // path.repeat) for length in y_shape[2:]))
        if part != needed:
            raise ValueError(
                f"the paths to the {target} output must fit together: {path.name} gives {part}, got a {target} output of "
                f"{y_shape}, for which it must give {needed}"
            )
        y_shapes[path.target] = y_shape
        steps.append(_Step(path, x_map, kernel, geometry))
    for frequency, name in enumerate(_FREQUENCY):
        if x_shapes[frequency] and not any(step.path.source == frequency for step in steps):
            raise ValueError(f"x.{name} must be None where no path of w reads it, got an array")
    high, low = y_shapes
    if high and low and low[2:] != _octave_below(high):
        raise ValueError(
            f"padding must keep the outputs an octave apart: low must be {_octave_below(high)} for a high output of "
            f"{high[2:]}, got {low[2:]} with padding={options['padding']!r}"
        )
    if b is not None:
        _check_pair("b", b)
        for name, bias, y_shape in zip(_FREQUENCY, b, y_shapes, strict=True):
            if bias is not None:
                _check_optional(f"b.{name}", bias, y_shape[1:2], "one number per output channel")
    return _Plan(kind, steps, (high, low))


def _octave_shapes(x: _Maps) -> _Shapes:
    """The shapes of the two input maps, known to be an octave apart."""
    _check_pair("x", x)
    high, low = (
        () if array is None else check_array(f"x.{name}", array, "NCHW")
        for name, array in zip(_FREQUENCY, x, strict=True)
    )
    if not high and not low:
        raise ValueError("x must have at least one map, got (None, None)")
    if high and low and (low[0] != high[0] or low[2:] != _octave_below(high)):
        expected = (high[0], low[1], *_octave_below(high))
        raise ValueError(f"x.low must be an octave below x.high {high}, {expected}, got {low}")
    return high, low


def _octave_below(shape: tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns) of the low map beside a high one: half, rounded up."""
    return -(-shape[2] // 2), -(-shape[3] // 2)


def _check_pair(name: str, value: object) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (high, low), got {type(value).__name__}")


def _check_optional(name: str, array: Array | None, expected: tuple[int, ...], meaning: str) -> None:
    """Raise unless `array` has the `expected` shape, or is None where that is ()."""
    if not expected:
        if array is not None:
            raise ValueError(f"{name} must be None where w has no path to that output, got an array")
    elif array is None:
        raise ValueError(f"{name} must be an array of the shape {expected} ({meaning}), got None")
    else:
        check_shape(name, array, expected, meaning)
