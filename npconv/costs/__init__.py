"""Costs in closed form: multiply-accumulates, parameters and memory traffic of every operator, and the papers' ratios.

The cost of an operator is asked for as the operator is called, with shapes in the place of arrays:

    y    = npconv.conv2d(x, w, stride=2, padding=1)
    cost = costs.conv2d(x.shape, w.shape, stride=2, padding=1)  # from npconv import costs

`separable_conv2d`, `octave_conv2d` and `ghost_conv2d` take the shapes of the standard convolution that they replace and
the paper's own numbers (multiplier, alpha, ratio); they cost the sum of their parts. What all functions share:

direction : "forward", "input_grad" or "weight_grad"
    A convolution's three directions do the same products, each summed over other indices. Where an operator has no
    weights, its weight gradient costs nothing. Gradients of composites use the forward's intermediate maps, kept.
count_padding : bool
    The papers, and PyTorch, count every tap of every window (True). XLA leaves out the taps that fall on padding (False).
bias : bool
    One more parameter per output channel. Its additions are no multiply-accumulates.
itemsize : int
    Bytes per number: 4 for float32.

Pooling, batch norm, activations, shuffles, up-sampling and additions cost no multiply-accumulates, as in all four
papers, but they do move memory. `count` walks a whole model, layer by layer, without computing it.
"""

from npconv.costs.calls import call_cost, calls_of, zeros_of
from npconv.costs.convolutions import (
    conv2d,
    depthwise_conv2d,
    ghost_conv2d,
    linear,
    pointwise_conv2d,
    separable_conv2d,
)
from npconv.costs.cost import CallCost, Cost, Direction, Shape
from npconv.costs.maps import (
    activation,
    add,
    avg_pool2d,
    batch_norm2d,
    channel_shuffle,
    global_avg_pool2d,
    max_pool2d,
    upsample_nearest2d,
)
from npconv.costs.octave import octave_conv2d, octave_depthwise_conv2d
from npconv.costs.papers import (
    ghost_compression,
    ghost_speedup,
    ghost_speedup_approximation,
    octave_cost_ratio,
    octave_memory_ratio,
    resnet_unit_macs,
    resnext_unit_macs,
    separable_macs,
    separable_ratio,
    shufflenet_unit_macs,
)
from npconv.costs.walk import LayerCost, Model, ModelCost, count

__all__ = [
    "CallCost",
    "Cost",
    "Direction",
    "LayerCost",
    "Model",
    "ModelCost",
    "Shape",
    "activation",
    "add",
    "avg_pool2d",
    "batch_norm2d",
    "call_cost",
    "calls_of",
    "channel_shuffle",
    "conv2d",
    "count",
    "depthwise_conv2d",
    "ghost_compression",
    "ghost_conv2d",
    "ghost_speedup",
    "ghost_speedup_approximation",
    "global_avg_pool2d",
    "linear",
    "max_pool2d",
    "octave_conv2d",
    "octave_cost_ratio",
    "octave_depthwise_conv2d",
    "octave_memory_ratio",
    "pointwise_conv2d",
    "resnet_unit_macs",
    "resnext_unit_macs",
    "separable_conv2d",
    "separable_macs",
    "separable_ratio",
    "shufflenet_unit_macs",
    "upsample_nearest2d",
    "zeros_of",
]
