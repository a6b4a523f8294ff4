"""
Depthwise, pointwise, separable: what is left out of the sum
============================================================

A standard convolution adds up over everything: all input channels, all rows and columns of the
kernel. Each of the efficient convolutions leaves something out of that sum, and each has a price:
something that the layer cannot express any more.
"""

import matplotlib.pyplot as plt
import numpy as np

import npconv
from npconv import costs
from npconv.explain import Formula

# %%
# Three sums
# ----------
# The standard convolution, at stride 1 and without padding, looks in every channel and in every
# place of the kernel:

standard = Formula("y[n,o,p,q] = sum over c, r, s of x[n, c, p + r, q + s] * w[o,c,r,s]")
standard

# %%
# *Depthwise*: leave out the sum over channels. Every channel is filtered by itself, and channels
# never mix.

depthwise = Formula("y[n,k,p,q] = sum over r, s of x[n, k, p + r, q + s] * w[k,0,r,s]")
depthwise

# %%
# *Pointwise*: leave out the sum over rows and columns. Channels mix, and pixels never meet their
# neighbours.

pointwise = Formula("y[n,o,p,q] = sum over c of x[n,c,p,q] * w[o,c,0,0]")
pointwise

# %%
# All three in whole numbers, each compared with npconv:

rng = np.random.default_rng(0)
x = rng.integers(-4, 5, (1, 2, 4, 4)) * 1.0
w_standard, w_depthwise, w_pointwise = (
    rng.integers(-4, 5, shape) * 1.0 for shape in [(3, 2, 3, 3), (2, 1, 3, 3), (3, 2, 1, 1)]
)
for formula, operator, w in [
    (standard, npconv.conv2d, w_standard),
    (depthwise, npconv.depthwise_conv2d, w_depthwise),
    (pointwise, npconv.pointwise_conv2d, w_pointwise),
]:
    y = operator(x, w)
    assert (formula.evaluate(y.shape, x=x, w=w) == y).all()

# %%
# One after the other: the depthwise *separable* convolution
# ----------------------------------------------------------
# Filter each channel, then mix the channels. Written as one sum, it is a standard convolution whose
# kernel is a *product*:

product = Formula("w[o,c,r,s] = w_pointwise[o,c,0,0] * w_depthwise[c,0,r,s]")
product

# %%
y = npconv.separable_conv2d(x, w_depthwise, w_pointwise)
kernel = product.evaluate(w_pointwise=w_pointwise, w_depthwise=w_depthwise)
assert (npconv.conv2d(x, kernel) == y).all()

# %%
# By hand, with a kernel of one row: channels ``[1, 2, 3]`` and ``[0, 1, 0]`` under the depthwise
# kernels ``[1, 1]`` and ``[1, 2]`` give ``[3, 5]`` and ``[2, 1]``; mixed as 1 times the first and
# 10 times the second, ``[23, 15]``.

channels = np.array([[1.0, 2, 3], [0, 1, 0]]).reshape(1, 2, 1, 3)
filters = np.array([[1.0, 1], [1, 2]]).reshape(2, 1, 1, 2)
mixed = npconv.separable_conv2d(channels, filters, np.array([1.0, 10]).reshape(1, 2, 1, 1))
print(mixed.ravel())
assert mixed.ravel().tolist() == [23, 15]

# %%
# So what is given up? Look at the kernels as matrices, a row for each output channel: a standard
# layer may have any, but in a separable one every output channel has the *same* filter for an input
# channel, only stronger or weaker. In numbers, the part of the kernel that belongs to one input
# channel has rank 1:

ranks, standard_ranks = (
    [int(np.linalg.matrix_rank(w[:, c].reshape(3, 9))) for c in range(2)] for w in (kernel, w_standard)
)
print("separable:", ranks, " standard:", standard_ranks)
assert ranks == [1, 1]

# %%
# Going backwards
# ---------------
# The gradients leave out the same terms: a product that is not in the forward sum hands nothing
# back. For two steps in a row, go back through the last one first: ``dz``, the gradient of what
# lies between, is all that the first step needs to know.

between = Formula("dz[n,k,p,q] = sum over o of dy[n,o,p,q] * w_pointwise[o,k,0,0]")
between

# %%
back = Formula("dx[n,c,h,v] = sum over p, q, r, s with p + r = h and q + s = v of dz[n,c,p,q] * w_depthwise[c,0,r,s]")
back

# %%
dy = rng.integers(-4, 5, y.shape) * 1.0
dx, *_ = npconv.separable_conv2d_backward(dy, x, w_depthwise, w_pointwise)
dz = between.evaluate(dy=dy, w_pointwise=w_pointwise)
assert (back.evaluate(x.shape, dz=dz, w_depthwise=w_depthwise) == dx).all()

# %%
# What it saves
# -------------
# Count the products: the standard layer makes them for every pair of channels *and* every place of
# the kernel, the separable one for every place, and then for every pair.

counted_standard = Formula("MACs = N * O * P * Q * C * R * S")
counted_standard

# %%
counted_separable = Formula("MACs = N * P * Q * C * (R * S + O)")
counted_separable

# %%
# Their quotient is MobileNet's well-known ratio:

ratio = Formula("ratio = 1 / O + 1 / (R * S)")
ratio

# %%
sizes = {"N": 1, "C": 512, "O": 512, "P": 14, "Q": 14, "R": 3, "S": 3}
x_shape, w_shape = (1, 512, 14, 14), (512, 512, 3, 3)
whole, parts = costs.conv2d(x_shape, w_shape, padding=1).macs, costs.separable_conv2d(x_shape, w_shape, padding=1).macs
assert counted_standard.evaluate(**sizes) == whole
assert counted_separable.evaluate(**sizes) == parts
assert abs(parts / whole - ratio.evaluate(O=512, R=3, S=3)) < 1e-12
print(f"standard {whole:,}, separable {parts:,}: {parts / whole:.1%}, nearly one ninth")

# %%
# Groups lie between standard and depthwise: with g groups, every output sees C / g input channels.

reads = np.arange(12)
figure, panels = plt.subplots(1, 4, figsize=(10, 3.1), layout="constrained")
for panel, (title, groups) in zip(
    panels, [("standard", 1), ("3 groups", 3), ("6 groups", 6), ("depthwise", 12)], strict=True
):
    sees = reads[:, None] // (12 // groups) == reads // (12 // groups)
    panel.imshow(np.where(sees, 0.45, 1.0), cmap="Blues_r", vmin=0, vmax=1)
    panel.set(title=f"{title}\n{sees.sum()} pairs of channels", xlabel="input channel", xticks=[0, 11], yticks=[0, 11])
panels[0].set_ylabel("output channel")
