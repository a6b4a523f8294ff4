"""
Convolution and its two gradients
=================================

A convolution slides a kernel over an image and adds up products. That is all of its forward pass,
and its backward pass is no more than careful bookkeeping of the same products: **every product**
``x * w`` **of the forward hands** ``dy * w`` **back to its** ``x`` **and** ``dy * x`` **back to
its** ``w``. This page derives both gradients from that sentence, in small whole numbers.

The letters are the same everywhere in npconv: n image, c input channel, o output channel, h v input
row and column, p q output row and column, r s kernel row and column.
"""

import matplotlib.pyplot as plt
import numpy as np

import npconv
from npconv.explain import Formula, draw_numbers, window

BLUE, RED, GREEN = "#4477aa", "#ee6677", "#228833"

# %%
# Forward: a sum of products
# --------------------------
# An image of 3 x 3 pixels, a kernel of 2 x 2 weights, one channel each. The kernel fits in 2 x 2
# places, and each gives an output: the pixels under the kernel, times its weights, added up.
# (Frameworks call this a convolution. Mathematics calls it a cross-correlation, as the kernel is
# not rotated.)

x = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])[None, None]  # (n, c, h, v)
w = np.array([[1.0, 2], [3, 4]])[None, None]  # (o, c, r, s)
y = npconv.conv2d(x, w)
print(y[0, 0])

# %%
# By hand, the first output is ``1*1 + 2*2 + 4*3 + 5*4 = 37``. As a formula, for any number of
# images and channels, stride, dilation and padding (reading outside of the image gives 0, which is
# what padding with zeros means):

forward = Formula(
    "y[n,o,p,q] = sum over c, r, s of x[n, c, p*stride + r*dilation - pad, q*stride + s*dilation - pad] * w[o,c,r,s]"
)
forward

# %%
# The formula above is not a picture: it is text that Python can evaluate, term by term, and here
# are its numbers.

one = {"stride": 1, "dilation": 1, "pad": 0}
assert (forward.evaluate(y.shape, x=x, w=w, **one) == y).all()

# %%
# NumPy says it in two steps. *Windows* are the pixels under the kernel in each place, a view with
# two more axes that copies nothing; then one contraction multiplies and adds.
# :mod:`npconv.reference` has no other convolution than this.

windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(2, 3))  # (n, c, p, q, r, s)
print(windows.shape, windows[0, 0, 0, 0].tolist())
assert (np.einsum("ncpqrs,ocrs->nopq", windows, w) == y).all()

# %%
figure, panels = plt.subplots(1, 3, figsize=(8, 3), width_ratios=[3, 2, 2], layout="constrained")
draw_numbers(panels[0], x[0, 0], "x: two windows", colours=window(0, 0, w, BLUE), frames=window(1, 1, w, RED))
draw_numbers(panels[1], w[0, 0], "w")
draw_numbers(panels[2], y[0, 0], "y: their two sums", colours={(0, 0): BLUE}, frames={(1, 1): RED})

# %%
# The gradient for the weights
# ----------------------------
# Training needs to know how the loss L changes with every weight. It depends on the weights through
# the outputs alone, so by the chain rule it is a sum over all outputs: how L changes with the
# output, called ``dy``, times how that output changes with the weight. An output is a sum of
# products ``x * w``, so it changes with a weight by the ``x`` that this weight was multiplied by.

weight_gradient = Formula(
    "dw[o,c,r,s] = sum over n, p, q of dy[n,o,p,q] * x[n, c, p*stride + r*dilation - pad, q*stride + s*dilation - pad]"
)
weight_gradient

# %%
# Let the loss care about two outputs only: ``dy`` is 1 at the first and 2 at the last. By hand,
# ``dw[0,0] = 1*1 + 2*5 = 11``: weight (0, 0) met pixel 1 in the first output and pixel 5 in the
# last.

dy = np.array([[1.0, 0], [0, 2]])[None, None]
dx, dw, db = npconv.conv2d_backward(dy, x, w)
print(dw[0, 0])
assert (weight_gradient.evaluate(w.shape, x=x, dy=dy, **one) == dw).all()

# %%
# It is the forward formula with ``dy`` in the kernel's place: the gradient for the weights is
# itself a correlation, of the image with the output's gradient.

assert (npconv.conv2d(x, dy) == dw).all()

# %%
# The gradient for the input
# --------------------------
# By the same rule ``dx`` at a pixel is the sum, over all outputs that read it, of ``dy`` times the
# weight that the pixel was multiplied by. Pixel (h, v) is read by output (p, q) at tap (r, s)
# exactly where the two positions meet:

input_gradient = Formula(
    "dx[n,c,h,v] = sum over o, p, q, r, s"
    " with p*stride + r*dilation - pad = h and q*stride + s*dilation - pad = v of dy[n,o,p,q] * w[o,c,r,s]"
)
input_gradient

# %%
print(dx[0, 0])
assert (input_gradient.evaluate(x.shape, dy=dy, w=w, **one) == dx).all()

# %%
# By hand, the middle pixel is read by all four outputs. The first has ``dy = 1`` and read it with
# weight 4, the last has ``dy = 2`` and read it with weight 1: ``1*4 + 2*1 = 6``. So each output
# lays its ``dy`` times the whole kernel over the pixels that it read:

figure, panels = plt.subplots(1, 3, figsize=(8, 3.5), layout="constrained")
first, last = np.zeros((3, 3)), np.zeros((3, 3))
first[:2, :2], last[1:, 1:] = 1 * w[0, 0], 2 * w[0, 0]
draw_numbers(panels[0], first, "1 · w, where the\nfirst output read", colours=window(0, 0, w, BLUE))
draw_numbers(panels[1], last, "+ 2 · w, where the\nlast output read", frames=window(1, 1, w, RED))
draw_numbers(panels[2], first + last, "= dx", colours=window(0, 0, w, BLUE), frames=window(1, 1, w, RED))
assert (first + last == dx[0, 0]).all()

# %%
# ... which is a full correlation with rotated weights
# ----------------------------------------------------
# At stride 1 the condition ``p + r = h`` can be solved for p, and the double sum becomes a single
# one:

solved = Formula("dx[n,c,h,v] = sum over o, r, s of dy[n, o, h - r, v - s] * w[o,c,r,s]")
solved

# %%
assert (solved.evaluate(x.shape, dy=dy, w=w) == dx).all()

# %%
# The minus signs mean that the kernel runs backwards. Counted from its other end, which is a
# rotation by 180 degrees, it runs forwards, and this is a plain convolution again, with input and
# output channels exchanged and ``dy`` padded by R - 1 on every side ("full"):

rotated = Formula("rotated[c,o,r,s] = w[o, c, R - 1 - r, S - 1 - s]")
rotated

# %%
full = Formula("dx[n,c,h,v] = sum over o, r, s of dy[n, o, h + r - (R - 1), v + s - (S - 1)] * rotated[c,o,r,s]")
full

# %%
turned = rotated.evaluate((1, 1, 2, 2), w=w, R=2, S=2)
print(turned[0, 0])
assert (full.evaluate(x.shape, dy=dy, rotated=turned, R=2, S=2) == dx).all()
assert (npconv.conv2d(dy, turned, padding=1) == dx).all()

figure, panels = plt.subplots(1, 3, figsize=(8, 3.2), width_ratios=[4, 2, 3], layout="constrained")
draw_numbers(panels[0], np.pad(dy[0, 0], 1), "dy, padded by 1", border=1, frames=window(1, 1, w, RED))
draw_numbers(panels[1], turned[0, 0], "w, rotated", frames=window(0, 0, w, RED))
draw_numbers(panels[2], dx[0, 0], "dx", frames={(1, 1): RED})

# %%
# A stride is zeros woven in
# --------------------------
# With stride 2 only every second place has an output. Imagine the missing outputs were computed and
# thrown away: their ``dy`` is 0. So put zeros between the numbers of ``dy`` (zero insertion), and it
# is the case of stride 1 again. This is what "transposed convolution" means.

big = np.arange(1.0, 26).reshape(1, 1, 5, 5)
kernel = np.array([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])[None, None]
dy2 = np.array([[1.0, 2], [3, 4]])[None, None]
dx2, _, _ = npconv.conv2d_backward(dy2, big, kernel, stride=2)

woven = np.zeros((1, 1, 3, 3))
woven[..., ::2, ::2] = dy2
assert (npconv.conv2d(woven, kernel[..., ::-1, ::-1].copy(), padding=2) == dx2).all()
assert (input_gradient.evaluate(big.shape, dy=dy2, w=kernel, stride=2, dilation=1, pad=0) == dx2).all()

figure, panels = plt.subplots(1, 3, figsize=(9, 3.6), width_ratios=[2, 7, 5], layout="constrained")
draw_numbers(panels[0], dy2[0, 0], "dy")
places = {(2 + 2 * p, 2 + 2 * q): GREEN for p in range(2) for q in range(2)}
draw_numbers(panels[1], np.pad(woven[0, 0], 2), "zeros woven in, and padded by 2", border=2, colours=places)
draw_numbers(panels[2], dx2[0, 0], "dx at stride 2")

# %%
# Where the kernel does not fit evenly, there is one thing more to know: see :ref:`the floor case
# <floor_case>`.
#
# Padding, dilation, bias
# -----------------------
# *Padding* adds pixels that are 0 and that nobody asks a gradient for: compute the gradient of the
# padded image and cut the border off.

padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
dy3 = np.arange(1.0, 17).reshape(1, 1, 4, 4)
outside, _, _ = npconv.conv2d_backward(dy3, padded, w)
inside, _, _ = npconv.conv2d_backward(dy3, x, w, padding=1)
assert (outside[..., 1:-1, 1:-1] == inside).all()

# %%
# *Dilation* puts zeros between the weights instead: a kernel of 2 x 2 with dilation 2 is one of 3 x
# 3 with zeros in it.

spread = np.zeros((1, 1, 3, 3))
spread[..., ::2, ::2] = w
assert (npconv.conv2d(big, w, dilation=2) == npconv.conv2d(big, spread)).all()

# %%
# All at once: the three formulas from above, with stride 2, dilation 2 and a padding of 1.

draw = np.random.default_rng(1)
image, weights = draw.integers(-4, 5, (2, 3, 6, 7)) * 1.0, draw.integers(-4, 5, (4, 3, 2, 3)) * 1.0
output = npconv.conv2d(image, weights, stride=2, dilation=2, padding=1)
dy4 = draw.integers(-4, 5, output.shape) * 1.0
dx4, dw4, _ = npconv.conv2d_backward(dy4, image, weights, stride=2, dilation=2, padding=1)
every = {"stride": 2, "dilation": 2, "pad": 1}
assert (forward.evaluate(output.shape, x=image, w=weights, **every) == output).all()
assert (weight_gradient.evaluate(weights.shape, x=image, dy=dy4, **every) == dw4).all()
assert (input_gradient.evaluate(image.shape, dy=dy4, w=weights, **every) == dx4).all()

# %%
# And those with rotated weights, at stride 1, with several images and channels:

dy5 = draw.integers(-4, 5, (2, 4, 5, 5)) * 1.0
dx5, _, _ = npconv.conv2d_backward(dy5, image, weights)
turned5 = rotated.evaluate((3, 4, 2, 3), w=weights, R=2, S=3)
assert (solved.evaluate(image.shape, dy=dy5, w=weights) == dx5).all()
assert (full.evaluate(image.shape, dy=dy5, rotated=turned5, R=2, S=3) == dx5).all()

# %%
# A *bias* is added to every output of its channel, so its gradient is the sum of ``dy`` over images
# and places.

bias_gradient = Formula("db[o] = sum over n, p, q of dy[n,o,p,q]")
bias_gradient

# %%
_, _, db = npconv.conv2d_backward(dy, x, w, np.zeros(1))
assert (bias_gradient.evaluate(dy=dy) == db).all()
_, _, db4 = npconv.conv2d_backward(dy4, image, weights, np.zeros(4), stride=2, dilation=2, padding=1)
assert (bias_gradient.evaluate(dy=dy4) == db4).all()

# %%
# Groups
# ------
# With g groups, the channels are cut into g parts that do not see each other: g small convolutions
# side by side, each with its own part of x and w. In the formula both get one more index and the
# sum does not run over it:

grouped = Formula(
    "y[n,g,o,p,q] = sum over c, r, s"
    " of x[n, g, c, p*stride + r*dilation - pad, q*stride + s*dilation - pad] * w[g,o,c,r,s]"
)
grouped

# %%
rng = np.random.default_rng(0)
many, weights = rng.integers(-4, 5, (1, 4, 4, 4)) * 1.0, rng.integers(-4, 5, (6, 2, 3, 3)) * 1.0
both = npconv.conv2d(many, weights, padding=1, groups=2)
apart = [npconv.conv2d(many[:, 2 * g : 2 * g + 2], weights[3 * g : 3 * g + 3], padding=1) for g in range(2)]
assert (both == np.concatenate(apart, axis=1)).all()
by_group = grouped.evaluate(
    (1, 2, 3, 4, 4), x=many.reshape(1, 2, 2, 4, 4), w=weights.reshape(2, 3, 2, 3, 3), stride=1, dilation=1, pad=1
)
assert (by_group.reshape(both.shape) == both).all()

# %%
# Do not believe it: check it
# ---------------------------
# y is linear in x, and linear in w. So there is a test of both gradients that needs no derivation,
# no finite difference and no tolerance: for whole numbers these three are *equal*. Try it on any
# implementation, always with a random ``dy``, never with ones.

x, w = rng.integers(-9, 10, (2, 3, 7, 6)) * 1.0, rng.integers(-9, 10, (4, 3, 3, 2)) * 1.0
options = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2)}
y = npconv.conv2d(x, w, **options)
dy = rng.integers(-9, 10, y.shape) * 1.0
dx, dw, _ = npconv.conv2d_backward(dy, x, w, **options)
print((dy * y).sum(), (dx * x).sum(), (dw * w).sum())
assert (dy * y).sum() == (dx * x).sum() == (dw * w).sum()
