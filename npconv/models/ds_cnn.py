"""DS-CNN (Zhang et al., arXiv 1711.07128): MobileNet's separable blocks for keywords in a recording of one second."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import fraction, integer
from npconv.models.blocks import classifier, conv_block, dropout_layer
from npconv.models.mobilenet import separable_block
from npconv.nn import Sequential


def ds_cnn(
    num_classes: int = 12,
    in_channels: int = 1,
    *,
    stem_dropout: float = 0.2,
    dropout: float = 0.4,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """DS-CNN, the network of MLPerf Tiny for keyword spotting: separable blocks on 49 frames of 10 cepstral coefficients.

    ======== ================================ ======== ======== ========
    layer    what                             channels stride   output
    ======== ================================ ======== ======== ========
    stem     conv 10x4, batch norm, ReLU,     64       2        25x5
             dropout
    block1   separable block                  64       1        25x5
    block2   separable block                  64       1        25x5
    block3   separable block                  64       1        25x5
    block4   separable block                  64       1        25x5
    head     dropout, global average pool,    classes           1x1
             linear
    ======== ================================ ======== ======== ========

    Parameters
    ----------
    num_classes, in_channels : int
    stem_dropout, dropout : float in [0, 1)
        At the end of the stem and before the pool, by default the benchmark's; at 0 there is no such layer.
    rng, dtype
        As in `npconv.nn.Conv2d`.

    Returns
    -------
    Sequential, x (N, in_channels, 49, 10), or another size, to logits (N, num_classes)

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or out of range.

    Notes
    -----
    Zhang et al., "Hello Edge" (arXiv 1711.07128), in the form and with the padding ("same") and eps of the benchmark's Keras
    model. There the convolutions have biases too, which the batch norms take away again, and the pool leaves out the last
    of the 25 rows.

    Examples
    --------
    >>> import numpy as np
    >>> ds_cnn(rng=np.random.default_rng(0))(np.zeros((2, 1, 49, 10), np.float32)).shape
    (2, 12)
    """
    num_classes = integer("num_classes", num_classes, minimum=1)
    stem_dropout = fraction("stem_dropout", stem_dropout, below_one=True)
    dropout = fraction("dropout", dropout, below_one=True)
    made: dict[str, Any] = {"rng": rng, "dtype": dtype}
    options = {"padding": "same", "eps": 1e-3, **made}
    stem = conv_block(in_channels, 64, (10, 4), stride=2, **options)
    return Sequential(
        stem=Sequential(**stem.children(), **dropout_layer(stem_dropout, rng)),
        block1=separable_block(64, 64, **options),
        block2=separable_block(64, 64, **options),
        block3=separable_block(64, 64, **options),
        block4=separable_block(64, 64, **options),
        head=Sequential(**dropout_layer(dropout, rng), **classifier(64, num_classes, **made).children()),
    )
