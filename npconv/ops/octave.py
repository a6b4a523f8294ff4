"""Octave convolution: a feature map in two frequencies, the low one at half the resolution, each fed by both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from npconv import backends
from npconv.geometry import Array, IntOrPair, Padding
from npconv.ops.octave_plan import DEPTHWISE, STANDARD, Maps, Plan, Step
from npconv.ops.operator import operator

StrideMode: TypeAlias = Literal["pool", "conv"]


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
    plan = Plan.of(STANDARD, x, _kernels(w), b, stride, padding, dilation, groups, stride_mode)
    return _forward(plan, x, w, b)


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
    plan = Plan.of(STANDARD, x, _kernels(w), b, stride, padding, dilation, groups, stride_mode)
    plan.check_dy(dy)
    return _backward(plan, dy, x, w, b)


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
    plan = Plan.of(DEPTHWISE, x, _kernels(w), b, stride, padding, dilation, None, stride_mode)
    return _forward(plan, x, w, b)


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

    Examples
    --------
    >>> import numpy as np
    >>> x = OctaveMap(high=np.ones((1, 1, 2, 2)), low=None)
    >>> dx, dw, db = octave_depthwise_conv2d_backward(x, x, OctaveWeight(hh=np.full((1, 1, 1, 1), 3.0)))
    >>> dx.high[0, 0], dw.hh.item()
    (array([[3., 3.],
           [3., 3.]]), 4.0)
    """
    plan = Plan.of(DEPTHWISE, x, _kernels(w), b, stride, padding, dilation, None, stride_mode)
    plan.check_dy(dy)
    return _backward(plan, dy, x, w, b)


# --- the paths ---------------------------------------------------------------------------------------------------


def _kernels(w: object) -> OctaveWeight:
    if not isinstance(w, OctaveWeight):
        raise TypeError(f"w must be an OctaveWeight, got {type(w).__name__}")
    return w


def _forward(plan: Plan, x: Maps, w: OctaveWeight, b: Maps | None) -> OctaveMap:
    """Each output is a convolution of what reaches it at its own resolution, side by side; then what is up-sampled is added.

    Convolutions that cannot be one, of different kernels or in groups, add to what the first one left, which has the bias.
    """
    y: list[Array | None] = [None, None]
    read: dict[tuple[int, int], Array] = {}
    for steps, convolution in plan.forward:
        path = steps[0].path
        total, bias = y[path.target], None
        if total is None and b is not None:
            bias = b[path.target]
        kernel = _side_by_side([getattr(w, step.path.name) for step in steps], axis=1)
        if len(steps) == 1:
            maps = _pooled(steps[0], x, read)
        else:
            maps = backends.empty_map(convolution.x_shape, kernel.dtype)
            for step, place in _places(steps, "in_channels_per_group"):
                _pooled(step, x, read, out=maps[:, place])
        if path.repeat == 1:
            y[path.target] = backends.call(plan.primitive, maps, kernel, bias, convolution, **_into(total))
        else:
            part = backends.call(plan.primitive, maps, kernel, bias, convolution)
            y[path.target] = backends.call("upsample_nearest2d", part, steps[0].upsampling, **_into(total))
    return OctaveMap(*y)


def _backward(
    plan: Plan, dy: Maps, x: Maps, w: OctaveWeight, b: Maps | None
) -> tuple[OctaveMap, OctaveWeight, OctaveBias | None]:
    """The adjoint of repeating, the gradients of the convolutions, the adjoint of pooling; sums where paths meet.

    Here those are one that read the same map: what their outputs hand back stands side by side.
    """
    read: dict[tuple[int, int], Array] = {}
    dread: dict[tuple[int, int], Array] = {}
    dw: dict[str, Array] = {}
    for steps, convolution in plan.backward:
        path = steps[0].path
        kernel = _side_by_side([getattr(w, step.path.name) for step in steps], axis=0)
        if len(steps) == 1:
            dmaps = _gathered(steps[0], dy)
        else:
            dmaps = backends.empty_map(convolution.y_shape, kernel.dtype)
            for step, place in _places(steps, "out_channels_per_group"):
                _gathered(step, dy, out=dmaps[:, place])
        maps = _pooled(steps[0], x, read)
        dkernel = backends.call(f"{plan.primitive}_weight_grad", dmaps, maps, convolution)
        for step, place in _places(steps, "out_channels_per_group"):
            dw[step.path.name] = dkernel[place] if len(steps) > 1 else dkernel
        level = path.source, path.pool
        into = _into(dread.get(level))
        dread[level] = backends.call(f"{plan.primitive}_input_grad", dmaps, kernel, convolution, **into)
    for steps, _ in reversed(plan.backward):
        path = steps[0].path
        if path.pool > 1:
            part, level = dread.pop((path.source, path.pool)), (path.source, steps[0].level)
            into = _into(dread.get(level))
            dread[level] = backends.call("avg_pool2d_input_grad", part, False, steps[0].pooling, **into)
    dx = OctaveMap(dread.get((0, 1)), dread.get((1, 1)))
    if b is None:
        return dx, OctaveWeight(**dw), None
    db = (
        None if bias is None else backends.call("conv2d_bias_grad", dy_map) for bias, dy_map in zip(b, dy, strict=True)
    )
    return dx, OctaveWeight(**dw), OctaveBias(*db)


def _pooled(step: Step, x: Maps, read: dict[tuple[int, int], Array], out: Array | None = None) -> Array:
    """What the step's convolution reads, which goes into `read`, by source and pooling, for the steps that pool it again."""
    source, pool = step.path.source, step.path.pool
    array: Any = x[source] if step.level == 1 else read[source, step.level]
    if pool > 1:
        array = read[source, pool] = backends.call("avg_pool2d", array, False, step.pooling, out=out)
    elif out is not None:
        backends.place(array, out)
    return array


def _gathered(step: Step, dy: Maps, out: Array | None = None) -> Array:
    """What the step's convolution gets back: dy, summed over the pixels that each of its own became."""
    array: Any = dy[step.path.target]
    if step.path.repeat > 1:
        array = backends.call("upsample_nearest2d_input_grad", array, step.upsampling, out=out)
    elif out is not None:
        backends.place(array, out)
    return array


def _side_by_side(kernels: list[Array], axis: int) -> Array:
    return kernels[0] if len(kernels) == 1 else np.concatenate(kernels, axis)


def _places(steps: tuple[Step, ...], channels: str) -> Iterator[tuple[Step, slice]]:
    """Each step with the channels that are its own where they stand side by side, which convolutions in groups never do."""
    first = 0
    for step in steps:
        last = first + getattr(step.convolution, channels)
        yield step, slice(first, last)
        first = last


def _into(total: Array | None) -> dict[str, Any]:
    """Where a primitive's result goes: into the sum that is there already, if any."""
    return {} if total is None else {"out": total, "add": True}
