"""Octave convolution: a feature map in two frequencies, the low one at half the resolution, each fed by both."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from npconv.backends import primitives
from npconv.geometry import (
    Array,
    IntOrPair,
    OctaveBias,
    OctaveGeometry,
    OctaveMap,
    OctaveWeight,
    Padding,
    check_array,
)
from npconv.ops.operator import operator

StrideMode: TypeAlias = Literal["pool", "conv"]


@operator("x", "w", "b", trees=("x", "w", "b"))
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
    x : OctaveMap, or (high, low), each (N, C, H, W)
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
    geometry = _geometry(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, stride_mode=stride_mode
    )
    return primitives.octave_conv2d(OctaveMap(*x), w, None if b is None else OctaveBias(*b), geometry)


@operator("dy", "x", "w", "b", trees=("dy", "x", "w", "b"))
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

    Parameters
    ----------
    dy : OctaveMap, or (high, low), each (N, O, P, Q)
        The gradient of the result, of its shape and dtype.
    x : OctaveMap, or (high, low), each (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    w, b
        As in `octave_conv2d`.
    stride, padding, dilation, groups, stride_mode
        As in `octave_conv2d`.

    Returns
    -------
    dx, dw, db : as the arguments
        Of the shapes and the dtype of x, w, b; None where an argument is None.

    Raises
    ------
    TypeError, ValueError
        As in `octave_conv2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    Drop an Octave (arXiv 1904.05049), section 3.2, equation 4.
    ``npconv explain octave_conv2d`` derives it.

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
    geometry = _geometry(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, stride_mode=stride_mode
    )
    return _backward(dy, x, w, b, geometry)


@operator("x", "w", "b", trees=("x", "w", "b"))
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

    Parameters
    ----------
    x : OctaveMap, or (high, low), each (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    w : OctaveWeight
        Of hh (Ch * m, 1, kh, kw) and ll (Cl * m, 1, kh, kw) alone.
    b : OctaveBias, optional
        high (Ch * m,) and low (Cl * m,).
    stride, padding, dilation, stride_mode
        As in `octave_conv2d`.

    Returns
    -------
    OctaveMap
        Its maps are None where no path leads to them.

    Raises
    ------
    TypeError, ValueError
        As in `octave_conv2d`; also where w has the paths hl or lh.

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
    geometry = _geometry(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=None, stride_mode=stride_mode
    )
    return primitives.octave_conv2d(OctaveMap(*x), w, None if b is None else OctaveBias(*b), geometry)


@operator("dy", "x", "w", "b", trees=("dy", "x", "w", "b"))
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

    Parameters
    ----------
    dy : OctaveMap, or (high, low), each (N, O, P, Q)
        The gradient of the result, of its shape and dtype.
    x : OctaveMap, or (high, low), each (N, C, H, W)
        float16, float32 or float64, all of one dtype; never modified.
    w, b
        As in `octave_depthwise_conv2d`.
    stride, padding, dilation, stride_mode
        As in `octave_depthwise_conv2d`.

    Returns
    -------
    dx, dw, db : as the arguments
        Of the shapes and the dtype of x, w, b; None where an argument is None.

    Raises
    ------
    TypeError, ValueError
        As in `octave_depthwise_conv2d`; also where dy has another shape or dtype than the result.

    Notes
    -----
    Drop an Octave (arXiv 1904.05049), section 3.2, equation 4.
    ``npconv explain octave_conv2d`` derives it.

    Examples
    --------
    >>> import numpy as np
    >>> x = OctaveMap(high=np.ones((1, 1, 2, 2)), low=None)
    >>> dx, dw, db = octave_depthwise_conv2d_backward(x, x, OctaveWeight(hh=np.full((1, 1, 1, 1), 3.0)))
    >>> dx.high[0, 0], dw.hh.item()
    (array([[3., 3.],
           [3., 3.]]), 4.0)
    """
    geometry = _geometry(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=None, stride_mode=stride_mode
    )
    return _backward(dy, x, w, b, geometry)


def _geometry(x: Any, w: object, b: Any, **options: Any) -> OctaveGeometry:
    """The geometry of these arrays, once each is known to be one, and all to fit together: before any work."""
    _check_pair("x", x)
    if not isinstance(w, OctaveWeight):
        raise TypeError(f"w must be an OctaveWeight, got {type(w).__name__}")
    high, low = (_shape_of(f"x.{name}", array, "NCHW") for name, array in zip(OctaveMap._fields, x, strict=True))
    w_shapes = tuple(_shape_of(f"w.{name}", array, "OCHW") for name, array in w._asdict().items())
    geometry = OctaveGeometry.of((high, low), w_shapes, **options)
    if b is not None:
        _check_pair("b", b)
    geometry.check_bias(b)
    return geometry


def _backward(
    dy: Any, x: Any, w: OctaveWeight, b: Any, geometry: OctaveGeometry
) -> tuple[OctaveMap, OctaveWeight, OctaveBias | None]:
    _check_pair("dy", dy)
    geometry.check_dy(dy)
    dx, dw = primitives.octave_conv2d_grad(OctaveMap(*dy), OctaveMap(*x), w, geometry)
    if b is None:
        return dx, dw, None
    db = [None if bias is None else primitives.conv2d_bias_grad(dy_map) for bias, dy_map in zip(b, dy, strict=True)]
    return dx, dw, OctaveBias(*db)


def _shape_of(name: str, array: Array | None, letters: str) -> tuple[int, ...]:
    return () if array is None else check_array(name, array, letters)


def _check_pair(name: str, value: object) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (high, low), got {type(value).__name__}")
