"""VGG-16 for CIFAR-10, and GhostNet's ablation on it (Han et al., arXiv 1911.11907)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import integer
from npconv.models.blocks import conv_chain
from npconv.nn import Flatten, GlobalAvgPool2d, Layer, Linear, MaxPool2d, ReLU, Sequential, replace_convs

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16_cifar(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """VGG-16 (Simonyan and Zisserman, arXiv 1409.1556) as it is used on CIFAR-10, for images of 32 x 32.

    ======== ================================ ============= ======
    layer    what                             channels      output
    ======== ================================ ============= ======
    stage1   2 times conv 3x3, batch norm,    64            32x32
             ReLU
    pool1    max pool 2x2                                   16x16
    stage2   2 times the same                 128           16x16
    pool2    max pool 2x2                                   8x8
    stage3   3 times the same                 256           8x8
    pool3    max pool 2x2                                   4x4
    stage4   3 times the same                 512           4x4
    pool4    max pool 2x2                                   2x2
    stage5   3 times the same                 512           2x2
    pool5    max pool 2x2                                   1x1
    head     global average pool, linear,     512           1x1
             ReLU,
             linear                           classes       1x1
    ======== ================================ ============= ======

    Parameters
    ----------
    num_classes, in_channels : int
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes), for H and W of at least 32

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range; in `forward`, images that the five pools leave nothing of.

    Notes
    -----
    GhostNet's numbers of parameters need the linear layer of 512 to 512; VGG's own ones, 4096 wide, are for ImageNet. The
    global average pool is the identity on 32 x 32 images.

    Examples
    --------
    >>> import numpy as np
    >>> vgg16_cifar(rng=np.random.default_rng(0)).parameter_count()
    14986698
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    net: dict[str, Layer] = {}
    into = in_channels
    for place, channels in enumerate(STAGES, 1):
        net[f"stage{place}"] = conv_chain(into, ((out, 1) for out in channels), **made)
        net[f"pool{place}"] = MaxPool2d(2)
        into = channels[-1]
    net["head"] = Sequential(
        pool=GlobalAvgPool2d(),
        flatten=Flatten(),
        linear1=Linear(into, 512, **made),
        relu=ReLU(),
        linear2=Linear(512, num_classes, **made),
    )
    return Sequential(**net)


def ghost_vgg16(
    ratio: int = 2,
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    cheap_kernel: int = 3,
    keep_first: bool = False,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Ghost-VGG-16 (GhostNet, arXiv 1911.11907, the ablations over s and d on CIFAR-10): `vgg16_cifar` with ghost modules for its convolutions.

    Parameters
    ----------
    ratio : int
        s: how many maps come of one convolution; 2, 3, 4 and 5 in the paper.
    num_classes, in_channels : int
    cheap_kernel : int
        d: of the depthwise convolutions; 1, 3, 5 and 7 in the paper.
    keep_first : bool
        Whether the first convolution stays one. All multiply-accumulates of the tables are those without it, though an
        author wrote that it was not touched.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, H, W) to logits (N, num_classes); its parts are those of `vgg16_cifar`

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> ghost_vgg16(rng=np.random.default_rng(0)).parameter_count()
    7650474
    """
    plain = vgg16_cifar(num_classes, in_channels, rng=rng, dtype=dtype)
    return replace_convs(plain, "ghost", ratio=ratio, cheap_kernel=cheap_kernel, keep_first=keep_first, rng=rng)
