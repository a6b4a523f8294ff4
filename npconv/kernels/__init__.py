"""The fast twins: every primitive of `npconv.reference`, with the same files, names and arguments, in Numba on all cores.

Every map is channels-last: whoever calls has seen to it (`npconv.ops.operator`), and gets channels-last maps back.

| what | how | where |
|--|--|--|
| forward, input gradient | sums of pixels: lanes are output channels, pixels are found by a table | `sums`, `indirection`, `tiles` |
| weight gradient | outer products of pixels, by the same table | `outer_products` |
| the three of a 3x3 kernel at stride 1, 32 channels or more on both sides, 25 tiles or more | Winograd's transforms around the two above | `winograd`, `transforms` |
| forward and weight gradient of up to 4 channels, images | a kernel row is one run of numbers of a padded copy, then the two above | `kernel_rows` |
| depthwise 3x3 or 5x5 at stride 1 or 2: forward, and input gradient at stride 1 | rows read where they stand, borders by a table | `depthwise_rows` |
| the rest of depthwise, and groups with few channels | several groups in the lanes of a vector | `lane_sums`, `lane_tiles` |
| octave convolution | paths that meet are one convolution, of maps side by side | `octave` |
| ghost convolution | both halves are written and read where they stand in the output | `ghost` |
| linear | dot products of rows, sums of rows | `linear` |
| everything else | bare loops over pixels, whose innermost runs over channels | a file each |

A *tile* is what stays in registers, a *chunk* the pixels that stay in a cache, a *block* the output channels that go together;
*packed* numbers were copied to the order in which a tile reads them, weights by the thread that needs them where they are few or
needed once, else by a loop before; *partial sums* are cut where sizes alone decide.
`vectors` is how tiles are written, `jit` how all is compiled, optimised, kept on disk and launched.
Each thread writes to what it alone owns, so results are the same for any number of threads.
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
from npconv.kernels.branches import add, concatenate, concatenate_input_grad, scale, scale_gate_grad
from npconv.kernels.depthwise import depthwise_conv2d, depthwise_conv2d_input_grad, depthwise_conv2d_weight_grad
from npconv.kernels.ghost import ghost_conv2d, ghost_conv2d_grad
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
from npconv.kernels.octave import octave_conv2d, octave_conv2d_grad
from npconv.kernels.optimization import adam_update, sgd_update
from npconv.kernels.orders import c_order as c_order  # for npconv.backends, not primitives
from npconv.kernels.orders import channels_last as channels_last
from npconv.kernels.pointwise import pointwise_conv2d, pointwise_conv2d_input_grad, pointwise_conv2d_weight_grad
from npconv.kernels.pooling import (
    avg_pool2d,
    avg_pool2d_input_grad,
    global_avg_pool2d,
    global_avg_pool2d_input_grad,
    max_pool2d,
    max_pool2d_input_grad,
)
from npconv.kernels.separable import separable_conv2d, separable_conv2d_grad
from npconv.kernels.shuffle import channel_shuffle, channel_unshuffle
from npconv.kernels.standard import conv2d, conv2d_bias_grad, conv2d_input_grad, conv2d_weight_grad
from npconv.kernels.upsampling import upsample_nearest2d, upsample_nearest2d_input_grad

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
