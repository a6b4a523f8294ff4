"""
What other implementations get wrong
====================================

Five mistakes that are made again and again, each with the smallest case that shows it. None of them
makes a program fail: shapes are right, training runs, and results are a little worse. Three of them
are planted here and found by ``npconv.check``.
"""

import matplotlib.pyplot as plt
import numpy as np

import npconv
from npconv import OctaveMap, OctaveWeight, check, costs
from npconv.explain import draw_numbers

BLUE, RED, GREEN = "#4477aa", "#ee6677", "#228833"

# %%
# Octave convolution on odd sizes
# -------------------------------
# The usual code pools with ``AvgPool2d(2)`` and up-samples by 2. Seven rows are pooled to three and
# come back as six: adding the two paths fails, or somebody cut a row off somewhere, and the image
# moves. With pooling in ceil mode, without counting padding, and up-sampling cropped to the high
# map, every size works.

rows = 7
usual, back = rows // 2, 2 * (rows // 2)
print(
    f"{rows} rows, pooled {usual}, back {back}; in ceil mode {-(-rows // 2)}, back {2 * -(-rows // 2)}, cropped to {rows}"
)
odd = OctaveMap(high=np.ones((1, 1, 7, 7)), low=np.ones((1, 1, 4, 4)))
kernels = OctaveWeight(*np.ones((4, 1, 1, 3, 3)))
y = npconv.octave_conv2d(odd, kernels, padding=1)
assert y.high.shape == odd.high.shape
assert y.low.shape == odd.low.shape

# %%
# A block at the edge has fewer pixels, and its mean is over these alone. If padding were counted,
# the edge would be darker:

edge = npconv.avg_pool2d(np.ones((1, 1, 3, 3)), 2, ceil_mode=True)
darker = npconv.avg_pool2d(np.pad(np.ones((1, 1, 3, 3)), ((0, 0), (0, 0), (0, 1), (0, 1))), 2)
figure, panels = plt.subplots(1, 3, figsize=(7, 2.7), width_ratios=[3, 2, 2], layout="constrained")
draw_numbers(panels[0], np.ones((3, 3)), "an even grey")
draw_numbers(panels[1], edge[0, 0], "true pixels alone", colours={(1, 1): GREEN})
draw_numbers(panels[2], darker[0, 0], "padding counted", colours={(0, 1): RED, (1, 0): RED, (1, 1): RED})
assert (edge == 1).all()

# %%
# The gradient of a shuffle
# -------------------------
# It is the inverse permutation; shuffling ``dy`` once more is right only by chance. Plant it, and
# let npconv find it:


def shuffle_again(dy, x, groups):
    return npconv.channel_shuffle(dy, groups)


report = check.run("channel_shuffle", forward=npconv.channel_shuffle, backward=shuffle_again, cases=30)
assert not report.ok
failure = report.failures[0]
print(failure.direction, failure.mode, failure.message)
print("smallest case:", failure.case)

# %%
# "SAME" at stride 2
# ------------------
# ``padding=1`` and ``"same"`` give the same size, and not the same numbers: on an even size at
# stride 2 one pixel of padding is needed and not two, and it goes to the end. All windows lie one
# pixel apart. Weights that TensorFlow trained lose accuracy in PyTorch code that overlooks it.

row = np.arange(1.0, 7).reshape(1, 1, 1, 6)
ones = np.ones((1, 1, 1, 3))
same = npconv.conv2d(row, ones, stride=(1, 2), padding="same")
both_sides = npconv.conv2d(row, ones, stride=(1, 2), padding=(0, 1))
print("same:", same.ravel(), " padding=1:", both_sides.ravel())
assert same.ravel().tolist() == [6, 12, 11]
assert both_sides.ravel().tolist() == [3, 9, 15]


def padded_on_both_sides(x, w, b=None, *, padding=0, **options):
    kernel = w.shape[2:]
    sides = tuple(k // 2 for k in kernel) if padding == "same" and all(k % 2 for k in kernel) else padding
    return npconv.conv2d(x, w, b, padding=sides, **options)


padded_on_both_sides.takes_padding_words = True  # else it would be given four numbers
report = check.run("conv2d", forward=padded_on_both_sides, cases=100)
assert not report.ok
print("smallest case:", report.failures[0].case)

# %%
# The floor case
# --------------
# Where the kernel does not fit evenly, the last pixels are read by no output, and their gradient is
# 0. A backward that computes the size of ``dx`` from that of ``dy`` is one row short. It has
# :doc:`a page of its own </explained/floor_case>`. Here it is planted in the way that is hardest to
# see, ``dx`` being stretched to the right size:


def stretched(dy, x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    dx, dw, db = npconv.conv2d_backward(dy, x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    unread = np.flatnonzero(np.abs(dx).sum(axis=(0, 1, 3)) == 0)
    if unread.size and dx.shape[2] > 1:
        dx[:, :, -1] = dx[:, :, -2]
    return dx, dw, db


report = check.run("conv2d", forward=npconv.conv2d, backward=stretched, cases=100)
assert not report.ok
print("smallest case:", report.failures[0].case)

# %%
# FLOP counters and groups
# ------------------------
# A counter that multiplies all input by all output channels is right for standard convolutions and
# wrong for all others: it counts a depthwise layer of 512 channels 512 times. And some print
# multiply-accumulates under the name of FLOPs, which is a factor of 2. So compare counters on a
# layer whose cost you know by hand: 512 channels, 14 x 14 pixels, 3 x 3, depthwise are ``512 * 14 *
# 14 * 9 = 903168`` multiply-accumulates.

layer = costs.depthwise_conv2d((1, 512, 14, 14), (512, 1, 3, 3), padding=1)
assert layer.macs == 512 * 14 * 14 * 9 == 903168
assert layer.flops == 2 * layer.macs
naive = 14 * 14 * 512 * 512 * 9
print(
    f"right: {layer.macs:,} MACs, {layer.flops:,} FLOPs; without looking at groups: {naive:,}, {naive // layer.macs} times too many"
)

# %%
# More, found in released software, each with a program of a few lines: :doc:`/deviations`.
