"""The definitions: every primitive and its gradients in NumPy, no checks, no loop over pixels, images or channels.

This is the package to read first. `npconv.kernels` has the same files, names and arguments in Numba. Both take what
`npconv.ops` has checked: C, H, W sizes from a geometry, one float dtype (float32 or float64), never anything to modify.

The letters are the same in every file: n batch, g group, c input channel in its group, o output channel in its group,
p q output row and column, r s kernel row and column, h w input row and column.
"""

from npconv.reference.activations import (
    hard_sigmoid,
    hard_sigmoid_input_grad,
    hard_swish,
    hard_swish_input_grad,
    relu,
    relu6,
    relu6_input_grad,
    relu_input_grad,
)
from npconv.reference.branches import add, concatenate, concatenate_input_grad, scale, scale_gate_grad
from npconv.reference.depthwise import depthwise_conv2d, depthwise_conv2d_input_grad, depthwise_conv2d_weight_grad
from npconv.reference.ghost import ghost_conv2d, ghost_conv2d_grad
from npconv.reference.linear import linear, linear_bias_grad, linear_input_grad, linear_weight_grad
from npconv.reference.loss import softmax_cross_entropy, softmax_cross_entropy_input_grad
from npconv.reference.normalization import (
    batch_norm2d,
    batch_norm2d_batch,
    batch_norm2d_batch_grad,
    batch_norm2d_fixed_grad,
    batch_statistics2d,
)
from npconv.reference.octave import octave_conv2d, octave_conv2d_grad
from npconv.reference.optimization import adam_update, sgd_update
from npconv.reference.pointwise import pointwise_conv2d, pointwise_conv2d_input_grad, pointwise_conv2d_weight_grad
from npconv.reference.pooling import (
    avg_pool2d,
    avg_pool2d_input_grad,
    global_avg_pool2d,
    global_avg_pool2d_input_grad,
    max_pool2d,
    max_pool2d_input_grad,
)
from npconv.reference.separable import separable_conv2d, separable_conv2d_grad
from npconv.reference.shuffle import channel_shuffle, channel_unshuffle
from npconv.reference.standard import conv2d, conv2d_bias_grad, conv2d_input_grad, conv2d_weight_grad
from npconv.reference.upsampling import upsample_nearest2d, upsample_nearest2d_input_grad

__all__ = [
    "adam_update",
    "add",
    "avg_pool2d",
    "avg_pool2d_input_grad",
    "batch_norm2d",
    "batch_norm2d_batch",
    "batch_norm2d_batch_grad",
    "batch_norm2d_fixed_grad",
    "batch_statistics2d",
    "channel_shuffle",
    "channel_unshuffle",
    "concatenate",
    "concatenate_input_grad",
    "conv2d",
    "conv2d_bias_grad",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "depthwise_conv2d",
    "depthwise_conv2d_input_grad",
    "depthwise_conv2d_weight_grad",
    "ghost_conv2d",
    "ghost_conv2d_grad",
    "global_avg_pool2d",
    "global_avg_pool2d_input_grad",
    "hard_sigmoid",
    "hard_sigmoid_input_grad",
    "hard_swish",
    "hard_swish_input_grad",
    "linear",
    "linear_bias_grad",
    "linear_input_grad",
    "linear_weight_grad",
    "max_pool2d",
    "max_pool2d_input_grad",
    "octave_conv2d",
    "octave_conv2d_grad",
    "pointwise_conv2d",
    "pointwise_conv2d_input_grad",
    "pointwise_conv2d_weight_grad",
    "relu",
    "relu6",
    "relu6_input_grad",
    "relu_input_grad",
    "scale",
    "scale_gate_grad",
    "separable_conv2d",
    "separable_conv2d_grad",
    "sgd_update",
    "softmax_cross_entropy",
    "softmax_cross_entropy_input_grad",
    "upsample_nearest2d",
    "upsample_nearest2d_input_grad",
]
