"""The fast twins: every primitive of `npconv.reference`, with the same files, names and arguments, in Numba on all cores.

A public function takes what its reference takes, allocates its result and calls a compiled loop. What the loops share: `simd` is
the vector vocabulary, `tiles`, `filters` and `moments` the sums in registers made of it; `shifts` and `planes` have every
convolution as a sum of shifted planes, `pixels` and `dots` the gradients of its weights; `winograd` and `patches` make both by the
matrices of `transforms`; `slides` has square kernels over planes where they stand, `row_windows` what these meet of a row,
`channels` any other kernel over rows in scratch, `lanes` planes that stand in the lanes of a vector, `rows` planes as long
rows, `blocks` squares of pixels where they stand; `jit` how all of them are compiled, optimised,
kept on disk and launched.
Each thread writes to what it alone owns (a plane, a row, a weight), so results are the same for any number of threads.
"""

from npconv.kernels.activations import (
    hard_sigmoid,
    hard_sigmoid_input_grad,
    hard_swish,
    hard_swish_input_grad,
    relu,
    relu6,
    relu6_input_grad,
    relu_input_grad,
)
from npconv.kernels.blocks import accumulate as accumulate  # for npconv.backends, not a primitive
from npconv.kernels.blocks import place as place  # likewise
from npconv.kernels.branches import add as add  # for npconv.backends, not primitives
from npconv.kernels.branches import concatenate as concatenate
from npconv.kernels.branches import gate_grad as gate_grad
from npconv.kernels.branches import part_grad as part_grad
from npconv.kernels.branches import scale as scale
from npconv.kernels.depthwise import depthwise_conv2d, depthwise_conv2d_input_grad, depthwise_conv2d_weight_grad
from npconv.kernels.jit import configuration as configuration  # for npconv.show_config, not a primitive
from npconv.kernels.linear import linear, linear_bias_grad, linear_input_grad, linear_weight_grad
from npconv.kernels.loss import softmax_cross_entropy, softmax_cross_entropy_input_grad
from npconv.kernels.normalization import (
    batch_norm2d,
    batch_norm2d_batch,
    batch_norm2d_batch_grad,
    batch_norm2d_fixed_grad,
    batch_statistics2d,
)
from npconv.kernels.optimization import adam_update as adam_update  # for npconv.backends, not primitives
from npconv.kernels.optimization import sgd_update as sgd_update
from npconv.kernels.pointwise import pointwise_conv2d, pointwise_conv2d_input_grad, pointwise_conv2d_weight_grad
from npconv.kernels.pooling import (
    avg_pool2d,
    avg_pool2d_input_grad,
    global_avg_pool2d,
    global_avg_pool2d_input_grad,
    max_pool2d,
    max_pool2d_input_grad,
)
from npconv.kernels.shuffle import channel_shuffle, channel_unshuffle
from npconv.kernels.standard import conv2d, conv2d_bias_grad, conv2d_input_grad, conv2d_weight_grad
from npconv.kernels.upsampling import upsample_nearest2d, upsample_nearest2d_input_grad

__all__ = [
    "avg_pool2d",
    "avg_pool2d_input_grad",
    "batch_norm2d",
    "batch_norm2d_batch",
    "batch_norm2d_batch_grad",
    "batch_norm2d_fixed_grad",
    "batch_statistics2d",
    "channel_shuffle",
    "channel_unshuffle",
    "conv2d",
    "conv2d_bias_grad",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "depthwise_conv2d",
    "depthwise_conv2d_input_grad",
    "depthwise_conv2d_weight_grad",
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
    "pointwise_conv2d",
    "pointwise_conv2d_input_grad",
    "pointwise_conv2d_weight_grad",
    "relu",
    "relu6",
    "relu6_input_grad",
    "relu_input_grad",
    "softmax_cross_entropy",
    "softmax_cross_entropy_input_grad",
    "upsample_nearest2d",
    "upsample_nearest2d_input_grad",
]
