"""
The four papers' networks, and what they cost
=============================================

MobileNet, ShuffleNet, Oct-ResNet and GhostNet spend their work in different places. Here they are
layer by layer, counted by walking the networks themselves: no figure on this page is copied.
"""

import matplotlib.pyplot as plt

from npconv.papers import PAPERS, Mark, judge
from npconv.papers.walks import Walk

KINDS = {
    "standard": "#4477aa",
    "pointwise": "#ee6677",
    "depthwise": "#ccbb44",
    "linear": "#aa3377",
}
NETWORKS = {
    "MobileNet V1": Walk.of("mobilenet_v1"),
    "ShuffleNet V1, 3 groups": Walk.of("shufflenet_v1", groups=3),
    "Oct-ResNet-50, alpha 0.25": Walk.of("oct_resnet", alpha=0.25),
    "GhostNet": Walk.of("ghostnet"),
}

# %%
# Layer by layer
# --------------
# Each bar is a layer, in order, its height the multiply-accumulates that it takes for one image of
# 224 x 224 pixels, its colour the kind of convolution.

figure, panels = plt.subplots(4, 1, figsize=(10, 9), layout="constrained")
for panel, (name, walk) in zip(panels, NETWORKS.items(), strict=True):
    cost = walk.cost()
    layers = [layer for layer in cost.layers if layer.cost.macs]
    for kind, colour in KINDS.items():
        heights = [layer.cost.macs / 1e6 if layer.kind == kind else 0 for layer in layers]
        panel.bar(range(len(layers)), heights, width=0.9, color=colour, label=kind)
    panel.set_title(
        f"{name}: {cost.macs / 1e6:,.0f} million MACs, {cost.parameters / 1e6:.2f} million parameters", loc="left"
    )
    panel.set(ylabel="million MACs", xlim=(-0.8, len(layers) - 0.2))
    assert sum(layer.cost.macs for layer in layers) == cost.macs
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
panels[-1].set_xlabel("layer")

# %%
# Where the work is, and where the weights are
# --------------------------------------------
# Shares of the multiply-accumulates by kind:

for name, walk in NETWORKS.items():
    cost = walk.cost()
    shares = {kind: macs / cost.macs for kind, macs in cost.macs_by_kind.items()}
    assert abs(sum(shares.values()) - 1) < 1e-12
    print(f"{name:26}", ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items()))

# %%
# MobileNet spends 95 % in its pointwise layers: the depthwise ones are nearly free, by this count.
# That is where ShuffleNet starts, which cuts the pointwise layers into groups, and :doc:`shuffles
# </explained/shuffle>` between them.

mobilenet = NETWORKS["MobileNet V1"].cost()
assert round(100 * mobilenet.macs_by_kind["pointwise"] / mobilenet.macs) == 95

# %%
# Against the papers
# ------------------
# Each published figure beside the one that walking the network gives. "rounding" means equal to all
# digits that are printed; where the paper itself is off, ``npconv tables`` says why.

for paper in PAPERS.values():
    marks = [judge(row).mark for row in paper.rows]
    counted = ", ".join(f"{marks.count(mark)} {mark.value}" for mark in Mark)
    print(f"{paper.title}: {counted}")

# %%
# Any of them layer by layer in your terminal: ``npconv summary mobilenet_v1 --width 0.5 --size
# 160``.
