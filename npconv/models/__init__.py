"""The papers' networks: one file each, with the paper's unit and networks made of it, and the baselines that they transform.

A unit is a function that makes a layer; so is a network, with ``num_classes``, ``in_channels``, ``rng`` and ``dtype`` among
its arguments. `NETWORKS` has all of them by the function's own name, which is their name everywhere, and `MODELS`
the tiny ones by their family, for images of 8x8 to 96x96 pixels. What all share, such as the stem and the classifier, is in `npconv.models.blocks`.
"""

from collections.abc import Callable
from os import PathLike
from typing import Any

from npconv.models.ds_cnn import ds_cnn
from npconv.models.ghostnet import ghost_bottleneck, ghostnet, ghostnet_channels, make_divisible, tiny_ghostnet
from npconv.models.loading import load_network, noted
from npconv.models.mobilenet import mobilenet_v1, scaled_channels, separable_block, tiny_mobilenet
from npconv.models.mobilenet_baselines import conv_mobilenet, shallow_mobilenet
from npconv.models.octconv import (
    oct_mobilenet_v1,
    oct_resnet,
    oct_resnet152_v1f,
    oct_resnext,
    octave_block,
    tiny_octave,
)
from npconv.models.resnet import basic_block, bottleneck_block, ghost_resnet50, resnet
from npconv.models.resnet_cifar import ghost_resnet56, resnet8, resnet_cifar, tiny_resnet
from npconv.models.shufflenet import shuffle_unit, shufflenet_v1, tiny_shufflenet
from npconv.models.vgg import ghost_vgg16, vgg16_cifar
from npconv.nn import Sequential

MODELS: dict[str, Callable[..., Sequential]] = {
    "mobilenet": tiny_mobilenet,
    "shufflenet": tiny_shufflenet,
    "ghostnet": tiny_ghostnet,
    "octave": tiny_octave,
    "resnet": tiny_resnet,
}

_NETWORKS: tuple[Callable[..., Sequential], ...] = (
    conv_mobilenet,
    ds_cnn,
    ghost_resnet50,
    ghost_resnet56,
    ghost_vgg16,
    ghostnet,
    mobilenet_v1,
    oct_mobilenet_v1,
    oct_resnet,
    oct_resnet152_v1f,
    oct_resnext,
    resnet,
    resnet8,
    resnet_cifar,
    shallow_mobilenet,
    shufflenet_v1,
    vgg16_cifar,
    *MODELS.values(),
)
NETWORKS: dict[str, Callable[..., Sequential]] = {network.__name__: network for network in _NETWORKS}


def load(
    path: str | PathLike[str], model: str | None = None, *, source: str | None = None, **options: Any
) -> Sequential:
    """A network with its weights, in evaluation mode, from a file: nothing is drawn, so no rng is needed.

    Parameters
    ----------
    path : path
        A safetensors file. One that `npconv train` wrote says which network it is for.
    model : str, optional
        One of `NETWORKS`, for a file that does not.
    source : str, optional
        Whose names the arrays have, as in `npconv.weights.load`.
    **options
        Of the network, as num_classes.

    Returns
    -------
    Sequential
        In evaluation mode.

    Raises
    ------
    ImportError
        safetensors is not installed.
    TypeError, ValueError
        No such file, network or option, or arrays of another network.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from npconv import models, weights
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     weights.save(models.tiny_resnet(3, rng=np.random.default_rng(0)), f"{folder}/w.safetensors")
    ...     models.load(f"{folder}/w.safetensors", "tiny_resnet", num_classes=3).head.linear
    Linear(32, 3)
    """
    return load_network(path, NETWORKS, model, source, **options)


__all__ = [
    "MODELS",
    "NETWORKS",
    "basic_block",
    "bottleneck_block",
    "conv_mobilenet",
    "ds_cnn",
    "ghost_bottleneck",
    "ghost_resnet50",
    "ghost_resnet56",
    "ghost_vgg16",
    "ghostnet",
    "ghostnet_channels",
    "load",
    "make_divisible",
    "mobilenet_v1",
    "noted",
    "oct_mobilenet_v1",
    "oct_resnet",
    "oct_resnet152_v1f",
    "oct_resnext",
    "octave_block",
    "resnet",
    "resnet8",
    "resnet_cifar",
    "scaled_channels",
    "separable_block",
    "shallow_mobilenet",
    "shuffle_unit",
    "shufflenet_v1",
    "tiny_ghostnet",
    "tiny_mobilenet",
    "tiny_octave",
    "tiny_resnet",
    "tiny_shufflenet",
    "vgg16_cifar",
]
