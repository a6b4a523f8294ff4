"""Pooling and up-sampling layers, x (N, C, H, W) to y (N, C, P, Q)."""

from __future__ import annotations

from npconv.geometry import IntOrPair, Padding, Pool2dGeometry, flag, pair
from npconv.nn.layer import OperatorLayer
from npconv.ops import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    upsample_nearest2d,
    upsample_nearest2d_backward,
)


class AvgPool2d(OperatorLayer):
    """The mean of each window: `npconv.avg_pool2d`; padding is not counted by default.

    Parameters
    ----------
    kernel, stride, padding, ceil_mode, count_include_pad
        As in `npconv.avg_pool2d`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> AvgPool2d(3, stride=2, padding=1)
    AvgPool2d(3, stride=2, padding=1)
    """

    operator = staticmethod(avg_pool2d)
    operator_backward = staticmethod(avg_pool2d_backward)
    options = ("kernel", "stride", "padding", "ceil_mode", "count_include_pad")

    def __init__(
        self,
        kernel: IntOrPair,
        *,
        stride: IntOrPair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ) -> None:
        super().__init__()
        _check_pool(kernel, stride, padding)
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.ceil_mode, self.count_include_pad = (
            flag("ceil_mode", ceil_mode),
            flag("count_include_pad", count_include_pad),
        )


class MaxPool2d(OperatorLayer):
    """The largest pixel of each window: `npconv.max_pool2d`.

    Parameters
    ----------
    kernel, stride, padding, ceil_mode
        As in `npconv.max_pool2d`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> MaxPool2d(2)
    MaxPool2d(2)
    """

    operator = staticmethod(max_pool2d)
    operator_backward = staticmethod(max_pool2d_backward)
    options = ("kernel", "stride", "padding", "ceil_mode")

    def __init__(
        self,
        kernel: IntOrPair,
        *,
        stride: IntOrPair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        _check_pool(kernel, stride, padding)
        self.kernel, self.stride, self.padding, self.ceil_mode = kernel, stride, padding, flag("ceil_mode", ceil_mode)


class GlobalAvgPool2d(OperatorLayer):
    """The mean of each plane, as (N, C, 1, 1): `npconv.global_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> GlobalAvgPool2d()(np.array([[[[1.0, 3.0]]]]))
    array([[[[2.]]]])
    """

    operator = staticmethod(global_avg_pool2d)
    operator_backward = staticmethod(global_avg_pool2d_backward)


class Upsample(OperatorLayer):
    """Every pixel repeated: `npconv.upsample_nearest2d`.

    Parameters
    ----------
    scale, size
        As in `npconv.upsample_nearest2d`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> Upsample(2)
    Upsample(2)
    """

    operator = staticmethod(upsample_nearest2d)
    operator_backward = staticmethod(upsample_nearest2d_backward)
    options = ("scale", "size")

    def __init__(self, scale: IntOrPair = 2, *, size: IntOrPair | None = None) -> None:
        super().__init__()
        pair("scale", scale, minimum=1)
        if size is not None:
            pair("size", size, minimum=1)
        self.scale, self.size = scale, size


def _check_pool(kernel: IntOrPair, stride: IntOrPair | None, padding: Padding) -> None:
    """Raise unless the arguments are those of some pooling: they are tried on an image of the kernel's size."""
    Pool2dGeometry.of((1, 1, *pair("kernel", kernel, minimum=1)), kernel, stride=stride, padding=padding)
