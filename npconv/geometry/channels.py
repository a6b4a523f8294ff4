"""The papers' rules: how many channels an octave map, a ghost convolution and a shuffle have."""

from __future__ import annotations

from npconv.geometry.checks import Pair, fraction, integer


def octave_channels(channels: int, alpha: float) -> Pair:
    """(high, low) channels of an octave map: low = int(alpha * channels), high is the rest.

    Source: OctConv (arXiv 1904.05049), section 3.1; the rounding is the official code's.

    >>> octave_channels(10, 0.25)
    (8, 2)
    """
    channels = integer("channels", channels, minimum=1)
    low = int(fraction("alpha", alpha) * channels)
    return channels - low, low


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
