"""Octave layers: the two octave convolutions, and any layer applied to each frequency of a map.

A map in two frequencies travels as `npconv.OctaveMap`. Where the low frequency has no channels there is nothing to pair,
and the map is a plain array: so an octave network begins and ends between ordinary layers, and at alpha 0 it is an ordinary one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, IntOrPair, Padding, flag, fraction, octave_channels, octave_paths
from npconv.nn.composite import check_parts
from npconv.nn.containers import Identity
from npconv.nn.convolution import depthwise_kernel_shape, kernel_shape
from npconv.nn.initialization import constant, he_normal
from npconv.nn.layer import Layer
from npconv.nn.normalization import BatchNorm2d, MomentumConvention
from npconv.ops import (
    OctaveBias,
    OctaveMap,
    OctaveWeight,
    octave_conv2d,
    octave_conv2d_backward,
    octave_depthwise_conv2d,
    octave_depthwise_conv2d_backward,
)
from npconv.ops.octave import StrideMode


class _OctaveConvolution(Layer):
    """What both octave convolutions share: the form of the maps, and the kernels by path."""

    operator: ClassVar[Callable[..., OctaveMap]]
    operator_backward: ClassVar[Callable[..., tuple[OctaveMap, OctaveWeight, OctaveBias | None]]]
    options: ClassVar[tuple[str, ...]]
    bias: bool
    _low_in: int
    _low_out: int

    def _set_params(
        self, shapes: Mapping[str, tuple[int, ...]], fan_in: int, rng: np.random.Generator, dtype: DTypeLike
    ) -> None:
        """One kernel for each path of `shapes`, one bias for each output that a path leads to."""
        for path, shape in shapes.items():
            self.params[f"w_{path}"] = he_normal(shape, fan_in, rng, dtype)
        if self.bias:
            outputs = {"high" if path[1] == "h" else "low": shape[:1] for path, shape in shapes.items()}
            for frequency in OctaveBias._fields:
                if frequency in outputs:
                    self.params[f"b_{frequency}"] = constant(outputs[frequency], 0, dtype)

    def _arrays(self) -> tuple[OctaveWeight, OctaveBias | None]:
        w = OctaveWeight(*(self.params.get(f"w_{path}") for path in OctaveWeight._fields))
        b = OctaveBias(*(self.params.get(f"b_{frequency}") for frequency in OctaveBias._fields))
        return w, b if self.bias else None

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.options}

    def forward(self, x: Array | OctaveMap) -> Array | OctaveMap:
        x_map = _as_pair("x", x, self._low_in)
        y = self.operator(x_map, *self._arrays(), **self._options())
        self._keep(x_map)
        return _as_map(y, self._low_out)

    def backward(self, dy: Array | OctaveMap) -> Array | OctaveMap:
        (x_map,) = self._recall()
        dx, dw, db = self.operator_backward(
            _as_pair("dy", dy, self._low_out), x_map, *self._arrays(), **self._options()
        )
        gradients = {f"w_{path}": gradient for path, gradient in dw._asdict().items()}
        if db is not None:
            gradients |= {f"b_{frequency}": gradient for frequency, gradient in db._asdict().items()}
        self.grads.update({name: gradients[name] for name in self.params})
        return _as_map(dx, self._low_in)


class OctaveConv2d(_OctaveConvolution):
    """Octave convolution with its kernels: `npconv.octave_conv2d`.

    Its kernels together have the size of the kernel of a `Conv2d`, whatever the alphas are, and begin like it: He normal in
    fan-in, variance 2 / (in_channels / groups * kh * kw), high and low inputs counted together.

    Parameters
    ----------
    in_channels, out_channels : int
        Of both frequencies together.
    kernel : int or (rows, columns)
    alpha_in, alpha_out : float in [0, 1]
        The share of the low frequency: int(alpha * channels) of the channels, see `npconv.geometry.octave_channels`.
        Where that is 0, the map is a plain array; where it is all, ``OctaveMap(None, low)``.
    stride, padding, dilation, groups, stride_mode
        As in `npconv.octave_conv2d`; `groups` divides the channels of each frequency.
    bias, rng, dtype
        As in `Conv2d`.

    Attributes
    ----------
    params : ``w_hh``, ``w_hl``, ``w_lh``, ``w_ll`` without those whose path has no channels, and ``b_high``, ``b_low``

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type, or sizes that do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> layer = OctaveConv2d(4, 8, 3, alpha_in=0, alpha_out=0.25, padding=1, rng=np.random.default_rng(0))
    >>> high, low = layer(np.zeros((1, 4, 6, 6), np.float32))
    >>> high.shape, low.shape
    ((1, 6, 6, 6), (1, 2, 3, 3))
    """

    operator = staticmethod(octave_conv2d)
    operator_backward = staticmethod(octave_conv2d_backward)
    options = ("stride", "padding", "dilation", "groups", "stride_mode")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: IntOrPair,
        *,
        alpha_in: float,
        alpha_out: float,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        stride_mode: StrideMode = "pool",
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel = in_channels, out_channels, kernel
        self.alpha_in, self.alpha_out = alpha_in, alpha_out
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.bias, self.stride_mode = flag("bias", bias), stride_mode
        whole = kernel_shape(in_channels, out_channels, kernel, stride, padding, dilation, groups)
        inputs = octave_channels(in_channels, fraction("alpha_in", alpha_in))
        outputs = octave_channels(out_channels, fraction("alpha_out", alpha_out))
        self._low_in, self._low_out = inputs[1], outputs[1]
        octave_paths(stride, stride_mode)  # the rule for strides is there
        shapes: dict[str, tuple[int, ...]] = {}
        for source, i in zip("hl", inputs, strict=True):
            for target, o in zip("hl", outputs, strict=True):
                if i and o:
                    try:
                        shape = kernel_shape(i, o, kernel, stride, padding, dilation, groups)
                    except ValueError as error:
                        raise ValueError(f"path {source}{target}: {error}") from None
                    shapes[source + target] = shape
        self._set_params(shapes, math.prod(whole[1:]), rng, dtype)


class OctaveDepthwiseConv2d(_OctaveConvolution):
    """Depthwise octave convolution with its kernels: `npconv.octave_depthwise_conv2d`; nothing goes from one frequency to the other.

    Parameters
    ----------
    channels : int
        Of both frequencies together.
    kernel : int or (rows, columns)
    alpha : float in [0, 1]
        The share of the low frequency.
    multiplier : int
        Output channels for each channel of x.
    stride, padding, dilation, bias, stride_mode, rng, dtype
        As in `OctaveConv2d`.

    Attributes
    ----------
    params : ``w_hh``, ``w_ll``, ``b_high``, ``b_low``, as far as there are such channels

    Raises
    ------
    TypeError, ValueError
        As by `OctaveConv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> layer = OctaveDepthwiseConv2d(8, 3, alpha=0.25, padding=1, bias=False, rng=np.random.default_rng(0))
    >>> [(name, w.shape) for name, w in layer.params.items()]
    [('w_hh', (6, 1, 3, 3)), ('w_ll', (2, 1, 3, 3))]
    """

    operator = staticmethod(octave_depthwise_conv2d)
    operator_backward = staticmethod(octave_depthwise_conv2d_backward)
    options = ("stride", "padding", "dilation", "stride_mode")

    def __init__(
        self,
        channels: int,
        kernel: IntOrPair,
        *,
        alpha: float,
        multiplier: int = 1,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        bias: bool = True,
        stride_mode: StrideMode = "pool",
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.channels, self.kernel, self.alpha, self.multiplier = channels, kernel, alpha, multiplier
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.bias, self.stride_mode = flag("bias", bias), stride_mode
        high, low = octave_channels(channels, alpha)
        self._low_in = self._low_out = low
        octave_paths(stride, stride_mode)  # the rule for strides is there
        shapes = {
            path: depthwise_kernel_shape(number, kernel, multiplier, stride, padding, dilation)
            for path, number in (("hh", high), ("ll", low))
            if number
        }
        fan_in = math.prod(next(iter(shapes.values()))[1:])
        self._set_params(shapes, fan_in, rng, dtype)


class PerFrequency(Layer):
    """One layer for each frequency: ``high`` on the high map, ``low`` on the low one; an absent map stays absent.

    Without a layer a frequency passes as it is. A plain array, a map without a low frequency, goes through ``high``.

    Parameters
    ----------
    high, low : Layer, optional

    Raises
    ------
    TypeError
        One is no Layer.

    Notes
    -----
    What Drop an Octave (arXiv 1904.05049) does with batch norm, activations and pooling.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv.nn import AvgPool2d
    >>> pool = PerFrequency(AvgPool2d(2), AvgPool2d(2))
    >>> high, low = pool(OctaveMap(np.zeros((1, 3, 8, 8)), np.zeros((1, 1, 4, 4))))
    >>> high.shape, low.shape
    ((1, 3, 4, 4), (1, 1, 2, 2))
    """

    def __init__(self, high: Layer | None = None, low: Layer | None = None) -> None:
        super().__init__()
        self.high = Identity() if high is None else high
        self.low = Identity() if low is None else low
        check_parts({"high": self.high, "low": self.low})

    def forward(self, x: Array | OctaveMap) -> Array | OctaveMap:
        return _each(self.high, self.low, x)

    def as_activation(self) -> Any:
        """What both frequencies' layers are, where that is the same."""
        high, low = self.high.as_activation(), self.low.as_activation()
        return high if high == low else None

    def taken_over(self, following: Layer) -> Any:
        """What both frequencies take over from theirs, where that is the same."""
        if not isinstance(following, PerFrequency):
            return None
        high, low = self.high.taken_over(following.high), self.low.taken_over(following.low)
        return high if high == low else None

    def forward_activated(self, x: Array | OctaveMap, activation: Any) -> Array | OctaveMap:
        """``activation(forward(x))``: that of both frequencies' layers, which `taken_over` has asked."""
        return _each(lambda part: self.high(part, activation), lambda part: self.low(part, activation), x)

    def backward(self, dy: Array | OctaveMap) -> Array | OctaveMap:
        return _each(self.high.backward, self.low.backward, dy)


class OctaveBatchNorm2d(PerFrequency):
    """Batch norm of each frequency of a map of `channels` channels, int(alpha * channels) of them low.

    Children: ``high`` and ``low``, each a `BatchNorm2d`.

    Parameters
    ----------
    channels : int
        Of both frequencies together.
    alpha : float in [0, 1]
    eps, momentum, momentum_convention, unbiased, dtype
        As in `BatchNorm2d`.

    Raises
    ------
    TypeError, ValueError
        As by `BatchNorm2d`; an alpha outside of [0, 1].

    Examples
    --------
    >>> OctaveBatchNorm2d(8, alpha=0.25)
    OctaveBatchNorm2d(8, alpha=0.25)
      high: BatchNorm2d(6)
      low: BatchNorm2d(2)
    """

    def __init__(
        self,
        channels: int,
        *,
        alpha: float,
        eps: float = 1e-5,
        momentum: float = 0.1,
        momentum_convention: MomentumConvention = "pytorch",
        unbiased: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            *(
                BatchNorm2d(
                    number,
                    eps=eps,
                    momentum=momentum,
                    momentum_convention=momentum_convention,
                    unbiased=unbiased,
                    dtype=dtype,
                )
                if number
                else None
                for number in octave_channels(channels, alpha)
            )
        )
        self.channels, self.alpha = channels, alpha


def _as_pair(name: str, value: Array | OctaveMap, low_channels: int) -> Array | OctaveMap:
    """`value` as the operators take it: a plain array where there are no low channels is a high map alone."""
    if low_channels:
        return value
    if isinstance(value, tuple):
        raise TypeError(
            f"{name} must be a plain array where the low frequency has no channels, got {type(value).__name__}"
        )
    return OctaveMap(value, None)


def _as_map(y: OctaveMap, low_channels: int) -> Any:
    """The inverse of `_as_pair`."""
    return y if low_channels else y.high


def _each(high: Callable[[Array], Array], low: Callable[[Array], Array], x: Array | OctaveMap) -> Array | OctaveMap:
    """`high` and `low` of the two maps of x; a plain array is a high map."""
    if not isinstance(x, OctaveMap):
        return high(x)
    return OctaveMap(None if x.high is None else high(x.high), None if x.low is None else low(x.low))
