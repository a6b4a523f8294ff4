"""
The papers' findings on a desk
==============================

The four papers train large networks on a million photographs. Does what they find show itself where
a network has a few thousand weights, the images are 1,797 digits of 8 x 8 pixels, and a training
takes ten seconds? ``npconv study NAME`` trains networks that are alike but for one thing, all in the
same way and with several seeds, draws what came of it, and says in a sentence whether the paper's
trend is visible, and by how much against the spread from seed to seed.
"""

import json
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from npconv import costs, data
from npconv.studies import STUDIES, Finding, Outcome, compare, draw_accuracies, draw_costs, draw_finding

# %%
# All six take about eleven minutes of one core, too long for building a page. So the accuracies on this page are
# kept: they are what ``npconv study width -o width.json`` and its like have written. Costs, means,
# spreads, sentences and pictures are made here, from the kept numbers and from the networks.

KEPT = Path("../studies")  # run the studies yourself, and put "." here
digits = data.digits()


def outcomes_of(name):
    """What came of the networks of a study, each of which is made once more, and counted."""
    rows = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))["networks"]
    for variant, row in zip(STUDIES[name].variants, rows, strict=True):
        shape = variant.prepare(digits).train.images.shape[1:]
        network = variant.make(digits.classes, shape[0], shape[1:], np.random.default_rng(0))
        assert variant.label == row["network"]
        assert costs.count(network, (1, *shape)).macs == row["macs"]
        assert network.parameter_count() == row["parameters"]
        yield Outcome(variant, row["macs"], row["parameters"], tuple(row["accuracies"]))


def finding_of(name):
    """What the study found besides."""
    found = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))["found"]
    return Finding(**found | {"lines": {label: np.array(line) for label, line in found["lines"].items()}})


def show(name, outcomes):
    """A table, the sentences, and a picture."""
    widest = max(len(outcome.variant.label) for outcome in outcomes)
    print(f"{'network':{widest}}       MACs  parameters  accuracy  spread")
    for outcome in outcomes:
        numbers = f"{outcome.macs:9,}  {outcome.parameters:10,}  {outcome.mean:8.4f}  {outcome.spread:6.4f}"
        print(f"{outcome.variant.label:{widest}}  {numbers}")
    for sentence in compare(STUDIES[name], outcomes):
        print("\n" + textwrap.fill(f"the trend {sentence}", 76))
    _, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    draw_accuracies(panels[0], STUDIES[name], outcomes)
    draw_costs(panels[1], outcomes)


# %%
# Width
# -----
# MobileNet's first knob makes every layer thinner. The cost falls nearly with the square of alpha,
# and the paper's table 6 has accuracy fall smoothly, "until the architecture is made too small".

width = list(outcomes_of("width"))
show("width", width)

# %%
# So it is here: each thinner network knows less, and the thinnest, with an eighth of the work, a good
# deal less.

means = [outcome.mean for outcome in width]
assert means == sorted(means)

# %%
# Resolution
# ----------
# The second knob shows the same network fewer pixels: the cost falls with the square of rho, and no
# weight is saved. Digits of 8 x 8 pixels have few to spare.

resolution = list(outcomes_of("resolution"))
show("resolution", resolution)

# %%
# So it is here, too, and the last step down costs most: of 4 x 4 pixels, stride 2 leaves two, then
# one. Sizes are whole numbers, so the cost goes down in steps: 5 pixels (0.625) are halved to 3 and
# 2, as 6 pixels (0.75) are to 3 and 2, and cost nearly as much as those.

means = [outcome.mean for outcome in resolution]
assert means == sorted(means)
assert np.diff(means).argmax() == 0
assert len({outcome.parameters for outcome in resolution}) == 1
assert resolution[1].macs > 0.9 * resolution[2].macs

# %%
# Separable convolutions
# ----------------------
# :doc:`An eighth of the work </explained/separable>` in place of a standard convolution. The paper
# loses one percent on ImageNet.

separable = list(outcomes_of("separable"))
show("separable", separable)

# %%
# The fair question is another one: how good is a standard network that is so thin that it costs no
# more? The diagram over cost answers it: the standard network of width 0.25 takes half of the
# multiply-accumulates of the separable one of width 1, and is as good as the spread can tell. So the
# paper's trade is there, and at this scale it is no gain yet.

thin, separate = separable[0], separable[-1]
assert thin.macs < separate.macs / 2
assert abs(thin.mean - separate.mean) < 2 * np.hypot(thin.spread, separate.spread) / np.sqrt(3)

# %%
# Shuffle
# -------
# ShuffleNet claims two things: with more groups there are more channels for the same work, which
# helps; and without :doc:`the shuffle </explained/shuffle>` it would not. All networks here cost
# nearly the same.

shuffle = list(outcomes_of("shuffle"))
show("shuffle", shuffle)
macs = [outcome.macs for outcome in shuffle]
assert max(macs) < 1.25 * min(macs)

# %%
# Three groups with the shuffle are better than one group, and better than three groups without it.
# With 2, 4 and 8 groups the difference that the shuffle makes is within the spread, and with 2 it has
# the other sign: at this scale the trend is there in one place and not in the others.

mean = {outcome.variant.label: outcome.mean for outcome in shuffle}
gain = {g: mean[f"g = {g}, with shuffle"] - mean[f"g = {g}, without shuffle"] for g in (2, 3, 4, 8)}
assert gain[2] < 0 < min(gain[3], gain[4], gain[8])

# %%
# Octave convolution
# ------------------
# A share alpha of the channels at half the resolution :doc:`saves work </explained/octave>`. The paper
# loses nothing at small alpha, and finds in table 2 that the two paths between the frequencies are
# needed. Here they are cut by holding their kernels at zero, in all layers but the first and the last.

octave = list(outcomes_of("octave"))
show("octave", octave)

# %%
# Nothing that could be told from the spread is lost, up to three quarters of the channels at half the
# resolution and half the cost. But nothing is lost without the paths between frequencies either: on
# digits of 8 x 8 pixels the paper's second finding is not to be seen.

whole, *others = octave
assert all(whole.mean - other.mean < 2 * np.hypot(whole.spread, other.spread) / np.sqrt(3) for other in others)

# %%
# The premise of the paper is about photographs: most of what is in one is low frequency.

premise = finding_of("octave")
figure, panel = plt.subplots(figsize=(6, 3.6), layout="constrained")
draw_finding(panel, premise)
print(textwrap.fill(premise.sentence, 76))

# %%
# Ghosts
# ------
# A ratio s makes one map in s by a convolution and the others :doc:`by a cheap filter
# </explained/ghost>` of size d.

ghost = list(outcomes_of("ghost"))
show("ghost", ghost)

# %%
# Half of the work can be saved at next to no loss, as the paper has it. Its d of 3 is no better than a
# d of 1 here, which only scales a map.

# %%
# The toy experiment at the paper's beginning, on the plain network of this study: how well does the
# best d x d filter make one map from another? Each map is predicted from the one that predicts it
# best; what is left is a share of the map's variance, 0 for a perfect copy.

toy = finding_of("ghost")
figure, panel = plt.subplots(figsize=(6, 3.6), layout="constrained")
draw_finding(panel, toy)
print(textwrap.fill(toy.sentence, 76))

# %%
# The paper's pairs are three picked by hand, and are nearly copies. These are all sixteen maps of a
# layer: a larger filter predicts them better, and yet about half of most of them is new.

small, large = (toy.lines[label][1] for label in ("d = 1", "d = 7"))
assert (large <= small).all()
assert 0.4 < np.median(large) < 0.6

# %%
# How to read such numbers
# ------------------------
# The test has 359 images, so one image more or less is 0.0028. Three seeds tell a difference of means
# to about their spread, divided by the square root of three, and what is "not visible" may well be
# there: more seeds, ``--seeds 10``, or harder images, ``--data fashion-mnist``, would show it.

assert len(digits.test.labels) == 359
assert round(1 / 359, 4) == 0.0028
