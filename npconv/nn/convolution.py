"""Convolution layers: standard and group, depthwise, pointwise, separable.

Kernels begin He normal in fan-in, variance 2 / (channels per group * kh * kw), biases 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, Conv2dGeometry, IntOrPair, Padding, effective_kernel, flag, integer, pair
from npconv.nn.initialization import constant, he_normal
from npconv.nn.layer import Layer, OperatorLayer
from npconv.ops import (
    conv2d,
    conv2d_backward,
    conv2d_weight_grad,
    depthwise_conv2d,
    depthwise_conv2d_backward,
    pointwise_conv2d,
    pointwise_conv2d_backward,
    relu6_backward,
    relu_backward,
    separable_conv2d,
    separable_conv2d_backward,
)
from npconv.ops.epilogue import Epilogue
from npconv.ops.order import native_order


class _Convolution(OperatorLayer):
    """What the four share: how their parameters begin, and the activation that runs along in evaluation."""

    bias: bool

    def forward(self, x: Array) -> Array:
        return self.forward_activated(x, None)

    def forward_activated(self, x: Array, activation: Epilogue | None) -> Array:
        """``activation(forward(x))`` in one sweep over memory; `backward` then takes dy after the activation."""
        x = native_order(x)  # the first layer turns the images, and all maps after it have their order
        epilogue = {} if activation is None else {"activation": activation}
        y: Array = self.operator(x, **self.params, **self._options(), **epilogue)
        self._keep(x, activation, y if activation else None)
        return y

    def taken_over(self, following: Layer) -> Epilogue | None:
        """The activation that `following` is, in evaluation: in training there is a batch norm between the two."""
        activation: Epilogue | None = following.as_activation()
        return activation if not self.training and type(self) in (Conv2d, DepthwiseConv2d, PointwiseConv2d) else None

    def backward(self, dy: Array) -> Array:
        x, activation, y = self._recall()
        if activation:
            dy = (relu_backward if activation == "relu" else relu6_backward)(dy, y)
        dx, *dparams = self.operator_backward(dy, x, **self.params, **self._options())
        self.grads.update(zip(self.params, dparams, strict=False))  # an absent bias has the gradient None, at the end
        return dx

    def _draw(self, rng: np.random.Generator, dtype: DTypeLike, **shapes: tuple[int, ...]) -> None:
        """Kernels of these shapes by name and, where `bias`, one number for each output channel of the last."""
        for name, shape in shapes.items():
            self.params[name] = he_normal(shape, math.prod(shape[1:]), rng, dtype)
        if self.bias:
            self.params["b"] = constant(shape[:1], 0, dtype)


class Conv2d(_Convolution):
    """Standard or group convolution with its kernel: `npconv.conv2d`, x (N, C, H, W) to y (N, O, P, Q).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel : int or (rows, columns)
    stride, padding, dilation, groups
        As in `npconv.conv2d`.
    bias : bool
        Whether there is one; leave it out before a batch norm, which takes it away again.
    rng : numpy.random.Generator
        What the kernel is drawn from.
    dtype : float16, float32 or float64
        Of the parameters, and so of what the layer works on.

    Attributes
    ----------
    params : ``w`` (O, C / groups, kh, kw), and ``b`` (O,) where `bias`

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type, or sizes that do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Conv2d(4, 8, 3, padding=1, groups=2, rng=np.random.default_rng(0))
    >>> layer(np.zeros((1, 4, 5, 5), np.float32)).shape, layer.params["w"].shape
    ((1, 8, 5, 5), (8, 2, 3, 3))
    """

    operator = staticmethod(conv2d)
    operator_backward = staticmethod(conv2d_backward)
    options = ("stride", "padding", "dilation", "groups")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: IntOrPair,
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel = in_channels, out_channels, kernel
        self.stride, self.padding, self.dilation, self.groups, self.bias = (
            stride,
            padding,
            dilation,
            groups,
            flag("bias", bias),
        )
        shape = kernel_shape(in_channels, out_channels, kernel, stride, padding, dilation, groups)
        self._draw(rng, dtype, w=shape)

    def backward_params(self, dy: Array) -> None:
        """The kernel's gradient without dx, which is as much work; with a bias, which no batch norm follows, both."""
        x, activation, _ = self._recall()
        if self.bias or activation:
            self.backward(dy)
            return
        self.grads["w"] = conv2d_weight_grad(dy, x, self.params["w"].shape, **self._options())


class DepthwiseConv2d(_Convolution):
    """Depthwise convolution with its kernels: `npconv.depthwise_conv2d`, x (N, C, H, W) to y (N, C * multiplier, P, Q).

    Parameters
    ----------
    channels : int
    kernel : int or (rows, columns)
    multiplier : int
        Output channels for each channel of x.
    stride, padding, dilation, bias, rng, dtype
        As in `Conv2d`.

    Attributes
    ----------
    params : ``w`` (C * multiplier, 1, kh, kw), and ``b`` (C * multiplier,) where `bias`

    Raises
    ------
    TypeError, ValueError
        As by `Conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> DepthwiseConv2d(4, 3, stride=2, padding=1, bias=False, rng=np.random.default_rng(0))
    DepthwiseConv2d(4, 3, stride=2, padding=1, bias=False)
    """

    operator = staticmethod(depthwise_conv2d)
    operator_backward = staticmethod(depthwise_conv2d_backward)
    options = ("stride", "padding", "dilation")

    def __init__(
        self,
        channels: int,
        kernel: IntOrPair,
        *,
        multiplier: int = 1,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        bias: bool = True,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.channels, self.kernel, self.multiplier = channels, kernel, multiplier
        self.stride, self.padding, self.dilation, self.bias = stride, padding, dilation, flag("bias", bias)
        self._draw(rng, dtype, w=depthwise_kernel_shape(channels, kernel, multiplier, stride, padding, dilation))


class PointwiseConv2d(_Convolution):
    """Pointwise (1x1) convolution with its kernel: `npconv.pointwise_conv2d`, x (N, C, H, W) to y (N, O, P, Q).

    Parameters
    ----------
    in_channels, out_channels : int
    stride, groups, bias, rng, dtype
        As in `Conv2d`.

    Attributes
    ----------
    params : ``w`` (O, C / groups, 1, 1), and ``b`` (O,) where `bias`

    Raises
    ------
    TypeError, ValueError
        As by `Conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> PointwiseConv2d(4, 8, groups=2, rng=np.random.default_rng(0))
    PointwiseConv2d(4, 8, groups=2)
    """

    operator = staticmethod(pointwise_conv2d)
    operator_backward = staticmethod(pointwise_conv2d_backward)
    options = ("stride", "groups")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride, self.groups, self.bias = stride, groups, flag("bias", bias)
        self._draw(rng, dtype, w=kernel_shape(in_channels, out_channels, 1, stride, 0, 1, groups))


class SeparableConv2d(_Convolution):
    """Depthwise separable convolution with its two kernels: `npconv.separable_conv2d`, x (N, C, H, W) to y (N, O, P, Q).

    Nothing stands between the two parts (Keras's ``SeparableConv2D``); MobileNet's block, with batch norm and ReLU after
    each, is `npconv.models.separable_block`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel : int or (rows, columns)
        Of the depthwise part.
    multiplier : int
        Channels that the depthwise part makes of each.
    stride, padding, dilation, bias, rng, dtype
        As in `Conv2d`.

    Attributes
    ----------
    params : ``w_depthwise`` (C * multiplier, 1, kh, kw), ``w_pointwise`` (O, C * multiplier, 1, 1), and ``b`` (O,) where `bias`

    Raises
    ------
    TypeError, ValueError
        As by `Conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> SeparableConv2d(4, 8, 3, padding="same", rng=np.random.default_rng(0)).parameter_count()  # 4 * 9 + 8 * 4 + 8
    76
    """

    operator = staticmethod(separable_conv2d)
    operator_backward = staticmethod(separable_conv2d_backward)
    options = ("stride", "padding", "dilation")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: IntOrPair,
        *,
        multiplier: int = 1,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        bias: bool = True,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel, self.multiplier = kernel, multiplier
        self.stride, self.padding, self.dilation, self.bias = stride, padding, dilation, flag("bias", bias)
        in_channels = integer("in_channels", in_channels, minimum=1)
        depthwise = depthwise_kernel_shape(in_channels, kernel, multiplier, stride, padding, dilation)
        pointwise = kernel_shape(depthwise[0], out_channels, 1, 1, 0, 1, 1)
        self._draw(rng, dtype, w_depthwise=depthwise, w_pointwise=pointwise)


def kernel_shape(
    in_channels: int,
    out_channels: int,
    kernel: IntOrPair,
    stride: IntOrPair,
    padding: Padding,
    dilation: IntOrPair,
    groups: int,
) -> tuple[int, int, int, int]:
    """The shape of w (O, C / groups, kh, kw), once the arguments are known to be those of some convolution.

    They are tried on the smallest image that the kernel fits into, so the rules and messages are the operator's.
    """
    in_channels = integer("in_channels", in_channels, minimum=1)
    out_channels = integer("out_channels", out_channels, minimum=1)
    groups = integer("groups", groups, minimum=1)
    kernels, dilations = pair("kernel", kernel, minimum=1), pair("dilation", dilation, minimum=1)
    image = [effective_kernel(*sizes) for sizes in zip(kernels, dilations, strict=True)]
    channels_per_group = max(in_channels // groups, 1)  # where groups does not divide, `of` says so
    geometry = Conv2dGeometry.of(
        (1, in_channels, *image),
        (out_channels, channels_per_group, *kernels),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return geometry.w_shape


def depthwise_kernel_shape(
    channels: int, kernel: IntOrPair, multiplier: int, stride: IntOrPair, padding: Padding, dilation: IntOrPair
) -> tuple[int, int, int, int]:
    """The shape of w (C * multiplier, 1, kh, kw), once the arguments are known to be those of some convolution."""
    channels = integer("channels", channels, minimum=1)
    multiplier = integer("multiplier", multiplier, minimum=1)
    return kernel_shape(channels, channels * multiplier, kernel, stride, padding, dilation, channels)
