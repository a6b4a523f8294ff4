"""
.. _floor_case:

The floor case: pixels that no output reads
===========================================

A kernel of 3 at stride 2 fits three times into 7 pixels, and also three times into 8: the last
pixel is left over. Frameworks round the number of outputs down without a word, hence the name. It
is the most common mistake in backward passes written by hand, for it is invisible in the forward
pass, and most test cases happen to fit evenly.
"""

import matplotlib.pyplot as plt
import numpy as np

import npconv
from npconv.explain import Formula, draw_numbers

BLUE, RED = "#4477aa", "#ee6677"

# %%
# How many outputs there are
# --------------------------
# The first tap of the kernel stands at 0, stride, 2 * stride, ..., as long as its last tap is
# inside.

size = Formula("P = (H + 2*pad - dilation*(R - 1) - 1) // stride + 1")
size

# %%
for rows in range(5, 10):
    y = npconv.conv2d(np.ones((1, 1, rows, 1)), np.ones((1, 1, 3, 1)), stride=2)
    assert size.evaluate(H=rows, pad=0, dilation=1, R=3, stride=2) == y.shape[2]
    print(f"{rows} rows: {y.shape[2]} outputs, {(rows - 3) % 2} left over")

# %%
# With padding and dilation, too:

for rows in range(5, 10):
    y = npconv.conv2d(np.ones((1, 1, rows, 1)), np.ones((1, 1, 2, 1)), stride=(3, 1), padding=(2, 0), dilation=(4, 1))
    assert size.evaluate(H=rows, pad=2, dilation=4, R=2, stride=3) == y.shape[2]

# %%
# Whether rows are left over is in the remainder of that division, which the formula throws away:

left_over = Formula("left = (H + 2*pad - dilation*(R - 1) - 1) % stride")
left_over

# %%
# Going backwards
# ---------------
# Five rows and six rows give two outputs each. So from the outputs alone nobody can tell how many
# rows ``dx`` must have. A backward that computes its size from dy's, ``(P - 1) * stride + R``, is
# one row short; it then fails, or broadcasts, or, worst, shifts everything.

x5, x6 = np.arange(1.0, 6).reshape(1, 1, 5, 1), np.arange(1.0, 7).reshape(1, 1, 6, 1)
w = np.array([1.0, 2, 3]).reshape(1, 1, 3, 1)
dy = np.array([1.0, 10]).reshape(1, 1, 2, 1)
assert left_over.evaluate(H=5, pad=0, dilation=1, R=3, stride=2) == 0
assert left_over.evaluate(H=6, pad=0, dilation=1, R=3, stride=2) == 1
assert (
    left_over.evaluate(H=6, pad=2, dilation=4, R=2, stride=3) == 2
)  # of 10 places, 0, 3 and the last two are not read
guessed = Formula("rows = (P - 1) * stride + R")
guessed

# %%
assert guessed.evaluate(P=2, stride=2, R=3) == 5

# %%
# The right answer follows from the definition without a special case: no output reads the last row,
# so the loss does not depend on it, and its gradient is 0.

gradient = Formula("dx[n,c,h,v] = sum over o, p, q, r, s with p*stride + r = h and q = v of dy[n,o,p,q] * w[o,c,r,s]")
gradient

# %%
for x in (x5, x6):
    dx, dw, _ = npconv.conv2d_backward(dy, x, w, stride=(2, 1))
    assert (gradient.evaluate(x.shape, dy=dy, w=w, stride=2) == dx).all()
    print(f"{x.shape[2]} rows: dx = {dx.ravel()}, dw = {dw.ravel()}")

# %%
# The same with two images, three channels and four outputs for each pixel:

draw = np.random.default_rng(0)
several, weights = draw.integers(-4, 5, (2, 3, 6, 2)) * 1.0, draw.integers(-4, 5, (4, 3, 3, 1)) * 1.0
dys = draw.integers(-4, 5, (2, 4, 2, 2)) * 1.0
dxs, _, _ = npconv.conv2d_backward(dys, several, weights, stride=(2, 1))
assert (gradient.evaluate(several.shape, dy=dys, w=weights, stride=2) == dxs).all()

# %%
# By hand: row 2 is read by the first output with weight 3 and by the second with weight 1, so ``1*3
# + 10*1 = 13``.

figure, panels = plt.subplots(3, 2, figsize=(8.5, 4.5), width_ratios=[5, 6], layout="constrained")
for column, x in enumerate((x5, x6)):
    rows = x.shape[2]
    dx, _, _ = npconv.conv2d_backward(dy, x, w, stride=(2, 1))
    first, second = {(0, place): BLUE for place in range(3)}, {(0, place): RED for place in range(2, 5)}
    draw_numbers(
        panels[0, column],
        x[0, 0].T,
        f"x, {rows} pixels: filled is read by output 0, framed by output 1",
        colours=first,
        frames=second,
    )
    draw_numbers(panels[1, column], dy[0, 0].T, "dy", colours={(0, 0): BLUE}, frames={(0, 1): RED})
    draw_numbers(
        panels[2, column],
        dx[0, 0].T,
        "dx" if rows == 5 else "dx: nobody read the last pixel",
        colours=first,
        frames=second,
    )
    for panel in panels[:, column]:
        panel.title.set_fontsize(9)
        panel.set_xlim(-0.6, 5.6)

# %%
# Zeros woven in, and one more row
# --------------------------------
# The picture of :doc:`zeros woven into dy </explained/convolution>` stays right if the rows left
# over are added at the end: PyTorch's transposed convolution calls their number ``output_padding``.

woven = np.zeros((1, 1, 3, 1))
woven[:, :, ::2] = dy
full = npconv.conv2d(woven, w[:, :, ::-1].copy(), padding=((2, 2), (0, 0)))
left = int(left_over.evaluate(H=6, pad=0, dilation=1, R=3, stride=2))
assert (np.pad(full, ((0, 0), (0, 0), (0, left), (0, 0))) == dx).all()

# %%
# With padding, the row left over may be padding, and then nothing is lost. ``npconv check`` has
# both cases among its hand-picked problems, and here is the check that finds the mistake wherever
# it is. Only a ``dx`` of the right size, with the right zeros, passes it.

rng = np.random.default_rng(0)
x, w = rng.integers(-9, 10, (1, 2, 8, 9)) * 1.0, rng.integers(-9, 10, (3, 2, 3, 3)) * 1.0
y = npconv.conv2d(x, w, stride=3)
dy = rng.integers(-9, 10, y.shape) * 1.0
dx, dw, _ = npconv.conv2d_backward(dy, x, w, stride=3)
print("rows of x that get a gradient:", np.flatnonzero(np.abs(dx).sum(axis=(0, 1, 3))))
assert (dy * y).sum() == (dx * x).sum() == (dw * w).sum()
