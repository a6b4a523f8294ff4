"""What a network makes of images, when nothing is to be learned from them."""

from __future__ import annotations

import numpy as np

from npconv.geometry import Array, check_array, integer
from npconv.nn.fold import fold_batch_norm
from npconv.nn.layer import Layer


def predict(model: Layer, images: Array, *, batch: int = 32) -> Array:
    """What `model` makes of `images` in evaluation mode, batch norms folded: (N, K) logits from (N, C, H, W) images.

    Parameters
    ----------
    model : layer
        Left as it is, its mode included. To predict often, fold once: `npconv.nn.fold_batch_norm`.
    images : array (N, C, H, W)
        Of the model's dtype, prepared as its training images were.
    batch : int
        At most how many images are worked on at a time.

    Returns
    -------
    array (N, K), or whatever shape the model gives; N >= 1

    Raises
    ------
    TypeError, ValueError
        No layer, no image, a batch below 1, images that the model does not take.

    Examples
    --------
    >>> from npconv import models, nn
    >>> model = models.tiny_mobilenet(rng=np.random.default_rng(0))
    >>> nn.predict(model, np.zeros((3, 1, 8, 8), np.float32), batch=2).shape
    (3, 10)
    """
    count = check_array("images", images, "NCHW")[0]
    batch = integer("batch", batch, minimum=1)
    if count == 0:
        raise ValueError("images must hold at least one image, got none")
    folded = fold_batch_norm(model)
    return np.concatenate([folded(images[start : start + batch]) for start in range(0, count, batch)])
