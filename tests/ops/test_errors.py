"""Bad input: each case is refused with a sentence that names the argument, its value and the rule."""

from __future__ import annotations

import re

import numpy as np
import pytest

import npconv
from npconv import OctaveMap, OctaveWeight
from npconv.geometry import fraction, ghost_channels, octave_channels, pair, positive


def f(*shape, dtype=np.float32):
    """A float array of this shape."""
    return np.ones(shape, dtype)


X, W, B = f(2, 4, 6, 8), f(6, 4, 3, 3), f(6)
DW = f(8, 1, 3, 3)  # depthwise, multiplier 2
PW = f(6, 4, 1, 1)  # pointwise
HIGH, LOW = f(2, 4, 6, 8), f(2, 4, 3, 4)
OCTAVE = OctaveWeight(f(2, 4, 3, 3), f(2, 4, 3, 3), f(2, 4, 3, 3), f(2, 4, 3, 3))
V = f(4)  # one number per channel of X
LOGITS, LABELS = f(3, 5), np.array([0, 4, 2])

# (operator, arguments, options, what is raised, what the message says)
CASES = {
    # arrays
    "x is a list": ("conv2d", ([[1.0]], W), {}, TypeError, "x must be a NumPy array, got list"),
    "x is None": ("conv2d", (None, W), {}, TypeError, "x must be a NumPy array, got NoneType"),
    "x is a number": ("relu", (3.0,), {}, TypeError, "x must be a NumPy array, got float"),
    "x is a NumPy number": ("relu", (np.float32(3),), {}, TypeError, "x must be a NumPy array, got float32"),
    "w is a list": ("conv2d", (X, [1.0]), {}, TypeError, "w must be a NumPy array, got list"),
    "b is a number": ("conv2d", (X, W, 1.0), {}, TypeError, "b must be a NumPy array, got float"),
    "x of integers": ("conv2d", (X.astype(np.int64), W), {}, TypeError, "x must be float16, float32 or float64, got dtype int64"),
    "x of bools": ("relu", (X > 0,), {}, TypeError, "x must be float16, float32 or float64, got dtype bool"),
    "x complex": ("relu", (X * 1j,), {}, TypeError, "got dtype complex64"),
    "x of objects": ("relu", (np.array([None]),), {}, TypeError, "got dtype object"),
    "x and w of two dtypes": ("conv2d", (X, W.astype(np.float64)), {}, TypeError, "w must have the dtype of x, got float64 with x float32"),
    "b of another dtype": ("conv2d", (X, W, B.astype(np.float16)), {}, TypeError, "b must have the dtype of x, got float16 with x float32"),
    "dy of another dtype": ("relu_backward", (X.astype(np.float64), X), {}, TypeError, "x must have the dtype of dy, got float32 with dy float64"),
    "x of 3 axes": ("conv2d", (X[0], W), {}, ValueError, "x must have 4 axes (N, C, H, W), got 3 in shape (4, 6, 8)"),
    "x of 5 axes": ("avg_pool2d", (X[None], 2), {}, ValueError, "x must have 4 axes (N, C, H, W), got 5"),
    "w of 2 axes": ("conv2d", (X, W[0, 0]), {}, ValueError, "w must have 4 axes (O, C, H, W), got 2 in shape (3, 3)"),
    "w empty": ("conv2d", (X, f(0, 4, 3, 3)), {}, ValueError, "w must have no empty axis but the batch, got shape (0, 4, 3, 3)"),
    "x without channels": ("conv2d", (f(2, 0, 6, 8), W), {}, ValueError, "x must have no empty axis but the batch, got shape (2, 0, 6, 8)"),
    "x without rows": ("global_avg_pool2d", (f(2, 4, 0, 8),), {}, ValueError, "x must have no empty axis but the batch"),
    "b too long": ("conv2d", (X, W, f(7)), {}, ValueError, "b must have the shape (6,) (one number per output channel), got (7,)"),
    "b of 2 axes": ("conv2d", (X, W, f(6, 1)), {}, ValueError, "b must have the shape (6,) (one number per output channel), got (6, 1)"),
    # channels and groups
    "w for other channels": ("conv2d", (X, f(6, 3, 3, 3)), {}, ValueError, "w must have in_channels / groups = 4 channels on axis 1, got 3"),
    "w not for the groups": ("conv2d", (X, W), {"groups": 2}, ValueError, "w must have in_channels / groups = 2 channels on axis 1, got 4"),
    "groups do not divide C": ("conv2d", (X, f(6, 1, 3, 3)), {"groups": 3}, ValueError, "groups must divide in_channels and out_channels, got groups=3, in_channels=4, out_channels=6"),
    "groups do not divide O": ("conv2d", (X, f(6, 1, 3, 3)), {"groups": 4}, ValueError, "groups must divide in_channels and out_channels, got groups=4, in_channels=4, out_channels=6"),
    "no groups": ("conv2d", (X, W), {"groups": 0}, ValueError, "groups must be at least 1, got groups=0"),
    "negative groups": ("pointwise_conv2d", (X, PW), {"groups": -1}, ValueError, "groups must be at least 1, got groups=-1"),
    "groups a float": ("conv2d", (X, W), {"groups": 2.0}, TypeError, "groups must be an integer, got 2.0"),
    "groups a bool": ("conv2d", (X, W), {"groups": True}, TypeError, "groups must be an integer, got True"),
    "groups a pair": ("conv2d", (X, W), {"groups": (1, 1)}, TypeError, "groups must be an integer, got (1, 1)"),
    "groups None": ("conv2d", (X, W), {"groups": None}, TypeError, "groups must be an integer, got None"),
    # strides and dilations
    "stride 0": ("conv2d", (X, W), {"stride": 0}, ValueError, "stride must be at least 1, got stride=0"),
    "stride negative": ("conv2d", (X, W), {"stride": -2}, ValueError, "stride must be at least 1, got stride=-2"),
    "stride 0 in a pair": ("conv2d", (X, W), {"stride": (1, 0)}, ValueError, "stride must be at least 1, got stride=0"),
    "stride a bool": ("conv2d", (X, W), {"stride": True}, TypeError, "stride must be an integer, got True"),
    "stride a float": ("conv2d", (X, W), {"stride": 2.0}, TypeError, "stride must be an integer, got 2.0"),
    "stride a string": ("conv2d", (X, W), {"stride": "2"}, TypeError, "stride must be an integer, got '2'"),
    "stride of three": ("conv2d", (X, W), {"stride": (1, 1, 1)}, ValueError, "stride must be an int or (rows, columns), got (1, 1, 1)"),
    "stride None": ("conv2d", (X, W), {"stride": None}, TypeError, "stride must be an integer, got None"),
    "stride huge": ("conv2d", (X, W), {"stride": 2**31}, ValueError, "stride must be at most 2147483647, got stride=2147483648"),
    "a float in a pair": ("conv2d", (X, W), {"stride": (1, 1.5)}, TypeError, "stride must be an integer, got 1.5"),
    "dilation 0": ("depthwise_conv2d", (X, DW), {"dilation": 0}, ValueError, "dilation must be at least 1, got dilation=0"),
    "dilation of one": ("conv2d", (X, W), {"dilation": [1]}, ValueError, "dilation must be an int or (rows, columns), got [1]"),
    # padding
    "padding negative": ("conv2d", (X, W), {"padding": -1}, ValueError, "padding must be at least 0, got padding=-1"),
    "padding negative on one side": ("conv2d", (X, W), {"padding": ((0, -1), (0, 0))}, ValueError, "padding must be at least 0, got padding=-1"),
    "padding a float": ("conv2d", (X, W), {"padding": 1.0}, TypeError, "padding must be an integer, got 1.0"),
    "padding a bool": ("conv2d", (X, W), {"padding": False}, TypeError, "padding must be an integer, got False"),
    "padding an unknown word": ("conv2d", (X, W), {"padding": "SAME"}, ValueError, "padding must be 'valid', 'same' or 'same_lower' where it is a string, got 'SAME'"),
    "padding of four": ("conv2d", (X, W), {"padding": (1, 1, 1, 1)}, ValueError, "padding must be an int, (rows, columns), ((top, bottom), (left, right)) or a string, got (1, 1, 1, 1)"),
    "padding half nested": ("conv2d", (X, W), {"padding": (1, (1, 1))}, ValueError, "padding must be an int, (rows, columns), ((top, bottom), (left, right)) or a string, got (1, (1, 1))"),
    "padding nested by threes": ("conv2d", (X, W), {"padding": ((1, 1, 1), (1, 1, 1))}, ValueError, "padding must be an int or (rows, columns), got (1, 1, 1)"),
    "padding None": ("conv2d", (X, W), {"padding": None}, TypeError, "padding must be an integer, got None"),
    "padding empty": ("conv2d", (X, W), {"padding": ()}, ValueError, "padding must be an int, (rows, columns)"),
    "kernel larger than the image": ("conv2d", (X, f(6, 4, 7, 3)), {}, ValueError, "the kernel must fit into the padded input, got an effective kernel height of 7"),
    "kernel larger than the padded image": ("conv2d", (X, f(6, 4, 3, 11)), {"padding": 1}, ValueError, "got an effective kernel width of 11 = 1 * (11 - 1) + 1 on a padded width of 10 = 8 + 1 + 1"),
    "dilated kernel larger than the image": ("conv2d", (X, W), {"dilation": 3}, ValueError, "got an effective kernel height of 7 = 3 * (3 - 1) + 1 on a padded height of 6"),
    # depthwise, pointwise, separable
    "depthwise w with input channels": ("depthwise_conv2d", (X, W), {}, ValueError, "w must have the shape (C * multiplier, 1, kh, kw) with C = 4 channels of x, got (6, 4, 3, 3)"),
    "depthwise w no multiple of C": ("depthwise_conv2d", (X, f(6, 1, 3, 3)), {}, ValueError, "with C = 4 channels of x, got (6, 1, 3, 3)"),
    "pointwise w of 3 x 3": ("pointwise_conv2d", (X, W), {}, ValueError, "w must have a kernel of 1 x 1, shape (O, C / groups, 1, 1), got (6, 4, 3, 3)"),
    "separable w that do not meet": ("separable_conv2d", (X, DW, PW), {}, ValueError, "w_pointwise must have the shape (O, C * multiplier, 1, 1) for w_depthwise (C * multiplier, 1, kh, kw), got (6, 4, 1, 1) with w_depthwise (8, 1, 3, 3)"),
    "separable b": ("separable_conv2d", (X, DW, f(6, 8, 1, 1), f(8)), {}, ValueError, "b must have the shape (6,) (one number per output channel), got (8,)"),
    "separable w_depthwise of 3 axes": ("separable_conv2d", (X, DW[0], f(6, 8, 1, 1)), {}, ValueError, "w_depthwise must have 4 axes (O, C, H, W), got 3 in shape (1, 3, 3)"),
    "separable w_pointwise of 3 x 3": ("separable_conv2d", (X, DW, f(6, 8, 3, 3)), {}, ValueError, "w_pointwise must have the shape (O, C * multiplier, 1, 1)"),
    # gradients
    "dy of another shape": ("conv2d_backward", (f(2, 6, 4, 5), X, W), {}, ValueError, "dy must have the shape (2, 6, 4, 6) (that of the output), got (2, 6, 4, 5)"),
    "dy that would broadcast": ("conv2d_backward", (f(1, 6, 4, 6), X, W), {}, ValueError, "dy must have the shape (2, 6, 4, 6) (that of the output), got (1, 6, 4, 6)"),
    "dy without axes": ("relu_backward", (f(), X), {}, ValueError, "dy must have the shape (2, 4, 6, 8) (that of x), got ()"),
    "dy a list": ("relu_backward", ([1.0], X), {}, TypeError, "dy must be a NumPy array, got list"),
    "dy None": ("conv2d_backward", (None, X, W), {}, TypeError, "dy must be a NumPy array, got NoneType"),
    "dy of a pool": ("avg_pool2d_backward", (X, X, 2), {}, ValueError, "dy must have the shape (2, 4, 3, 4) (that of the output), got (2, 4, 6, 8)"),
    "dy of a shuffle": ("channel_shuffle_backward", (X[:1], X, 2), {}, ValueError, "dy must have the shape (2, 4, 6, 8) (that of x), got (1, 4, 6, 8)"),
    "dy of a global pool": ("global_avg_pool2d_backward", (f(2, 4), X), {}, ValueError, "dy must have the shape (2, 4, 1, 1) (one number per plane of x), got (2, 4)"),
    "dy of an up-sampling": ("upsample_nearest2d_backward", (X, X), {}, ValueError, "dy must have the shape (2, 4, 12, 16) (that of the output), got (2, 4, 6, 8)"),
    "dy of a ghost convolution": ("ghost_conv2d_backward", (f(2, 4, 4, 6), X, f(4, 4, 3, 3), f(4, 1, 3, 3)), {}, ValueError, "dy must have the shape (2, 8, 4, 6) (that of the output), got (2, 4, 4, 6)"),
    "dy of a separable convolution": ("separable_conv2d_backward", (f(2, 6, 6, 8), X, DW, f(6, 8, 1, 1)), {}, ValueError, "dy must have the shape (2, 6, 4, 6) (that of the output), got (2, 6, 6, 8)"),
    "x_shape too short": ("conv2d_input_grad", (f(2, 6, 4, 6), W, (2, 4, 6)), {}, ValueError, "x must have 4 sizes (N, C, H, W), got (2, 4, 6)"),
    "x_shape a number": ("conv2d_input_grad", (f(2, 6, 4, 6), W, 4), {}, TypeError, "x must be a tuple of 4 ints, got 4"),
    "x_shape of floats": ("conv2d_input_grad", (f(2, 6, 4, 6), W, (2, 4, 6.0, 8)), {}, TypeError, "x[2] must be an integer, got 6.0"),
    "x_shape that gives another dy": ("conv2d_input_grad", (f(2, 6, 4, 6), W, (2, 4, 9, 8)), {}, ValueError, "dy must have the shape (2, 6, 7, 6) (that of the output), got (2, 6, 4, 6)"),
    "w_shape for other channels": ("conv2d_weight_grad", (f(2, 6, 4, 6), X, (6, 5, 3, 3)), {}, ValueError, "w must have in_channels / groups = 4 channels on axis 1, got 5"),
    # shuffle, pools, up-sampling
    "shuffle groups": ("channel_shuffle", (X, 3), {}, ValueError, "groups must divide the channels, got groups=3, channels=4"),
    "shuffle no groups": ("channel_shuffle", (X, 0), {}, ValueError, "groups must be at least 1, got groups=0"),
    "unshuffle groups a float": ("channel_unshuffle", (X, 2.0), {}, TypeError, "groups must be an integer, got 2.0"),
    "pool kernel 0": ("avg_pool2d", (X, 0), {}, ValueError, "kernel must be at least 1, got kernel=0"),
    "pool kernel a float": ("max_pool2d", (X, 2.5), {}, TypeError, "kernel must be an integer, got 2.5"),
    "pool kernel too large": ("max_pool2d", (X, 9), {}, ValueError, "the kernel must fit into the padded input, got an effective kernel height of 9"),
    "pool padding as large as the kernel": ("max_pool2d", (X, 2), {"padding": 2}, ValueError, "padding must be smaller than the kernel so that every window holds a pixel, got padding (2, 2) with a kernel height of 2"),
    "pool stride 0": ("avg_pool2d", (X, 2), {"stride": 0}, ValueError, "stride must be at least 1, got stride=0"),
    "scale 0": ("upsample_nearest2d", (X, 0), {}, ValueError, "scale must be at least 1, got scale=0"),
    "size crops a whole pixel": ("upsample_nearest2d", (X, 2), {"size": (10, 16)}, ValueError, "size must crop less than one input pixel, so height must be in [11, 12], got size=(10, 16)"),
    "size larger than the blocks": ("upsample_nearest2d", (X, 2), {"size": (12, 17)}, ValueError, "size must crop less than one input pixel, so width must be in [15, 16], got size=(12, 17)"),
    # octave
    "octave x an array": ("octave_conv2d", (HIGH, OCTAVE), {}, TypeError, "x must be a pair (high, low), got ndarray"),
    "octave x without maps": ("octave_conv2d", ((None, None), OCTAVE), {}, ValueError, "x must have at least one map, got (None, None)"),
    "octave x of three": ("octave_conv2d", ((HIGH, LOW, LOW), OCTAVE), {}, TypeError, "x must be a pair (high, low), got tuple"),
    "octave w a tuple": ("octave_conv2d", ((HIGH, LOW), tuple(OCTAVE)), {}, TypeError, "w must be an OctaveWeight, got tuple"),
    "octave maps not an octave apart": ("octave_conv2d", ((HIGH, f(2, 4, 4, 4)), OCTAVE), {}, ValueError, "x.low must be an octave below x.high (2, 4, 6, 8), (2, 4, 3, 4), got (2, 4, 4, 4)"),
    "octave maps of two batches": ("octave_conv2d", ((HIGH, f(1, 4, 3, 4)), OCTAVE), {}, ValueError, "x.low must be an octave below x.high (2, 4, 6, 8), (2, 4, 3, 4), got (1, 4, 3, 4)"),
    "octave map of 3 axes": ("octave_conv2d", ((HIGH[0], None), OctaveWeight(hh=OCTAVE.hh)), {}, ValueError, "x.high must have 4 axes (N, C, H, W), got 3"),
    "octave path from an absent map": ("octave_conv2d", ((HIGH, None), OCTAVE), {"padding": 1}, ValueError, "w.lh must be None where x.low is None, got an array"),
    "octave map that no path reads": ("octave_conv2d", ((HIGH, LOW), OctaveWeight(hh=OCTAVE.hh)), {"padding": 1}, ValueError, "x.low must be None where no path of w reads it, got an array"),
    "octave without paths": ("octave_conv2d", ((HIGH, None), OctaveWeight()), {}, ValueError, "x.high must be None where no path of w reads it, got an array"),
    "octave padding that parts the maps": ("octave_conv2d", ((HIGH, LOW), OCTAVE), {"padding": 0}, ValueError, "the paths to the high output must fit together: lh gives (2, 2, 1, 2), got a high output of (2, 2, 4, 6), for which it must give (2, 2, 2, 3)"),
    "octave kernel that does not fit": ("octave_conv2d", ((None, LOW), OctaveWeight(ll=f(2, 4, 5, 5))), {}, ValueError, "path ll (low to low): the kernel must fit into the padded input"),
    "octave paths of different channels": ("octave_conv2d", ((HIGH, LOW), OCTAVE._replace(lh=f(3, 4, 3, 3))), {"padding": 1}, ValueError, "the paths to the high output must fit together"),
    "octave outputs not an octave apart": ("octave_conv2d", ((HIGH, None), OctaveWeight(hh=OCTAVE.hh, hl=OCTAVE.hl)), {"padding": 0}, ValueError, "padding must keep the outputs an octave apart: low must be (2, 3) for a high output of (4, 6), got (1, 2) with padding=0"),
    "octave dtype of one path": ("octave_conv2d", ((HIGH, LOW), OCTAVE._replace(hl=OCTAVE.hl.astype(np.float64))), {}, TypeError, "w.hl must have the dtype of x[0], got float64 with x[0] float32"),
    "octave path a list": ("octave_conv2d", (OctaveMap(HIGH, LOW), OCTAVE._replace(hh=[1.0])), {}, TypeError, "w.hh must be a NumPy array, got list"),
    "octave stride 3 by pooling": ("octave_conv2d", ((HIGH, LOW), OCTAVE), {"stride": 3, "padding": 1}, ValueError, "stride must be 1 or 2 in stride_mode 'pool', got stride=3"),
    "octave stride mode": ("octave_conv2d", ((HIGH, LOW), OCTAVE), {"stride_mode": "max"}, ValueError, "stride_mode must be 'pool' or 'conv', got 'max'"),
    "octave b an array": ("octave_conv2d", ((HIGH, LOW), OCTAVE, f(2)), {"padding": 1}, TypeError, "b must be a pair (high, low), got ndarray"),
    "octave b too long": ("octave_conv2d", ((HIGH, LOW), OCTAVE, (f(2), f(3))), {"padding": 1}, ValueError, "b.low must have the shape (2,) (one number per output channel), got (3,)"),
    "octave b of no output": ("octave_conv2d", ((HIGH, None), OctaveWeight(hh=OCTAVE.hh), (None, f(2))), {}, ValueError, "b.low must be None where w has no path to that output, got an array"),
    "octave dy without low": ("octave_conv2d_backward", ((f(2, 2, 6, 8), None), (HIGH, LOW), OCTAVE), {"padding": 1}, ValueError, "dy.low must be an array of the shape (2, 2, 3, 4) (that of the output), got None"),
    "octave dy of no output": ("octave_conv2d_backward", ((f(2, 2, 4, 6), LOW), (HIGH, None), OctaveWeight(hh=OCTAVE.hh)), {}, ValueError, "dy.low must be None where w has no path to that output, got an array"),
    "octave depthwise path hl": ("octave_depthwise_conv2d", ((HIGH, LOW), OctaveWeight(f(4, 1, 3, 3), f(4, 1, 3, 3), None, f(4, 1, 3, 3))), {"padding": 1}, ValueError, "w.hl must be None: a depthwise octave convolution has no path high to low"),
    # ghost
    "ghost w_cheap no multiple": ("ghost_conv2d", (X, f(4, 4, 3, 3), f(6, 1, 3, 3)), {}, ValueError, "w_cheap must have the shape (m * (ratio - 1), 1, dh, dw) with m = 4 primary maps, got (6, 1, 3, 3)"),
    "ghost w_cheap with input channels": ("ghost_conv2d", (X, f(4, 4, 3, 3), f(4, 4, 3, 3)), {}, ValueError, "with m = 4 primary maps, got (4, 4, 3, 3)"),
    "ghost cut too deep": ("ghost_conv2d", (X, f(4, 4, 3, 3), f(4, 1, 3, 3)), {"out_channels": 6}, ValueError, "out_channels must be in [7, 8] for 4 primary maps at ratio 2, got out_channels=6"),
    "ghost cut of nothing": ("ghost_conv2d", (X, f(4, 4, 3, 3), f(4, 1, 3, 3)), {"out_channels": 9}, ValueError, "out_channels must be in [7, 8] for 4 primary maps at ratio 2, got out_channels=9"),
    "ghost cut a float": ("ghost_conv2d", (X, f(4, 4, 3, 3), f(4, 1, 3, 3)), {"out_channels": 8.0}, TypeError, "out_channels must be an integer, got 8.0"),
    # batch norm
    "gamma too short": ("batch_norm2d", (X, f(3), V), {}, ValueError, "gamma must have the shape (4,) (one number per channel), got (3,)"),
    "beta missing": ("batch_norm2d", (X, V, None), {}, TypeError, "beta must be a NumPy array, got NoneType"),
    "mean without var": ("batch_norm2d", (X, V, V, V), {}, ValueError, "mean and var must be given together or not at all, got mean=an array, var=None"),
    "var without mean": ("batch_norm2d", (X, V, V, None, V), {}, ValueError, "got mean=None, var=an array"),
    "eps 0": ("batch_norm2d", (X, V, V), {"eps": 0}, ValueError, "eps must be finite and above 0, got eps=0.0"),
    "eps NaN": ("batch_norm2d", (X, V, V), {"eps": float("nan")}, ValueError, "eps must be finite and above 0, got eps=nan"),
    "eps a string": ("batch_norm2d", (X, V, V), {"eps": "small"}, TypeError, "eps must be a number, got 'small'"),
    "an empty batch's statistics": ("batch_norm2d", (X[:0], V, V), {}, ValueError, "x must have at least one image to have a mean and a variance, got shape (0, 4, 6, 8)"),
    "statistics of nothing": ("batch_statistics2d", (X[:0],), {}, ValueError, "x must have at least one image"),
    "statistics given twice": ("batch_norm2d_backward", (X, X, V, V, V, V), {"batch_statistics": (V, V)}, ValueError, "batch_statistics must be None where mean and var are given, got both"),
    "statistics too short": ("batch_norm2d_backward", (X, X, V, V), {"batch_statistics": (V, f(3))}, ValueError, "batch_statistics[1] must have the shape (4,) (one number per channel), got (3,)"),
    # linear and loss
    "linear x of 4 axes": ("linear", (X, f(5, 4)), {}, ValueError, "x must have 2 axes (N, C), got 4"),
    "linear w transposed": ("linear", (f(2, 4), f(4, 5)), {}, ValueError, "w must have the 4 features of x on axis 1, got 5 in shape (4, 5)"),
    "linear b": ("linear", (f(2, 4), f(5, 4), f(4)), {}, ValueError, "b must have the shape (5,) (one number per output feature), got (4,)"),
    "linear dy": ("linear_backward", (f(2, 4), f(2, 4), f(5, 4)), {}, ValueError, "dy must have the shape (2, 5) (that of the output), got (2, 4)"),
    "label too large": ("softmax_cross_entropy", (LOGITS, np.array([0, 5, 2])), {}, ValueError, "labels must be in [0, 4] for 5 classes, got 5"),
    "label negative": ("softmax_cross_entropy", (LOGITS, np.array([0, -1, 2])), {}, ValueError, "labels must be in [0, 4] for 5 classes, got -1"),
    "labels of floats": ("softmax_cross_entropy", (LOGITS, LABELS.astype(float)), {}, TypeError, "labels must be integers, got dtype float64"),
    "labels a list": ("softmax_cross_entropy", (LOGITS, [0, 4, 2]), {}, TypeError, "labels must be a NumPy array, got list"),
    "labels too few": ("softmax_cross_entropy", (LOGITS, LABELS[:2]), {}, ValueError, "labels must have the shape (3,) (one class number per row of logits), got (2,)"),
    "labels one-hot": ("softmax_cross_entropy", (LOGITS, np.ones((3, 5), int)), {}, ValueError, "labels must have the shape (3,) (one class number per row of logits), got (3, 5)"),
    "no logits": ("softmax_cross_entropy", (LOGITS[:0], LABELS[:0]), {}, ValueError, "logits must have at least one row: the mean loss of an empty batch is undefined, got N=0"),
    "logits of 4 axes": ("softmax_cross_entropy", (X, LABELS), {}, ValueError, "logits must have 2 axes (N, K), got 4"),
    "smoothing above 1": ("softmax_cross_entropy", (LOGITS, LABELS), {"label_smoothing": 1.5}, ValueError, "label_smoothing must be in [0, 1], got label_smoothing=1.5"),
    "smoothing a bool": ("softmax_cross_entropy", (LOGITS, LABELS), {"label_smoothing": True}, TypeError, "label_smoothing must be a number, got True"),
    "loss dy of a vector": ("softmax_cross_entropy_backward", (f(3), LOGITS, LABELS), {}, ValueError, "dy must have the shape () (that of the loss), got (3,)"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named(case):
    op, args, options, error, message = CASES[case]
    with pytest.raises(error, match=re.escape(message)) as raised:
        getattr(npconv, op)(*args, **options)
    assert raised.type is error
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "case",
    [
        case
        for case, (op, _, _, error, _) in CASES.items()
        if hasattr(npconv, f"{op}_backward") and error is ValueError and "shuffle" not in op  # which look at dy first
    ],
)
def test_the_backward_refuses_what_the_forward_refuses(case):
    """In the same words, although the shape of dy is wrong as well: that follows from the rest."""
    op, args, options, error, message = CASES[case]
    dy = (f(1), None) if op.startswith("octave") else f(1)
    with pytest.raises(error, match=re.escape(message)):
        getattr(npconv, f"{op}_backward")(dy, *args, **options)


@pytest.mark.parametrize("case", CASES)
def test_nothing_runs_before_the_checks_are_done(case):
    """No primitive is called, so there is no half of a result."""
    op, args, options, error, _ = CASES[case]
    with npconv.backends.record() as calls, pytest.raises(error):
        getattr(npconv, op)(*args, **options)
    assert calls == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: octave_channels(8, 1.5), ValueError, "alpha must be in [0, 1], got alpha=1.5"),
        (lambda: octave_channels(8, "half"), TypeError, "alpha must be a number, got 'half'"),
        (lambda: octave_channels(0, 0.5), ValueError, "channels must be at least 1, got channels=0"),
        (lambda: ghost_channels(8, 0), ValueError, "ratio must be at least 1, got ratio=0"),
        (lambda: ghost_channels(8.0, 2), TypeError, "out_channels must be an integer, got 8.0"),
        (lambda: fraction("p", 1.0, below_one=True), ValueError, "p must be in [0, 1), got p=1.0"),
        (lambda: fraction("p", np.nan), ValueError, "p must be in [0, 1], got p=nan"),
        (lambda: positive("lr", -1), ValueError, "lr must be finite and above 0, got lr=-1.0"),
        (lambda: positive("lr", np.inf, zero=True), ValueError, "lr must be finite and at least 0, got lr=inf"),
        (lambda: positive("lr", True), TypeError, "lr must be a number, got True"),
        (lambda: pair("stride", {1: 1}, minimum=1), TypeError, "stride must be an integer, got {1: 1}"),
    ],
)
def test_bad_numbers_are_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("op", "args", "right", "wrong", "message"),
    [
        ("conv2d", (X, W), {"groups": 1}, {"groups": True}, "groups must be an integer, got True"),
        ("conv2d", (X, W), {"stride": 1}, {"stride": 1.0}, "stride must be an integer, got 1.0"),
        ("conv2d", (X, W), {"stride": (1, 1)}, {"stride": (1, True)}, "stride must be an integer, got True"),
        ("conv2d", (X, W), {"dilation": (1, 1)}, {"dilation": (1.0, 1)}, "dilation must be an integer, got 1.0"),
        ("conv2d", (X, W), {"padding": ((1, 1), (0, 0))}, {"padding": ((1, 1), (0, False))}, "padding must be an integer, got False"),
        ("depthwise_conv2d", (X, DW), {"padding": (1, 0)}, {"padding": (1, 0.0)}, "padding must be an integer, got 0.0"),
        ("max_pool2d", (X,), {"kernel": (2, 2)}, {"kernel": (2, 2.0)}, "kernel must be an integer, got 2.0"),
        ("upsample_nearest2d", (X,), {"scale": 1}, {"scale": True}, "scale must be an integer, got True"),
        ("conv2d_input_grad", (f(2, 6, 4, 6), W), {"x_shape": (2, 4, 6, 8)}, {"x_shape": (2, 4, 6.0, 8)}, "x[2] must be an integer, got 6.0"),
    ],
)  # fmt: skip
def test_what_equals_a_right_argument_is_refused_too(op, args, right, wrong, message):
    """The geometries of right ones are kept."""
    assert right == wrong
    getattr(npconv, op)(*args, **right)
    with pytest.raises(TypeError, match=re.escape(message)):
        getattr(npconv, op)(*args, **wrong)


def test_missing_and_unknown_arguments_are_pythons_to_name():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'w'"):
        npconv.conv2d(X)
    with pytest.raises(TypeError, match="unexpected keyword argument 'strides'"):
        npconv.conv2d(X, W, strides=1)
