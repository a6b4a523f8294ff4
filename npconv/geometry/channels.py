"""The papers' rules: which channels an octave map, a ghost convolution and a shuffle have, and which paths lead to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from npconv.geometry.checks import IntOrPair, Pair, fraction, integer, pair, shown, word
from npconv.geometry.convolution import Conv2dGeometry
from npconv.geometry.pooling import Pool2dGeometry


def octave_channels(channels: int, alpha: float) -> Pair:
    """(high, low) channels of an octave map: low = int(alpha * channels), high is the rest.

    Source: OctConv (arXiv 1904.05049), section 3.1; the rounding is the official code's.

    >>> octave_channels(10, 0.25)
    (8, 2)
    """
    channels = integer("channels", channels, minimum=1)
    low = int(fraction("alpha", alpha) * channels)
    return channels - low, low


class OctavePath(NamedTuple):
    """One way through an octave convolution: pool by a factor, convolve, repeat by a factor. 0 is high, 1 is low."""

    name: str
    source: int
    target: int
    pool: int
    repeat: int


_EQUATION_4 = (
    OctavePath("hh", 0, 0, 1, 1),
    OctavePath("hl", 0, 1, 2, 1),
    OctavePath("lh", 1, 0, 1, 2),
    OctavePath("ll", 1, 1, 1, 1),
)
_POOLED_FIRST = (
    OctavePath("hh", 0, 0, 2, 1),
    OctavePath("hl", 0, 1, 4, 1),
    OctavePath("lh", 1, 0, 1, 1),
    OctavePath("ll", 1, 1, 2, 1),
)


def octave_paths(stride: IntOrPair, stride_mode: str) -> tuple[tuple[OctavePath, ...], Pair]:
    """The paths of an octave convolution, and the stride of the convolution in each.

    Source: OctConv (arXiv 1904.05049), equation 4; for stride 2 in stride_mode "pool", the official code, which pools all
    that it reads and then convolves at stride 1.

    >>> paths, strides = octave_paths(2, "pool")
    >>> paths[2], strides  # the low map has the high output's size already
    (OctavePath(name='lh', source=1, target=0, pool=1, repeat=1), (1, 1))
    """
    word("stride_mode", stride_mode, "pool", "conv")
    strides = pair("stride", stride, minimum=1)
    if stride_mode == "conv" or strides == (1, 1):
        return _EQUATION_4, strides
    if strides != (2, 2):
        raise ValueError(f"stride must be 1 or 2 in stride_mode 'pool', got stride={shown(stride)}")
    return _POOLED_FIRST, (1, 1)


def octave_pooling(path: OctavePath, names: Collection[str], shape: tuple[int, ...]) -> tuple[int, Pool2dGeometry]:
    """How a path pools its source of that shape (N, C, H, W), and from which level: 1 is the source itself.

    At an odd border the last window is smaller: ceil mode, padding not counted. Where windows of 4 x 4 tile the map, and a path
    among `names` has pooled it by 2 already, they are windows of 2 x 2 of that, level 2.

    >>> high_to_low = octave_paths(2, "pool")[0][1]
    >>> octave_pooling(high_to_low, ("hh", "hl"), (1, 1, 8, 8))[0], octave_pooling(high_to_low, ("hl",), (1, 1, 8, 8))[0]
    (2, 1)
    """
    batch, channels, height, width = shape
    level = 2 if path.name == "hl" and path.pool == 4 and "hh" in names and not (height % 4 or width % 4) else 1
    pooled = batch, channels, -(-height // level), -(-width // level)
    return level, Pool2dGeometry.of(pooled, path.pool // level, ceil_mode=True)


def octave_joints(
    convolutions: Sequence[tuple[int, int, Conv2dGeometry]], channels: str
) -> list[tuple[list[int], Conv2dGeometry]]:
    """Which convolutions of an octave convolution are one with more `channels`, the name of a field: their places, and that one.

    Each is given with the map that it leads to, or comes from, and its factor there. Those that agree in all but their channels
    are one; channels that are in groups would have to be put side by side in each.
    """
    joints: dict[tuple[Any, ...], tuple[list[int], Conv2dGeometry]] = {}
    for place, (frequency, factor, geometry) in enumerate(convolutions):
        alone = place if geometry.groups > 1 else None
        key = frequency, factor, alone, geometry._replace(**{channels: 0})
        places, joint = joints.get(key, ([], geometry._replace(**{channels: 0})))
        joint = joint._replace(**{channels: getattr(joint, channels) + getattr(geometry, channels)})
        joints[key] = [*places, place], joint
    return list(joints.values())


def ghost_channels(out_channels: int, ratio: int) -> Pair:
    """(primary, cheap) channels of a ghost convolution: m = ceil(out_channels / ratio) primary maps, m * (ratio - 1) ghosts.

    Together they may be more than `out_channels`: the surplus ghosts are cut.
    Source: GhostNet (arXiv 1911.11907), section 3.1; the rounding is the official code's.

    >>> ghost_channels(15, 2)
    (8, 8)
    """
    out_channels = integer("out_channels", out_channels, minimum=1)
    ratio = integer("ratio", ratio, minimum=1)
    primary = -(-out_channels // ratio)
    return primary, primary * (ratio - 1)


def check_shuffle_groups(channels: int, groups: int) -> int:
    """`groups` as an int that divides `channels`."""
    channels = integer("channels", channels, minimum=0)
    groups = integer("groups", groups, minimum=1)
    if channels % groups:
        raise ValueError(f"groups must divide the channels, got groups={groups}, channels={channels}")
    return groups
