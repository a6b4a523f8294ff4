"""
Ghost convolution: maps that are cheap to make from each other
==============================================================

Look at the feature maps of a trained network, and many of them look alike: one is nearly a shifted,
sharpened or inverted other. GhostNet computes only some of them by convolution, and makes the
others, their ghosts, from these by a cheap filter.
"""

import matplotlib.pyplot as plt
import numpy as np

import npconv
from npconv import costs, data, nn, optim, training
from npconv.explain import EXPLANATIONS, Formula, draw_numbers

BLUE, RED = "#4477aa", "#ee6677"

# %%
# Similar maps in a trained network
# ---------------------------------
# Train a small network on scikit-learn's digits, for a few seconds, and take the maps of its only
# convolution: twelve.

rng = np.random.default_rng(0)
dataset = data.digits()
network = nn.Sequential(
    stem=nn.Conv2d(1, 12, 3, padding=1, rng=rng),
    relu=nn.ReLU(),
    pool=nn.AvgPool2d(2),
    flatten=nn.Flatten(),
    head=nn.Linear(12 * 4 * 4, 10, rng=rng),
)
sgd = optim.SGD(0.1, momentum=0.9)
training.train(network, dataset, sgd, training.Plan(epochs=2, batch=64), rng=rng)
accuracy = training.evaluate(network, *dataset.test, 64).accuracy
print(f"test accuracy {accuracy:.3f}")
assert accuracy > 0.8

maps = network.children()["stem"](dataset.test.images[:64]).astype(np.float64)
alive = range(maps.shape[1])

# %%
# How well can a 3 x 3 filter, nine numbers, make map b from map a? It is a least-squares problem:
# the nine shifted copies of a, weighted to come as near to b as they can. For each map, take the
# other one that it is best made from.


def shifted(image):
    """The nine copies of a map (N, H, W) that a 3 x 3 filter weighs, as columns."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    return np.stack(
        [padded[:, r : r + image.shape[1], s : s + image.shape[2]].ravel() for r in range(3) for s in range(3)], axis=1
    )


def fit(a, b):
    """The filter that makes map b of map a, and the share of b's variation that it misses."""
    columns = shifted(a)
    taps, *_ = np.linalg.lstsq(columns, b.ravel(), rcond=None)
    return taps, ((columns @ taps - b.ravel()) ** 2).mean() / b.var()


missed = {(a, b): fit(maps[:, a], maps[:, b])[1] for a in alive for b in alive if a != b}
best = {b: min((missed[a, b], a) for a in alive if a != b) for b in alive}
pairs = sorted((miss, a, b) for b, (miss, a) in best.items())
print("share missed by the best 3 x 3 filter from another map:", [f"{miss:.0%}" for miss, _, _ in pairs])

# %%
# The best three pairs: a map, the map wanted, and the ghost that the filter makes of the first.

figure, panels = plt.subplots(3, 3, figsize=(6, 6), layout="constrained")
for row, (miss, a, b) in zip(panels, pairs[:3], strict=True):
    taps, _ = fit(maps[:, a], maps[:, b])
    ghost = npconv.depthwise_conv2d(maps[:1, [a]], taps.reshape(1, 1, 3, 3), padding=1)
    reach = {"vmin": maps[0, b].min(), "vmax": maps[0, b].max(), "cmap": "gray"}
    row[0].imshow(maps[0, a], cmap="gray")
    row[1].imshow(maps[0, b], **reach)
    row[2].imshow(ghost[0, 0], **reach)
    for panel, title in zip(row, [f"map {a}", f"map {b}", f"ghost of {a}: misses {miss:.0%}"], strict=True):
        panel.set_title(title, fontsize=9)
        panel.set(xticks=[], yticks=[])

# %%
# Not every map is another one's ghost, and that is the point of the design: some maps are computed,
# the others filtered, and training finds weights for which that is enough.
#
# The operator
# ------------
# First m primary maps z by a convolution, then from each of them s - 1 ghosts by a depthwise
# filter. The primary maps come first.

told = EXPLANATIONS["ghost_conv2d"]
z, y, dz, dx, dw_primary, dw_cheap = told.formulas
z

# %%
y

# %%
# In whole numbers: an image, one primary map (twice the image), and its ghost under a Laplace
# filter, the sum of four neighbours less four times the middle.

values = told.values()
primary = z.evaluate(**values)
both = npconv.ghost_conv2d(values["x"], values["w_primary"], values["w_cheap"])
assert (y.evaluate(both.shape, z=primary, **values) == both).all()

figure, panels = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
draw_numbers(panels[0], values["x"][0, 0], "x")
draw_numbers(panels[1], both[0, 0], "primary map: 2 · x", colours={(1, 1): BLUE})
draw_numbers(panels[2], values["w_cheap"][0, 0], "cheap filter")
draw_numbers(panels[3], both[0, 1], "its ghost", colours={(1, 1): RED})

# %%
# By hand, in the middle: ``4 + 8 + 12 + 16 - 4*10 = 0``; in the corner, with zeros outside: ``4 + 8
# - 4*2 = 4``.
#
# Going backwards
# ---------------
# A primary map goes to two places, to the output and into its ghosts, and its gradient is the sum
# of what comes back from both:

dz

# %%
# From there on it is the gradient of a plain convolution, with ``dz`` in the place of ``dy``.

dx

# %%
dw_cheap

# %%
computed = {formula.name: value for formula, value in told.computed()}
gradients = npconv.ghost_conv2d_backward(told.dy, values["x"], values["w_primary"], values["w_cheap"])
for name, gradient in zip(["dx", "dw_primary", "dw_cheap"], gradients, strict=True):
    assert (computed[name] == gradient).all()
print(gradients[0][0, 0])

# %%
# What it saves
# -------------
# Of C·K² products for an output, a primary map still needs all and a ghost only d². With s maps for
# each primary one the work becomes nearly s times less. The paper's equation 4, for a cheap filter
# of the kernel's size:

speedup = Formula("speedup = s * C / (s + C - 1)")
speedup

# %%
for channels in (16, 64, 256):
    exact = costs.ghost_speedup(channels, 3, ratio=2, cheap_kernel=3)
    assert abs(speedup.evaluate(s=2, C=channels) - exact) < 1e-12
    print(f"{channels} channels, s = 2: {exact:.3f} times less work")
