"""Layers: an operator plus the parameters that it learns, and the containers that compose layers and their backwards.

    >>> import numpy as np
    >>> from npconv import nn
    >>> rng = np.random.default_rng(0)
    >>> block = nn.Sequential(
    ...     depthwise=nn.DepthwiseConv2d(8, 3, padding=1, bias=False, rng=rng),
    ...     bn=nn.BatchNorm2d(8),
    ...     relu=nn.ReLU(),
    ... )
    >>> y = block(rng.standard_normal((2, 8, 6, 6)).astype(np.float32))
    >>> dx = block.backward(np.ones_like(y))
    >>> [(name, grad.shape) for name, grad in block.named_grads()]
    [('depthwise.w', (8, 1, 3, 3)), ('bn.gamma', (8,)), ('bn.beta', (8,))]

Every argument is checked when a layer is made, everything random needs an `rng`, and `dtype` is that of the parameters.
"""

from npconv.backends import watch_layers
from npconv.nn.activations import HardSigmoid, HardSwish, ReLU, ReLU6
from npconv.nn.attention import SqueezeExcite
from npconv.nn.containers import Concat, Identity, Residual, Sequential
from npconv.nn.convolution import Conv2d, DepthwiseConv2d, PointwiseConv2d, SeparableConv2d
from npconv.nn.dropout import Dropout
from npconv.nn.fold import fold_batch_norm
from npconv.nn.freezing import is_frozen
from npconv.nn.ghost import GhostModule
from npconv.nn.layer import Layer, OperatorLayer
from npconv.nn.linear import Flatten, Linear
from npconv.nn.normalization import BatchNorm2d
from npconv.nn.octave import OctaveBatchNorm2d, OctaveConv2d, OctaveDepthwiseConv2d, PerFrequency
from npconv.nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d, Upsample
from npconv.nn.prediction import predict
from npconv.nn.replace import replace_convs
from npconv.nn.shuffle import ChannelShuffle

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "ChannelShuffle",
    "Concat",
    "Conv2d",
    "DepthwiseConv2d",
    "Dropout",
    "Flatten",
    "GhostModule",
    "GlobalAvgPool2d",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "Layer",
    "Linear",
    "MaxPool2d",
    "OctaveBatchNorm2d",
    "OctaveConv2d",
    "OctaveDepthwiseConv2d",
    "OperatorLayer",
    "PerFrequency",
    "PointwiseConv2d",
    "ReLU",
    "ReLU6",
    "Residual",
    "SeparableConv2d",
    "Sequential",
    "SqueezeExcite",
    "Upsample",
    "fold_batch_norm",
    "is_frozen",
    "predict",
    "replace_convs",
    "watch_layers",
]
