"""
Batch norm, backwards
=====================

The forward pass of batch norm is easily said: make each channel's mean 0 and its variance 1 over
the batch, then scale and shift it by two numbers that are learned. The backward pass has a name for
being hard. It is not, if one looks at what the forward pass throws away.
"""

import matplotlib.pyplot as plt
import numpy as np

import npconv
from npconv import testing
from npconv.explain import EXPLANATIONS, draw_numbers

BLUE, RED, GREEN = "#4477aa", "#ee6677", "#228833"

# %%
# Forward, in four lines
# ----------------------
# M is the number of values in a channel: images times rows times columns. The variance is the mean
# of the squares, divided by M and not by M - 1. eps keeps the division away from 0.

told = EXPLANATIONS["batch_norm2d"]
mean, var, xhat, y, dbeta, dgamma, dx = told.formulas
mean

# %%
var

# %%
xhat

# %%
y

# %%
# In numbers that come out even: four pixels 1, 1, 1, 5, gamma = 2, beta = 10, and eps = 1. Their
# mean is 2, their variance ``(1 + 1 + 1 + 9) / 4 = 3``, and ``sqrt(3 + 1) = 2``.

computed = {formula.name: value for formula, value in told.computed()}
results = told.results()
for name in ("mean", "var", "xhat", "y"):
    print(name, computed[name].ravel())
assert (computed["y"] == results["y"]).all()

# %%
# Backward: what cannot matter
# ----------------------------
# Were mean and variance constants, ``dx`` would be ``dy * gamma / sqrt(var + eps)``. But x moves
# them as well. Two observations say how:
#
# - **Adding the same number to all x** changes the mean and nothing else. So the loss cannot change
#   in that direction, which means that the sum of ``dx`` is 0.
# - **Scaling all x about their mean** changes the variance and nothing else (if eps is small). So
#   ``dx`` has no part along ``xhat``.
#
# Take both parts out of ``dy``, and what is left is the answer. The part along the constant
# direction is the mean of ``dy``, and the part along ``xhat`` is ``xhat`` times the mean of ``dy *
# xhat``. These means are needed anyway: they are the gradients of beta and gamma, divided by M.

dbeta

# %%
dgamma

# %%
dx

# %%
# With ``dy = 8`` at the first pixel: ``dbeta = 8``, ``dgamma = 8 * (-1/2) = -4``, and ``dx`` there
# is ``(8 - 2 - (-1/2) * (-1)) * 2/2 = 5.5``.

for name in ("dbeta", "dgamma", "dx"):
    print(name, computed[name].ravel())
    assert (computed[name] == results[name]).all()

figure, panels = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
draw_numbers(panels[0], told.arguments["x"][0, 0], "x")
draw_numbers(panels[1], results["y"][0, 0], "y")
draw_numbers(panels[2], told.dy[0, 0], "dy", colours={(0, 0): BLUE})
draw_numbers(
    panels[3],
    results["dx"][0, 0],
    "dx: all pixels moved the mean",
    colours={(0, 0): BLUE, (0, 1): RED, (1, 0): RED, (1, 1): RED},
)
print("sum of dx:", results["dx"].sum())

# %%
# Seen as a projection
# --------------------
# With three values in a channel the two observations can be drawn. All ``dx`` that are possible
# stand at a right angle to (1, 1, 1) and to ``xhat``, so with three values only one line is left.
# (With M values, M - 2 directions are.)

rng = np.random.default_rng(1)
x = rng.normal(size=(3, 1, 1, 1))
one = np.ones(1)
normalised = npconv.batch_norm2d(x, one, 0 * one, eps=1e-12).ravel()
some = rng.normal(size=(200, 3))
gradients = np.array(
    [npconv.batch_norm2d_backward(dy.reshape(x.shape), x, one, 0 * one, eps=1e-12)[0].ravel() for dy in some]
)
print(
    "largest part along (1, 1, 1):",
    f"{np.abs(gradients @ np.ones(3)).max():.0e}",
    " along xhat:",
    f"{np.abs(gradients @ normalised).max():.0e}",
)
assert np.abs(gradients @ np.ones(3)).max() < 1e-10
assert np.abs(gradients @ normalised).max() < 1e-8

figure = plt.figure(figsize=(6, 5.4))
axes = figure.add_subplot(projection="3d")
scaled = gradients * x.std()  # dx is dy's part, divided by the standard deviation
axes.scatter(*some.T, s=8, color=BLUE, alpha=0.7, label="dy, any")
axes.scatter(*scaled.T, s=8, color=RED, label="dx, always on one line")
for direction, style, name in [(np.ones(3), "--", "along (1, 1, 1)"), (normalised, ":", "along xhat")]:
    ends = np.stack([-2 * direction, 2 * direction])
    axes.plot(*ends.T, color="0.3", linestyle=style, label=name)
axes.set(xlabel="pixel 0", ylabel="pixel 1", zlabel="pixel 2")
axes.set(xlim=(-3, 3), ylim=(-3, 3), zlim=(-3, 3), xticks=(-2, 0, 2), yticks=(-2, 0, 2), zticks=(-2, 0, 2))
axes.view_init(elev=22, azim=25)
figure.legend(loc="lower center", ncols=2, markerscale=2)

# %%
# Checked without a derivation
# ----------------------------
# A derivation may have a mistake in it; differences do not. :func:`npconv.testing.check_gradients` moves
# every input by a little and compares.

x = rng.normal(size=(3, 2, 2, 2))
gamma, beta = rng.normal(size=2), rng.normal(size=2)
dy = rng.normal(size=x.shape)
testing.check_gradients(
    npconv.batch_norm2d,
    lambda *args: npconv.batch_norm2d_backward(*args)[:3],  # without those of mean and var
    (x, gamma, beta),
    dy,
)

# %%
# In evaluation mode mean and variance *are* constants, those that training has kept, and the simple
# formula holds after all:

mean, var = rng.normal(size=2), rng.uniform(1, 2, 2)
dx, *_ = npconv.batch_norm2d_backward(dy, x, gamma, beta, mean, var)
np.testing.assert_allclose(dx, dy * (gamma / np.sqrt(var + 1e-5))[:, None, None], rtol=1e-14)
