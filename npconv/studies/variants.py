"""What each study compares: small networks made of the papers' units, alike but for one thing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from npconv import costs
from npconv.data import Dataset, Part
from npconv.geometry import Array
from npconv.models import shuffle_unit, tiny_mobilenet, tiny_octave, tiny_resnet
from npconv.models.blocks import classifier, conv_block
from npconv.nn import Layer, OctaveConv2d, Sequential, replace_convs

SHUFFLE_GROUPS = (1, 2, 3, 4, 8)
SHUFFLE_CHANNELS = 48  # of the first stage without groups, whose cost the others get


class Variant(NamedTuple):
    """One network of a study.

    Attributes
    ----------
    label : str
    points : mapping of str to float
        The lines of the picture that it is on, by their labels, and where on each.
    make : function (classes, channels, size, rng) -> layer
    prepare : function (Dataset) -> Dataset
        What is done to the images first.
    after_step : function (layer) -> None
        What is done to the network after each step.
    """

    label: str
    points: Mapping[str, float]
    make: Callable[[int, int, tuple[int, int], np.random.Generator], Sequential]
    prepare: Callable[[Dataset], Dataset] = lambda dataset: dataset
    after_step: Callable[[Layer], None] = lambda network: None


class Trend(NamedTuple):
    """What the paper says: variant `better` is more accurate than `worse`, or loses at most `within` against it.

    Attributes
    ----------
    better, worse : str
        Labels of variants.
    within : float, optional
        Of accuracy.
    """

    better: str
    worse: str
    within: float | None = None


class Study(NamedTuple):
    """Variants, and what of them the paper finds.

    Attributes
    ----------
    question : str
    source : str
    axis : str
        What x is.
    variants : tuple of Variant
    trends : tuple of Trend
    """

    question: str
    source: str
    axis: str
    variants: tuple[Variant, ...]
    trends: tuple[Trend, ...]


# --- MobileNet: width and resolution -----------------------------------------------------------------------------


def _width(width: float) -> Variant:
    def make(classes: int, channels: int, size: tuple[int, int], rng: np.random.Generator) -> Sequential:
        return tiny_mobilenet(classes, channels, width=width, rng=rng)

    return Variant(f"width {width:g}", {"width": width}, make)


def _resolution(rho: float) -> Variant:
    def make(classes: int, channels: int, size: tuple[int, int], rng: np.random.Generator) -> Sequential:
        return tiny_mobilenet(classes, channels, rng=rng)

    def prepare(dataset: Dataset) -> Dataset:
        rows, columns = (max(4, round(rho * side)) for side in dataset.train.images.shape[2:])
        parts = [Part(resized(part.images, (rows, columns)), part.labels) for part in dataset[2:5]]
        return dataset._replace(train=parts[0], validation=parts[1], test=parts[2])

    return Variant(f"resolution {rho:g}", {"resolution": rho}, make, prepare)


def resized(images: Array, size: tuple[int, int]) -> Array:
    """Images (N, C, H, W) at fewer rows and columns, each pixel the mean of the area that it covers.

    >>> resized(np.arange(4.0).reshape(1, 1, 1, 4), (1, 2))
    array([[[[0.5, 2.5]]]])
    """
    weights = [_areas(old, new) for old, new in zip(images.shape[2:], size, strict=True)]
    pixels = np.einsum("nchw,ph,qw->npqc", images, *weights, optimize=True).astype(images.dtype)
    return pixels.transpose(0, 3, 1, 2)


def _areas(old: int, new: int) -> Array:
    """The share of each of `old` pixels in each of `new` ones, (new, old)."""
    edges = np.linspace(0, old, new + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixels = np.arange(old)
    overlap = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)


# --- ShuffleNet: groups at equal cost, with and without the shuffle ----------------------------------------------


def shuffle_network(
    channels: int, groups: int, shuffle: bool, classes: int, in_channels: int, rng: np.random.Generator
) -> Sequential:
    """A stem and two stages of two ShuffleNet units, `channels` in the first one and twice as many in the second."""
    made: dict[str, Any] = {"groups": groups, "shuffle": shuffle, "rng": rng}
    return Sequential(
        stem=conv_block(in_channels, 24, rng=rng, dtype=np.float32),
        unit1=shuffle_unit(24, channels, stride=2, group_first=False, **made),
        unit2=shuffle_unit(channels, channels, **made),
        unit3=shuffle_unit(channels, 2 * channels, stride=2, **made),
        unit4=shuffle_unit(2 * channels, 2 * channels, **made),
        head=classifier(2 * channels, classes, rng=rng, dtype=np.float32),
    )


@functools.cache
def equal_channels(groups: int, in_channels: int, size: tuple[int, int]) -> int:
    """The channels with which so many groups cost most nearly what one group costs with `SHUFFLE_CHANNELS`."""

    def macs(channels: int, groups: int) -> int:
        network = shuffle_network(channels, groups, True, 10, in_channels, np.random.default_rng(0))
        return costs.count(network, (1, in_channels, *size)).macs

    target = macs(SHUFFLE_CHANNELS, 1)
    step = 4 * groups
    choices = range(-(-32 // step) * step, 6 * SHUFFLE_CHANNELS, step)
    return min(choices, key=lambda channels: abs(macs(channels, groups) - target))


def _shuffle(groups: int, shuffle: bool) -> Variant:
    def make(classes: int, channels: int, size: tuple[int, int], rng: np.random.Generator) -> Sequential:
        return shuffle_network(equal_channels(groups, channels, size), groups, shuffle, classes, channels, rng)

    ways = {True: "with shuffle", False: "without shuffle"}
    lines = ways.values() if groups == 1 else [ways[shuffle]]  # one group has nothing to shuffle
    return Variant(f"g = {groups}, {ways[shuffle]}", dict.fromkeys(lines, groups), make)


# --- GhostNet: ratio and cheap kernel ----------------------------------------------------------------------------


def _ghost(ratio: int, kernel: int) -> Variant:
    def make(classes: int, channels: int, size: tuple[int, int], rng: np.random.Generator) -> Sequential:
        network = tiny_resnet(classes, channels, rng=rng)
        if ratio == 1:
            return network
        return replace_convs(network, "ghost", ratio=ratio, cheap_kernel=kernel, keep=("*shortcut*",), rng=rng)

    label = "s = 1, plain" if ratio == 1 else f"s = {ratio}, d = {kernel}"
    points = {}
    if kernel == 3:
        points["over s, with d = 3"] = ratio
    if ratio == 2:
        points["over d, with s = 2"] = kernel
    return Variant(label, points, make)


# --- OctConv: alpha, and the paths between frequencies -----------------------------------------------------------


def _octave(alpha: float, joined: bool = True) -> Variant:
    def make(classes: int, channels: int, size: tuple[int, int], rng: np.random.Generator) -> Sequential:
        return tiny_octave(classes, channels, alpha=alpha, rng=rng)

    ways = {True: "all paths", False: "without paths between frequencies"}
    lines = ways.values() if alpha == 0 else [ways[joined]]  # one frequency has no such path
    after_step = (lambda network: None) if joined else cut_paths
    return Variant(f"alpha = {alpha:g}, {ways[joined]}", dict.fromkeys(lines, alpha), make, after_step=after_step)


def cut_paths(network: Layer) -> None:
    """Make the kernels between frequencies 0, where a layer has both frequencies on both sides."""
    for _, layer in network.named_layers():
        if isinstance(layer, OctaveConv2d) and {"w_hh", "w_hl", "w_lh", "w_ll"} <= layer.params.keys():
            layer.params["w_hl"][...] = 0
            layer.params["w_lh"][...] = 0


# --- separable convolutions --------------------------------------------------------------------------------------


def _separable(separable: bool, width: float) -> Variant:
    def make(classes: int, channels: int, size: tuple[int, int], rng: np.random.Generator) -> Sequential:
        if separable:
            return tiny_mobilenet(classes, channels, width=width, rng=rng)
        sizes = [max(1, round(width * number)) for number in (16, 32, 64, 64, 128)]
        blocks: dict[str, Layer] = {"stem": conv_block(channels, sizes[0], rng=rng, dtype=np.float32)}
        for place, stride in enumerate((1, 2, 1, 2), 1):
            blocks[f"block{place}"] = conv_block(
                sizes[place - 1], sizes[place], stride=stride, rng=rng, dtype=np.float32
            )
        return Sequential(**blocks, head=classifier(sizes[-1], classes, rng=rng, dtype=np.float32))

    series = "separable" if separable else "standard"
    return Variant(f"{series}, width {width:g}", {series: width}, make)


STUDIES: dict[str, Study] = {
    "width": Study(
        "does accuracy fall smoothly as a MobileNet gets thinner?",
        "MobileNets (arXiv 1704.04861), table 6",
        "width multiplier",
        tuple(map(_width, (0.25, 0.5, 0.75, 1.0, 1.5))),
        (Trend("width 1", "width 0.25"), Trend("width 0.75", "width 0.25")),
    ),
    "resolution": Study(
        "does accuracy fall smoothly as a MobileNet sees fewer pixels?",
        "MobileNets (arXiv 1704.04861), table 7",
        "resolution multiplier",
        tuple(map(_resolution, (0.5, 0.625, 0.75, 0.875, 1.0))),
        (Trend("resolution 1", "resolution 0.5"), Trend("resolution 0.75", "resolution 0.5")),
    ),
    "shuffle": Study(
        "do more groups help at equal cost, and is the shuffle what lets them?",
        "ShuffleNet (arXiv 1707.01083), tables 2 and 3",
        "groups",
        tuple(_shuffle(g, True) for g in SHUFFLE_GROUPS) + tuple(_shuffle(g, False) for g in SHUFFLE_GROUPS[1:]),
        (
            Trend("g = 3, with shuffle", "g = 1, with shuffle"),
            Trend("g = 3, with shuffle", "g = 3, without shuffle"),
            Trend("g = 8, with shuffle", "g = 8, without shuffle"),
        ),
    ),
    "ghost": Study(
        "how little is lost when cheap operations make part of the maps?",
        "GhostNet (arXiv 1911.11907), tables 1, 3 and 4",
        "ratio s, or cheap kernel d",
        (
            *(_ghost(ratio, 3) for ratio in (1, 2, 3, 4)),
            *(_ghost(2, kernel) for kernel in (1, 5)),
        ),
        (
            Trend("s = 2, d = 3", "s = 1, plain", within=0.02),
            Trend("s = 2, d = 3", "s = 2, d = 1"),
        ),
    ),
    "octave": Study(
        "do low frequencies need half the resolution only, and do the frequencies have to talk?",
        "Drop an Octave (arXiv 1904.05049), figures 4 and 5, table 2",
        "alpha",
        (*(_octave(alpha) for alpha in (0.0, 0.25, 0.5, 0.75)), _octave(0.25, False), _octave(0.5, False)),
        (
            Trend("alpha = 0.25, all paths", "alpha = 0, all paths", within=0.02),
            Trend("alpha = 0.5, all paths", "alpha = 0.5, without paths between frequencies"),
        ),
    ),
    "separable": Study(
        "what do separable convolutions lose for an eighth of the work?",
        "MobileNets (arXiv 1704.04861), table 4",
        "width multiplier",
        tuple(_separable(separable, width) for separable in (False, True) for width in (0.25, 0.5, 1.0)),
        (Trend("separable, width 1", "standard, width 1", within=0.02),),
    ),
}
