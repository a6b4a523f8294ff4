"""What users call: each operator checks its arguments once, then asks the current backend; composites only call other operators.

One rule for every operator: the backward takes `dy` and then exactly what the forward took, and returns one gradient
per array argument, in the forward's order.
"""

from npconv.geometry import OctaveBias, OctaveMap, OctaveWeight
from npconv.ops.activations import (
    hard_sigmoid,
    hard_sigmoid_backward,
    hard_swish,
    hard_swish_backward,
    relu,
    relu6,
    relu6_backward,
    relu_backward,
)
from npconv.ops.depthwise import depthwise_conv2d, depthwise_conv2d_backward
from npconv.ops.ghost import ghost_conv2d, ghost_conv2d_backward
from npconv.ops.linear import linear, linear_backward
from npconv.ops.loss import softmax_cross_entropy, softmax_cross_entropy_backward
from npconv.ops.normalization import batch_norm2d, batch_norm2d_backward, batch_statistics2d
from npconv.ops.octave import (
    octave_conv2d,
    octave_conv2d_backward,
    octave_depthwise_conv2d,
    octave_depthwise_conv2d_backward,
)
from npconv.ops.order import channels_last
from npconv.ops.pointwise import pointwise_conv2d, pointwise_conv2d_backward
from npconv.ops.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from npconv.ops.separable import separable_conv2d, separable_conv2d_backward
from npconv.ops.shuffle import channel_shuffle, channel_shuffle_backward, channel_unshuffle, channel_unshuffle_backward
from npconv.ops.standard import conv2d, conv2d_backward, conv2d_input_grad, conv2d_weight_grad
from npconv.ops.upsampling import upsample_nearest2d, upsample_nearest2d_backward

__all__ = [
    "OctaveBias",
    "OctaveMap",
    "OctaveWeight",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm2d",
    "batch_norm2d_backward",
    "batch_statistics2d",
    "channel_shuffle",
    "channel_shuffle_backward",
    "channel_unshuffle",
    "channel_unshuffle_backward",
    "channels_last",
    "conv2d",
    "conv2d_backward",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "depthwise_conv2d",
    "depthwise_conv2d_backward",
    "ghost_conv2d",
    "ghost_conv2d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "hard_sigmoid",
    "hard_sigmoid_backward",
    "hard_swish",
    "hard_swish_backward",
    "linear",
    "linear_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "octave_conv2d",
    "octave_conv2d_backward",
    "octave_depthwise_conv2d",
    "octave_depthwise_conv2d_backward",
    "pointwise_conv2d",
    "pointwise_conv2d_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "separable_conv2d",
    "separable_conv2d_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "upsample_nearest2d",
    "upsample_nearest2d_backward",
]
