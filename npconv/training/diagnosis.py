"""Where numbers stopped being finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npconv.geometry import Array
from npconv.nn import Layer, watch_layers


def first_nonfinite(model: Layer, x: Array) -> str:
    """The first thing that is not finite when `model` runs on x, in words with its statistics.

    The images, a parameter, or the output of a layer that has no layers in it. Batch norms run their statistics along.

    Parameters
    ----------
    model : Layer
    x : array (N, C, H, W), or whatever the model takes
        Of the model's dtype.

    Returns
    -------
    str

    Raises
    ------
    TypeError, ValueError
        The model does not take x.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv import nn
    >>> net = nn.Sequential(relu=nn.ReLU(), head=nn.Linear(2, 1, rng=np.random.default_rng(0)))
    >>> net.head.params["b"][...] = np.inf
    >>> first_nonfinite(net, np.ones((1, 2), np.float32))
    'the parameter head.b: 1 of 1 numbers are not finite'
    """
    if not np.isfinite(x).all():
        return f"the images: {_statistics(x)}"
    for name, array in model.named_params():
        if not np.isfinite(array).all():
            return f"the parameter {name}: {_statistics(array)}"
    paths = {id(layer): path for path, layer in model.named_layers()}
    found: list[str] = []

    def watch(layer: Layer, forward: Callable[[Any], Any], maps: Any) -> Any:
        y = forward(maps)
        for part in y if isinstance(y, tuple) else (y,):
            if not found and part is not None and not np.isfinite(part).all():
                found.append(f"the output of {paths.get(id(layer), type(layer).__name__)}: {_statistics(part)}")
        return y

    with watch_layers(watch), np.errstate(all="ignore"):  # a layer that holds others ends after them
        model(x)
    return found[0] if found else "the loss alone: the logits are finite"


def _statistics(array: Array) -> str:
    finite = array[np.isfinite(array)].astype(np.float64)
    text = f"{array.size - finite.size} of {array.size} numbers are not finite"
    if not finite.size:
        return text
    return f"{text}, the others from {finite.min():.3g} to {finite.max():.3g} with mean {finite.mean():.3g}"
