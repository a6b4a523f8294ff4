"""The papers' networks: one file each, with the paper's unit and networks made of it, and the baseline that they transform.

A unit is a function that makes a layer; so is a network, of ``(num_classes, in_channels, *, ..., rng, dtype)``. `MODELS` has
the tiny ones by name, for images of 8x8 to 96x96 pixels.
"""

from collections.abc import Callable

from npconv.models.ghostnet import ghost_bottleneck, make_divisible, tiny_ghostnet
from npconv.models.mobilenet import scaled_channels, separable_block, tiny_mobilenet
from npconv.models.octconv import octave_block, tiny_octave
from npconv.models.resnet import basic_block, tiny_resnet
from npconv.models.shufflenet import shuffle_unit, tiny_shufflenet
from npconv.nn import Sequential

MODELS: dict[str, Callable[..., Sequential]] = {
    "mobilenet": tiny_mobilenet,
    "shufflenet": tiny_shufflenet,
    "ghostnet": tiny_ghostnet,
    "octave": tiny_octave,
    "resnet": tiny_resnet,
}

__all__ = [
    "MODELS",
    "basic_block",
    "ghost_bottleneck",
    "make_divisible",
    "octave_block",
    "scaled_channels",
    "separable_block",
    "shuffle_unit",
    "tiny_ghostnet",
    "tiny_mobilenet",
    "tiny_octave",
    "tiny_resnet",
    "tiny_shufflenet",
]
