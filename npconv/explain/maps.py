"""Operators without products of two arrays: shuffles, batch norm, activations, pooling, up-sampling, the loss."""

from __future__ import annotations

import numpy as np

from npconv.explain.explanation import Explanation, formulas, grid

_ELEMENT = (
    "Every output depends on one input, so dx is dy times the slope there: no sum.",
    "The slope is found piece by piece, as the function is written.",
    "At a corner there are two slopes: here the flat piece's counts, as in PyTorch.",
    "The slope depends on x, so the backward has to keep x.",
    "It multiplies once for each number and adds up nothing: papers count no multiply-accumulates for it.",
)


def _elementwise(op: str, idea: str, forward: str, backward: str, x: list[float], source: str) -> Explanation:
    numbers = np.array(x, np.float64)
    return Explanation(
        op=op,
        idea=idea,
        formulas=formulas(f"y[i] = {forward}", f"dx[i] = {backward}"),
        derivation=_ELEMENT,
        arguments={"x": numbers},
        options={},
        dy=np.arange(1.0, len(x) + 1),
        letters={},
        cost="",
        source=source,
    )


EXPLANATIONS = (
    Explanation(
        op="channel_shuffle",
        idea="Deal the channels of each group out to all groups, as cards are dealt, so that groups meet.",
        formulas=formulas(
            "y[n,k,h,v] = sum over c with k = c%per*groups + c//per of x[n,c,h,v]",
            "dx[n,c,h,v] = sum over k with k = c%per*groups + c//per of dy[n,k,h,v]",
        ),
        derivation=(
            "per is the number of channels in a group: channel c is number c%per of group c//per.",
            "It goes to place c%per*groups + c//per: first the first of each group, then the second of each, ...",
            "A permutation adds nothing up: each output is one input, so the slope is 1 there and 0 elsewhere.",
            "dx[c] is therefore dy at the place where channel c went: the inverse permutation, not the same one again.",
            "The inverse is the shuffle with the two numbers exchanged, channel_shuffle(dy, per): channel_unshuffle.",
        ),
        arguments={"x": grid(0, 1, 2, 3, 4, 5, shape=(1, 6, 1, 1)), "groups": 2},
        options={},
        dy=grid(0, 1, 2, 3, 4, 5, shape=(1, 6, 1, 1)),
        letters={"groups": 2, "per": 3},
        cost="",
        source="ShuffleNet (arXiv 1707.01083), section 3.1, figure 1",
    ),
    Explanation(
        op="channel_unshuffle",
        idea="The inverse of the shuffle, and the gradient of it.",
        formulas=formulas(
            "y[n,c,h,v] = sum over k with k = c%per*groups + c//per of x[n,k,h,v]",
            "dx[n,k,h,v] = sum over c with k = c%per*groups + c//per of dy[n,c,h,v]",
        ),
        derivation=(
            "The shuffle took channel c to place k = c%per*groups + c//per; this takes place k back to channel c.",
            "With the channels as a table of `groups` rows the shuffle is a transposition, and so is this.",
            "A permutation's gradient is its inverse, and the inverse of this is the shuffle.",
            "Only if groups and per are the same number is a shuffle its own inverse.",
            "The published ShuffleNet code of Megvii shuffles in this direction.",
        ),
        arguments={"x": grid(0, 1, 2, 3, 4, 5, shape=(1, 6, 1, 1)), "groups": 2},
        options={},
        dy=grid(0, 1, 2, 3, 4, 5, shape=(1, 6, 1, 1)),
        letters={"groups": 2, "per": 3},
        cost="",
        source="ShuffleNet (arXiv 1707.01083), section 3.1",
    ),
    Explanation(
        op="batch_norm2d",
        idea="Shift and scale each channel to mean 0 and variance 1 over the batch, then to a mean and scale that are learned.",
        formulas=formulas(
            "mean[c] = (sum over n, h, v of x[n,c,h,v]) / M",
            "var[c] = (sum over n, h, v of (x[n,c,h,v] - mean[c]) ** 2) / M",
            "xhat[n,c,h,v] = (x[n,c,h,v] - mean[c]) / sqrt(var[c] + eps)",
            "y[n,c,h,v] = xhat[n,c,h,v] * gamma[c] + beta[c]",
            "dbeta[c] = sum over n, h, v of dy[n,c,h,v]",
            "dgamma[c] = sum over n, h, v of dy[n,c,h,v] * xhat[n,c,h,v]",
            "dx[n,c,h,v] = (dy[n,c,h,v] - dbeta[c] / M - xhat[n,c,h,v] * dgamma[c] / M) * gamma[c] / sqrt(var[c] + eps)",
        ),
        derivation=(
            "Were mean and var constants, dx would be dy * gamma / sqrt(var + eps). But x moves them too.",
            "Adding the same to all x changes the mean alone, and y not at all: so dx must have the sum 0.",
            "Scaling all x about their mean changes sqrt(var) alone, and y not at all: dx must have no part along xhat.",
            "Taking both parts out of dy leaves dy - mean(dy) - xhat * mean(dy * xhat), means over n, h, v.",
            "These means are dbeta / M and dgamma / M, for the M numbers of a channel, which are needed anyway.",
        ),
        arguments={
            "x": grid([1, 1], [1, 5]),
            "gamma": np.array([2.0]),
            "beta": np.array([10.0]),
        },
        options={"eps": 1.0},
        dy=grid([8, 0], [0, 0]),
        letters={"M": 4, "eps": 1.0},
        cost="",
        source="Ioffe and Szegedy (arXiv 1502.03167), algorithm 1",
    ),
    _elementwise(
        "relu",
        "What is negative becomes 0.",
        "x[i] if x[i] > 0 else 0",
        "dy[i] if x[i] > 0 else 0",
        [-2, 0, 3],
        "Nair and Hinton, 2010",
    ),
    _elementwise(
        "relu6",
        "A ReLU that stops at 6.",
        "0 if x[i] < 0 else 6 if x[i] > 6 else x[i]",
        "(dy[i] if x[i] < 6 else 0) if x[i] > 0 else 0",
        [-2, 3, 6, 8],
        "the published MobileNet code",
    ),
    _elementwise(
        "hard_sigmoid",
        "A sigmoid of three straight pieces.",
        "0 if x[i] < -3 else 1 if x[i] > 3 else (x[i] + 3) / 6",
        "(dy[i] / 6 if x[i] < 3 else 0) if x[i] > -3 else 0",
        [-4, -3, 0, 1, 5],
        "MobileNetV3 (arXiv 1905.02244), section 5.2",
    ),
    _elementwise(
        "hard_swish",
        "x times its hard sigmoid.",
        "0 if x[i] < -3 else x[i] if x[i] > 3 else x[i] * (x[i] + 3) / 6",
        "0 if x[i] <= -3 else dy[i] if x[i] >= 3 else dy[i] * (2*x[i] + 3) / 6",
        [-4, -3, 0, 3, 5],
        "MobileNetV3 (arXiv 1905.02244), section 5.2",
    ),
    Explanation(
        op="avg_pool2d",
        idea="The mean of each window.",
        formulas=formulas(
            "y[n,c,p,q] = (sum over r < K, s < K of x[n, c, p*stride + r, q*stride + s]) / (K * K)",
            "dx[n,c,h,v] = (sum over p, q, r < K, s < K with p*stride + r = h and q*stride + s = v of dy[n,c,p,q]) / (K * K)",
        ),
        derivation=(
            "It is a depthwise convolution whose weights are all 1 / K^2: so is its gradient.",
            "Each pixel gets its share, 1 / K^2, of every window that it is in.",
            "Windows may overlap, where the stride is less than K, or leave pixels out, whose gradient is 0.",
            "With padding, npconv divides by the number of true pixels; PyTorch by K^2, which `count_include_pad` is for.",
            "With stride 2 and K = 2 it is also the paper's half-pixel rule for the low frequency of an octave map.",
        ),
        arguments={"x": grid([1, 2, 3, 4], [5, 6, 7, 8]), "kernel": 2},
        options={},
        dy=grid([4, 8]),
        letters={"K": 2, "stride": 2},
        cost="",
        source="standard",
    ),
    Explanation(
        op="max_pool2d",
        idea="The largest number of each window.",
        formulas=formulas(
            "y[n,c,p,q] = max over r < K, s < K of x[n, c, p*stride + r, q*stride + s]",
            "dx[n,c,h,v] = sum over p, q, r < K, s < K"
            " with p*stride + r = h and q*stride + s = v and x[n,c,h,v] = y[n,c,p,q] of dy[n,c,p,q]",
        ),
        derivation=(
            "A small change of the largest number changes y by as much; of any other, not at all.",
            "So the slope is 1 at the largest and 0 elsewhere, and dy goes to that pixel alone.",
            "Where several are the largest, the first in row order gets all, as in PyTorch; the formula is for one alone.",
            "Windows may overlap: one pixel may be the largest of several, and gets the sum of their dy.",
            "Padding never is the largest: it counts as minus infinity.",
        ),
        arguments={"x": grid([1, 2, 3, 4], [5, 9, 7, 8]), "kernel": 2},
        options={"stride": 1},
        dy=grid([1, 10, 100]),
        letters={"K": 2, "stride": 1},
        cost="",
        source="standard",
    ),
    Explanation(
        op="global_avg_pool2d",
        idea="The mean of each channel's pixels.",
        formulas=formulas(
            "y[n,c,0,0] = (sum over h, v of x[n,c,h,v]) / M",
            "dx[n,c,h,v] = dy[n,c,0,0] / M",
        ),
        derivation=(
            "y is a sum of M pixels, each times 1 / M.",
            "So the slope by every pixel is 1 / M, wherever it is.",
            "All pixels of a channel get the same gradient, dy / M.",
            "It is average pooling with one window, the whole map.",
            "A classifier behind it sees the same features whatever the size of the image.",
        ),
        arguments={"x": grid([1, 2, 3], [4, 5, 6], [7, 8, 9])},
        options={},
        dy=grid([9]),
        letters={"M": 9},
        cost="",
        source="Lin, Chen and Yan (arXiv 1312.4400), section 3.2",
    ),
    Explanation(
        op="upsample_nearest2d",
        idea="Repeat every pixel.",
        formulas=formulas(
            "y[n,c,p,q] = x[n, c, p//2, q//2]",
            "dx[n,c,h,v] = sum over p, q with p//2 = h and q//2 = v of dy[n,c,p,q]",
        ),
        derivation=(
            "Output (p, q) is a copy of pixel (p//2, q//2), for a scale of 2: the slope is 1 there, 0 elsewhere.",
            "Each pixel was copied to a block of 2 x 2 outputs.",
            "Its gradient is the sum of dy over that block.",
            "That sum is 4 times the block's mean: the gradient of repeating is pooling, but for the factor.",
            "Likewise the gradient of average pooling is repeating, but for the factor.",
        ),
        arguments={"x": grid([1, 2], [3, 4]), "scale": 2},
        options={},
        dy=grid([1, 1, 0, 0], [1, 1, 0, 5], [2, 0, 0, 0], [0, 0, 0, 0]),
        letters={},
        cost="",
        source="standard",
    ),
    Explanation(
        op="softmax_cross_entropy",
        idea="How surprised the network is by the true class: minus the log of the probability it gave it.",
        formulas=formulas(
            "probability[n,k] = exp(logits[n,k]) / (sum over j < K of exp(logits[n, j]))",
            "loss = (sum over n, k with k = labels[n] of -log(probability[n,k])) / N",
            "dlogits[n,k] = dy * (probability[n,k] - 1 if k == labels[n] else probability[n,k]) / N",
        ),
        derivation=(
            "-log p[label] = log(sum of exp(logits)) - logits[label].",
            "The slope of the first term by logit k is exp(logits[k]) / sum = p[k], and that of the second is 1 at the label.",
            "So the gradient is p - 1 at the label and p elsewhere, divided by N for the mean over the batch.",
            "It sums to 0 over the classes: adding the same to all logits changes nothing.",
            "The largest logit is subtracted before exp is taken: the same numbers, and no overflow.",
        ),
        arguments={"logits": np.log([[1.0, 3.0]]), "labels": np.array([1])},
        options={},
        dy=np.array(1.0),
        letters={"K": 2, "N": 1},
        cost="",
        source="standard; label smoothing: Szegedy et al. (arXiv 1512.00567), section 7",
    ),
)
