"""The ghost module."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, IntOrPair, check_shape, flag, ghost_channels, pair
from npconv.nn.activations import ReLU
from npconv.nn.containers import Sequential
from npconv.nn.convolution import Conv2d, DepthwiseConv2d
from npconv.nn.layer import Layer
from npconv.nn.normalization import BatchNorm2d
from npconv.ops.branches import add, concatenate


class GhostModule(Layer):
    """The ghost convolution with a batch norm and a ReLU after each part; the cheap part reads the *activated* primary maps.

    ``primary = relu(bn(conv(x)))``, ``ghosts = relu(bn(depthwise(primary)))``,
    ``y = concatenate([primary, ghosts], axis=1)[:, :out_channels]``

    There are m = ceil(out_channels / ratio) primary maps and m * (ratio - 1) ghosts; surplus ghosts are made and cut.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel : int or (rows, columns)
        Of the primary convolution, padded by kernel // 2.
    ratio : int
        How many maps come of one convolution; at 1 there are no ghosts.
    cheap_kernel : int or (rows, columns)
        Of the depthwise convolution, at stride 1 and padding "same".
    stride : int or (rows, columns)
        Of the primary convolution.
    activation : bool
        Whether the ReLUs are there.
    rng, dtype
        As in `Conv2d`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type, or sizes that do not fit together.

    Notes
    -----
    GhostNet (arXiv 1911.11907), section 3.1, as in the published code: no biases, primary maps first. Children:
    ``primary`` and, where ratio > 1, ``cheap``, each with ``conv``, ``bn`` and, where `activation`, ``relu``.

    Examples
    --------
    >>> import numpy as np
    >>> layer = GhostModule(4, 7, rng=np.random.default_rng(0))
    >>> layer(np.ones((2, 4, 5, 5), np.float32)).shape
    (2, 7, 5, 5)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: IntOrPair = 1,
        *,
        ratio: int = 2,
        cheap_kernel: IntOrPair = 3,
        stride: IntOrPair = 1,
        activation: bool = True,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel, self.ratio = in_channels, out_channels, kernel, ratio
        self.cheap_kernel, self.stride, self.activation = cheap_kernel, stride, flag("activation", activation)
        maps, self._ghosts = ghost_channels(out_channels, ratio)
        rows, columns = pair("kernel", kernel, minimum=1)
        self.primary = self._part(
            Conv2d(
                in_channels,
                maps,
                kernel,
                stride=stride,
                padding=(rows // 2, columns // 2),
                bias=False,
                rng=rng,
                dtype=dtype,
            ),
            maps,
            dtype,
        )
        if self._ghosts:
            cheap = DepthwiseConv2d(
                maps, cheap_kernel, multiplier=ratio - 1, padding="same", bias=False, rng=rng, dtype=dtype
            )
            self.cheap = self._part(cheap, self._ghosts, dtype)

    def _part(self, conv: Layer, channels: int, dtype: DTypeLike) -> Sequential:
        relu = {"relu": ReLU()} if self.activation else {}
        return Sequential(conv=conv, bn=BatchNorm2d(channels, dtype=dtype), **relu)

    def forward(self, x: Array) -> Array:
        primary = self.primary(x)
        y = primary
        if self._ghosts:
            kept = self.out_channels - primary.shape[1]
            y = concatenate((primary, self.cheap(primary)[:, :kept]))
        self._keep(primary.shape, y.shape)
        return y

    def backward(self, dy: Array) -> Array:
        """A primary map was read twice, by the output and by its ghosts: its gradient is the sum of both."""
        (batch, maps, height, width), y_shape = self._recall()
        check_shape("dy", dy, y_shape, "that of the output")
        dprimary, dghosts = dy[:, :maps], dy[:, maps:]
        if self._ghosts:
            surplus = self._ghosts - dghosts.shape[1]
            if surplus:
                dghosts = concatenate((dghosts, np.zeros((batch, surplus, height, width), dy.dtype)))
            dprimary = add(dprimary, self.cheap.backward(dghosts))
        return self.primary.backward(dprimary)
