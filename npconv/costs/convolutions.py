"""The cost of convolutions and of the fully connected layer: each function takes what the operator takes, with shapes for arrays."""

from __future__ import annotations

from npconv.costs.composites import ghost_calls, separable_calls, total
from npconv.costs.cost import Cost, Direction, Shape, bilinear_cost, convolution_cost
from npconv.geometry import (
    Conv2dGeometry,
    GhostGeometry,
    IntOrPair,
    Padding,
    SeparableGeometry,
    flag,
    ghost_channels,
    integer,
    pair,
    shape,
)


def conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    bias: bool = False,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """Standard or group convolution: ``N * O * P * Q * (C / groups) * kh * kw`` multiply-accumulates.

    Parameters
    ----------
    x_shape, w_shape : (N, C, H, W), (O, C / groups, kh, kw)
    stride, padding, dilation, groups
        As in `npconv.conv2d`; errors too.
    bias, direction, count_padding, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `npconv.conv2d`; no such direction, an itemsize below 1.

    Notes
    -----
    Without the padding's taps, ``P * kh`` becomes the number of pairs (p, r) for which row ``p*stride + r*dilation - pad``
    is in the image, and ``Q * kw`` likewise. MobileNets (arXiv 1704.04861), section 3.1, equation 2.

    Examples
    --------
    >>> conv2d((1, 512, 14, 14), (512, 512, 3, 3), padding=1).macs  # MobileNets, table 3: 462 million
    462422016
    >>> conv2d((1, 1, 3, 3), (1, 1, 3, 3), padding=1, count_padding=False).macs  # (2 + 3 + 2)**2
    49
    """
    geometry = Conv2dGeometry.of(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return convolution_cost(geometry, bias, direction, count_padding, itemsize)


def depthwise_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    bias: bool = False,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """Depthwise convolution of x (N, C, H, W) with w (C * m, 1, kh, kw): ``N * C * m * P * Q * kh * kw``.

    Parameters
    ----------
    x_shape, w_shape : (N, C, H, W), (C * m, 1, kh, kw)
    bias, stride, padding, dilation, direction, count_padding, itemsize
        As in `conv2d`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `npconv.depthwise_conv2d`; no such direction, an itemsize below 1.

    Notes
    -----
    MobileNets (arXiv 1704.04861), section 3.1, equation 4.

    Examples
    --------
    >>> depthwise_conv2d((1, 512, 14, 14), (512, 1, 3, 3), padding=1).macs
    903168
    """
    geometry = Conv2dGeometry.of_depthwise(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation)
    return convolution_cost(geometry, bias, direction, count_padding, itemsize)


def pointwise_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    bias: bool = False,
    stride: IntOrPair = 1,
    groups: int = 1,
    direction: Direction = "forward",
    itemsize: int = 4,
) -> Cost:
    """Pointwise convolution of x (N, C, H, W) with w (O, C / groups, 1, 1): ``N * O * P * Q * C / groups``.

    Parameters
    ----------
    x_shape, w_shape : (N, C, H, W), (O, C / groups, 1, 1)
    bias, stride, groups, direction, itemsize
        As in `conv2d`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `npconv.pointwise_conv2d`; no such direction, an itemsize below 1.

    Notes
    -----
    MobileNets (arXiv 1704.04861), section 3.1, the second part of equation 5.

    Examples
    --------
    >>> pointwise_conv2d((1, 512, 14, 14), (512, 512, 1, 1)).macs
    51380224
    """
    w_sizes = shape("w", w_shape, "OCHW")
    if w_sizes[2:] != (1, 1):
        raise ValueError(f"w must have a kernel of 1 x 1, shape (O, C / groups, 1, 1), got {w_sizes}")
    geometry = Conv2dGeometry.of(x_shape, w_sizes, stride=stride, groups=groups)
    return convolution_cost(geometry, bias, direction, True, itemsize)


def linear(
    x_shape: Shape, w_shape: Shape, *, bias: bool = False, direction: Direction = "forward", itemsize: int = 4
) -> Cost:
    """A fully connected layer, `npconv.linear`, on x (N, C) with w (O, C): ``N * C * O``.

    Parameters
    ----------
    x_shape, w_shape : (N, C), (O, C)
    bias, direction, itemsize
        See the top of `npconv.costs`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        Shapes that do not fit together; no such direction, an itemsize below 1.

    Examples
    --------
    >>> linear((1, 1024), (1000, 1024), bias=True)
    Cost(macs=1024000, parameters=1025000, elements_in=1024, elements_out=1000, bytes_moved=4108096)
    """
    batch, in_features = shape("x", x_shape, "NC")
    out_features, w_features = shape("w", w_shape, "OC")
    if w_features != in_features:
        raise ValueError(f"w must have the {in_features} features of x on axis 1, got {w_features} in {tuple(w_shape)}")
    return bilinear_cost(
        macs=batch * in_features * out_features,
        x=batch * in_features,
        w=out_features * in_features,
        b=out_features if flag("bias", bias) else 0,
        y=batch * out_features,
        direction=direction,
        itemsize=itemsize,
    )


def separable_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    multiplier: int = 1,
    bias: bool = False,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """The depthwise separable convolution that replaces a standard one of w (O, C, kh, kw): depthwise, then pointwise.

    Its kernels are (C * multiplier, 1, kh, kw) and (O, C * multiplier, 1, 1).

    Parameters
    ----------
    x_shape, w_shape : (N, C, H, W), (O, C, kh, kw)
    multiplier : int
        Channels that the depthwise part makes of each.
    bias, stride, padding, dilation, direction, count_padding, itemsize
        As in `conv2d`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `conv2d`; a multiplier below 1.

    Notes
    -----
    MobileNets (arXiv 1704.04861), section 3.1, equation 5.

    Examples
    --------
    >>> separable_conv2d((1, 512, 14, 14), (512, 512, 3, 3), padding=1)[:2]  # table 3: 52.3 and 0.27 million
    (52283392, 266752)
    """
    standard = Conv2dGeometry.of(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation)
    filters = standard.in_channels * integer("multiplier", multiplier, minimum=1)
    geometry = SeparableGeometry.of(
        x_shape,
        (filters, 1, standard.kernel_height, standard.kernel_width),
        (standard.out_channels, filters, 1, 1),
        stride=stride,
        padding=padding,
        dilation=dilation,
    )
    return total(separable_calls(geometry, bias, direction, count_padding, itemsize))


def ghost_conv2d(
    x_shape: Shape,
    w_shape: Shape,
    *,
    ratio: int = 2,
    cheap_kernel: IntOrPair = 3,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    direction: Direction = "forward",
    count_padding: bool = True,
    itemsize: int = 4,
) -> Cost:
    """The ghost convolution that replaces a standard one of w (n, C / groups, kh, kw), the ratio s being `ratio`.

    m = ceil(n / s) primary maps cost ``N * m * P * Q * (C / groups) * kh * kw``; their m * (s - 1) ghosts, filtered d x d
    with d = `cheap_kernel`, cost ``N * m * (s - 1) * P * Q * d * d``, those that are cut at the end included.

    Parameters
    ----------
    x_shape, w_shape : (N, C, H, W), (n, C / groups, kh, kw)
    ratio : int
    cheap_kernel : int or (rows, columns)
    stride, padding, dilation, groups, direction, count_padding, itemsize
        As in `conv2d`.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError, ValueError
        As by `conv2d`; a ratio or a cheap kernel below 1.

    Notes
    -----
    GhostNet (arXiv 1911.11907), section 3.1.

    Examples
    --------
    >>> ghost_conv2d((1, 64, 8, 8), (32, 64, 3, 3), ratio=2, padding=1).macs  # 64 * (16*64*9 + 16*9)
    599040
    """
    standard = Conv2dGeometry.of(x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
    maps, ghosts = ghost_channels(standard.out_channels, ratio)
    geometry = GhostGeometry.of(
        x_shape,
        (maps, *standard.w_shape[1:]),
        (ghosts, 1, *pair("cheap_kernel", cheap_kernel, minimum=1)) if ghosts else None,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        out_channels=standard.out_channels,
    )
    return total(ghost_calls(geometry, direction, count_padding, itemsize))
