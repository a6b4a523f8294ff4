"""
Why groups need a shuffle
=========================

Convolutions in groups are cheap because groups do not see each other. Put two of them in a row and
they still do not: half of the network never learns what the other half knows. ShuffleNet deals the
channels out between them, as one deals cards.
"""

import matplotlib.pyplot as plt
import numpy as np

import npconv
from npconv.explain import Formula, draw_numbers

COLOURS = ("#4477aa", "#ccbb44", "#ee6677")

# %%
# Who reaches whom
# ----------------
# Six channels in two groups of three, through two pointwise convolutions whose weights are all 1.
# The gradient of output o by input c then counts the ways from c to o, and a 0 says that nothing
# that is learned could ever connect them.

w = np.ones((6, 3, 1, 1))


def ways(shuffle):
    """The number of ways from each input channel (column) to each output channel (row)."""
    x, dy = np.ones((6, 6, 1, 1)), np.eye(6).reshape(6, 6, 1, 1)  # an image for each output
    middle = npconv.pointwise_conv2d(x, w, groups=2)
    read = npconv.channel_shuffle(middle, 2) if shuffle else middle
    dread, _, _ = npconv.pointwise_conv2d_backward(dy, read, w, groups=2)
    dmiddle = npconv.channel_shuffle_backward(dread, middle, 2) if shuffle else dread
    return npconv.pointwise_conv2d_backward(dmiddle, x, w, groups=2)[0][:, :, 0, 0]


before, after = ways(shuffle=False), ways(shuffle=True)
assert (before == 0).sum() == 18
assert (after > 0).all()

figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.9), layout="constrained")
for panel, counts, title in [(panels[0], before, "without a shuffle"), (panels[1], after, "with a shuffle between")]:
    inputs = {(o, c): COLOURS[c // 3] for o, c in zip(*np.nonzero(counts), strict=True)}
    draw_numbers(panel, counts, f"{title}:\nways from input (column) to output (row)", colours=inputs)

# %%
# The permutation
# ---------------
# Write the channels row by row into a table with a row for each group, and read it column by
# column. Channel c, which is number c % per of group c // per, goes to place ``c % per * groups + c
# // per``:

shuffle = Formula("y[n,k,h,v] = sum over c with k = c%per*groups + c//per of x[n,c,h,v]")
shuffle

# %%
x = np.arange(6.0).reshape(1, 6, 1, 1)
y = npconv.channel_shuffle(x, 2)
print(x.ravel(), "->", y.ravel())
assert (shuffle.evaluate(y.shape, x=x, groups=2, per=3) == y).all()
assert (x.reshape(2, 3).T.ravel() == y.ravel()).all()

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for place, channel in enumerate(y.ravel().astype(int)):
    axes.plot([channel, place], [1, 0], "o-", color=COLOURS[channel // 3], linewidth=2, markersize=16)
    for where, height in [(channel, 1), (place, 0)]:
        ink = "white" if channel < 3 else "black"  # on blue, on yellow
        axes.text(where, height, channel, ha="center", va="center_baseline", color=ink)
axes.vlines(2.5, -0.2, 1.2, color="0.6", linestyle="--")
axes.set(yticks=[0, 1], yticklabels=["after", "before"], xticks=range(6), xlabel="place", ylim=(-0.3, 1.3))
axes.set_title("shuffle of six channels in two groups")
axes.spines[:].set_visible(False)

# %%
# Its gradient is the inverse permutation
# ---------------------------------------
# Every output is a copy of one input, so ``dx`` of a channel is ``dy`` at the place that it went
# to. That takes the channels *back*:

gradient = Formula("dx[n,c,h,v] = sum over k with k = c%per*groups + c//per of dy[n,k,h,v]")
gradient

# %%
dy = np.arange(6.0).reshape(1, 6, 1, 1)
dx = npconv.channel_shuffle_backward(dy, x, 2)
print(dy.ravel(), "->", dx.ravel())
assert (gradient.evaluate(x.shape, dy=dy, groups=2, per=3) == dx).all()
assert (npconv.channel_unshuffle(dy, 2) == dx).all()
assert (npconv.channel_shuffle_backward(y, x, 2) == x).all()

# %%
# **The mistake to know**: shuffling ``dy`` once more instead. It gives an array of the right shape,
# and training goes on, only worse. It is right by chance where the number of groups is the number
# of channels in a group, as in many tests (4 channels in 2 groups).

wrong = npconv.channel_shuffle(dy, 2)
print("shuffled again:", wrong.ravel(), " right:", dx.ravel())
assert (wrong != dx).any()
four = np.arange(4.0).reshape(1, 4, 1, 1)
assert (npconv.channel_shuffle(four, 2) == npconv.channel_unshuffle(four, 2)).all()
