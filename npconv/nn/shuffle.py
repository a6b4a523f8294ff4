"""The channel shuffle as a layer."""

from __future__ import annotations

from npconv.geometry import integer
from npconv.nn.layer import OperatorLayer
from npconv.ops import channel_shuffle, channel_shuffle_backward


class ChannelShuffle(OperatorLayer):
    """The channels of each group dealt out to all groups: `npconv.channel_shuffle`, with its order.

    Parameters
    ----------
    groups : int
        Divides the channels of x.

    Raises
    ------
    TypeError, ValueError
        groups is no integer of at least 1; in `forward`, one that does not divide the channels.

    Examples
    --------
    >>> ChannelShuffle(3)
    ChannelShuffle(3)
    """

    operator = staticmethod(channel_shuffle)
    operator_backward = staticmethod(channel_shuffle_backward)
    options = ("groups",)

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = integer("groups", groups, minimum=1)
