"""
Octave convolution: two frequencies
===================================

Most of an image varies slowly, and what varies slowly can be kept at half the resolution. An octave
convolution has two maps, high and low, each at the resolution that it needs, and four kernels that
let them feed each other. A quarter of the pixels is a quarter of the work.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import npconv
from npconv import OctaveMap, OctaveWeight, costs
from npconv.explain import EXPLANATIONS, Formula, draw_numbers

BLUE, RED, GREEN, YELLOW = "#4477aa", "#ee6677", "#228833", "#ccbb44"

# %%
# High and low of a photograph
# ----------------------------
# low is the photograph, averaged over blocks of 2 x 2; high is what that misses, so that ``high +
# up(low)`` is the photograph.

photograph = npconv.avg_pool2d(load_sample_image("china.jpg")[:416, :416].mean(axis=2)[None, None] / 255, 4)
low = npconv.avg_pool2d(photograph, 2)
high = photograph - npconv.upsample_nearest2d(low, 2)


def spectrum(image):
    """The power at each frequency, in cycles per pixel: a mean over all directions."""
    power = np.abs(np.fft.fft2(image[0, 0] - image.mean())) ** 2 / image[0, 0].size
    across = np.hypot(*np.meshgrid(np.fft.fftfreq(image.shape[2]), np.fft.fftfreq(image.shape[3]), indexing="ij"))
    bins = np.linspace(0, 0.5, 26)
    place = np.digitize(across.ravel(), bins)
    return (bins[:-1] + bins[1:]) / 2, [power.ravel()[place == n].mean() for n in range(1, len(bins))]


figure, panels = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained", width_ratios=[1, 1, 1, 1.5])
for panel, image, title in [
    (panels[0], photograph, "photograph"),
    (panels[1], high, "high"),
    (panels[2], low, "low, half the size"),
]:
    reach = {"vmin": -0.3, "vmax": 0.3} if title == "high" else {"vmin": 0, "vmax": 1}
    panel.imshow(image[0, 0], cmap="gray", **reach)
    panel.set(title=title, xticks=[], yticks=[])
for image, name, colour in [
    (photograph, "photograph", "black"),
    (high, "high", BLUE),
    (npconv.upsample_nearest2d(low, 2), "low", RED),
]:
    panels[3].semilogy(*spectrum(image), color=colour, label=name)
panels[3].set(xlabel="cycles per pixel", ylabel="power", title="spectra")
panels[3].legend()
panels[3].grid(alpha=0.3)

# %%
# Nearly all of the power is at low frequencies, where low carries it; and what high carries is
# small.
#
# The four paths
# --------------
# Each output is fed by both inputs. hh and ll are plain convolutions; hl reads the means of 2 x 2
# pixels of high; lh is computed at low resolution, and each of its numbers is then repeated 2 x 2.

told = EXPLANATIONS["octave_conv2d"]
y_high, y_low, dx_high, dx_low, *_ = told.formulas
y_high

# %%
y_low

# %%
# In whole numbers, with kernels of 1 x 1 that multiply by 1, 2, 3 and 4:

x, w = told.arguments["x"], told.arguments["w"]
y = npconv.octave_conv2d(x, w)
print("high", y.high[0, 0], "low", y.low[0, 0], sep="\n")
assert (y_high.evaluate(y.high.shape, **told.values()) == y.high).all()
assert (y_low.evaluate(y.low.shape, **told.values()) == y.low).all()

# %%
# By hand: the first high output is ``1*1 + 3*10 = 31``. The first low one is ``4*10 + 2*(1 + 2 + 5
# + 6)/4 = 47``.

figure, panels = plt.subplots(2, 4, figsize=(10, 5.2), layout="constrained", width_ratios=[4, 4, 4, 4])
corner = {(h, v): BLUE for h in range(2) for v in range(2)}
draw_numbers(panels[0, 0], x.high[0, 0], "x.high", colours=corner)
draw_numbers(panels[0, 1], npconv.conv2d(x.high, w.hh)[0, 0], "hh: 1 · x.high")
draw_numbers(
    panels[0, 2],
    npconv.upsample_nearest2d(npconv.conv2d(x.low, w.lh), 2)[0, 0],
    "+ lh: up(3 · x.low)",
    colours=dict.fromkeys(corner, RED),
)
draw_numbers(panels[0, 3], y.high[0, 0], "= y.high", frames=corner)
draw_numbers(panels[1, 0], x.low[0, 0], "x.low", colours={(0, 0): RED})
draw_numbers(panels[1, 1], npconv.conv2d(x.low, w.ll)[0, 0], "ll: 4 · x.low", colours={(0, 0): RED})
draw_numbers(
    panels[1, 2],
    npconv.conv2d(npconv.avg_pool2d(x.high, 2), w.hl)[0, 0],
    "+ hl: 2 · pool(x.high)",
    colours={(0, 0): BLUE},
)
draw_numbers(panels[1, 3], y.low[0, 0], "= y.low", frames={(0, 0): RED})

# %%
# Going backwards
# ---------------
# Each input was read by two paths, so its gradient adds up two. The mean gives a quarter of its
# gradient to each of its four pixels (hence ``h // 2`` and the 4), and a number that was repeated
# gets the sum of the gradients of its copies.

dx_high

# %%
dx_low

# %%
dx, dw, _ = npconv.octave_conv2d_backward(told.dy, x, w)
assert (dx_high.evaluate(x.high.shape, **told.values()) == dx.high).all()
assert (dx_low.evaluate(x.low.shape, **told.values()) == dx.low).all()
for formula in told.formulas[4:]:
    assert (formula.evaluate((1, 1, 1, 1), **told.values()) == getattr(dw, formula.name.removeprefix("dw_"))).all()

# %%
# Half a pixel
# ------------
# Why means, and not a convolution at stride 2, which would be cheaper still? A pixel is a small
# square, and the middle of four of them lies half a pixel from the middle of the first. A stride
# takes the first pixel, so low would lie half a high pixel up and to the left, and the next layer
# that adds the two together would blur. Move a bright dot along and see where each of the two says
# that it is:

dots = np.zeros((8, 1, 1, 16))
dots[np.arange(8), 0, 0, np.arange(4, 12)] = 1
soft = np.array([1.0, 4, 6, 4, 1]).reshape(1, 1, 1, 5) / 16  # wide enough to be seen at half size
spread = npconv.conv2d(dots, soft, padding=((0, 0), (2, 2)))
true = np.array([(row * np.arange(16)).sum() / row.sum() for row in spread[:, 0, 0]])
pooled = npconv.avg_pool2d(spread, (1, 2))[:, 0, 0]
strided = spread[:, 0, 0, ::2]
places = {"pooled": pooled, "every second pixel": strided}
# the middle of low pixel i is at 2 * i + 0.5 of the high map
errors = {
    name: np.array([(row * (2 * np.arange(8) + 0.5)).sum() / row.sum() for row in rows]) - true
    for name, rows in places.items()
}
print({name: error.tolist() for name, error in errors.items()})
assert (errors["pooled"] == 0).all()
assert (errors["every second pixel"] == 0.5).all()

# %%
figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
wide = 2 * np.arange(8) + 0.5  # the middles of the low pixels
for middles, row, size, colour, style, name in [
    (np.arange(16), spread[0, 0, 0], 0.5, "black", "-", "at full resolution"),
    (wide, pooled[0], 1, BLUE, "-", "pooled: at the same place"),
    (wide, strided[0], 1, RED, "--", "every second pixel: half a pixel too far"),
]:
    edges = np.append(middles - size, middles[-1] + size)
    axes.stairs(row, edges, color=colour, linestyle=style, linewidth=2, label=name)
    axes.axvline((row * middles).sum() / row.sum(), color=colour, linestyle=style, alpha=0.6)
axes.set(xlabel="high pixel (upright lines: where the dot is)", ylabel="brightness")
axes.set(xlim=(-0.5, 13), ylim=(0, 0.42))
axes.legend(loc="upper right")

# %%
# What it costs
# -------------
# Let a share alpha of the channels be low. Of the four paths hh keeps its resolution, and three run
# on a quarter of the pixels:

ratio = Formula("ratio = (1 - alpha) ** 2 + (2 * alpha * (1 - alpha) + alpha ** 2) / 4")
ratio

# %%
# which the paper writes as

paper = Formula("ratio = 1 - 3 / 4 * alpha * (2 - alpha)")
paper

# %%
alphas, standard = np.linspace(0, 1, 41), costs.conv2d((1, 64, 28, 28), (64, 64, 3, 3), padding=1).macs
for alpha in alphas:
    assert abs(ratio.evaluate(alpha=alpha) - costs.octave_cost_ratio(alpha, alpha)) < 1e-12
    assert abs(paper.evaluate(alpha=alpha) - costs.octave_cost_ratio(alpha, alpha)) < 1e-12

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.plot(alphas, [costs.octave_cost_ratio(a, a) for a in alphas], color=BLUE, label="multiply-accumulates")
axes.plot(alphas, [costs.octave_memory_ratio(a) for a in alphas], color=RED, label="memory of the maps")
for alpha in (0.125, 0.25, 0.5, 0.75):
    counted = (
        costs.octave_conv2d((1, 64, 28, 28), (64, 64, 3, 3), padding=1, alpha_in=alpha, alpha_out=alpha).macs / standard
    )
    axes.plot(alpha, counted, "o", color=BLUE)
    axes.annotate(f"{counted:.0%}", (alpha, counted), (-7, -13), textcoords="offset points", ha="center")
axes.set(xlabel="alpha, the share of low channels", ylabel="relative to alpha = 0", ylim=(0, 1.08))
axes.grid(alpha=0.3)
axes.legend()

# %%
# Odd sizes work too: pooling includes the incomplete blocks at the edge, without counting padding,
# and up-sampling is cropped.

odd = OctaveMap(high=np.ones((1, 1, 5, 5)), low=np.ones((1, 1, 3, 3)))
y = npconv.octave_conv2d(odd, OctaveWeight(*np.ones((4, 1, 1, 1, 1))))
assert (y.high == 2).all()
assert (y.low == 2).all()
