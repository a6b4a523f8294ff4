"""Batch norm folded away: for inference it is a scale and a shift, which the convolution before it can do itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from npconv.nn.containers import Identity, Sequential
from npconv.nn.convolution import Conv2d, DepthwiseConv2d, PointwiseConv2d, SeparableConv2d
from npconv.nn.layer import Layer
from npconv.nn.normalization import BatchNorm2d
from npconv.nn.octave import OctaveConv2d, OctaveDepthwiseConv2d, PerFrequency

AnyLayer = TypeVar("AnyLayer", bound=Layer)

# What each convolution gives: the frequency (a plain array is a high map), the kernels that feed it, its bias. Repeating
# the pixels that come from below keeps a factor, so an octave batch norm scales every path into its frequency.
_PLAIN = (("high", ("w",), "b"),)
_OUTPUTS: dict[type[Layer], tuple[tuple[str, tuple[str, ...], str], ...]] = {
    Conv2d: _PLAIN,
    DepthwiseConv2d: _PLAIN,
    PointwiseConv2d: _PLAIN,
    SeparableConv2d: (("high", ("w_pointwise",), "b"),),
    OctaveConv2d: (("high", ("w_hh", "w_lh"), "b_high"), ("low", ("w_hl", "w_ll"), "b_low")),
    OctaveDepthwiseConv2d: (("high", ("w_hh",), "b_high"), ("low", ("w_ll",), "b_low")),
}


class _Place(NamedTuple):
    """A layer, the Sequential that it stands in, if any, and its name there."""

    container: Sequential | None
    name: str
    layer: Layer


def fold_batch_norm(model: AnyLayer) -> AnyLayer:
    """A copy of `model` in evaluation mode, each batch norm after a convolution folded into the convolution's kernel and bias.

    ``bn(conv(x)) = conv'(x)`` with ``scale = gamma / sqrt(running_var + eps)``, ``w' = scale * w`` per output channel and
    ``b' = beta + scale * (b - running_mean)``

    This needs a `Sequential`, however nested, that runs the batch norm after the convolution with nothing but identities
    between them. The batch norm is removed, and the other layers keep their names. Octave convolutions are folded per
    frequency. A batch norm after anything else stays.

    Parameters
    ----------
    model : layer
        Left as it is.

    Returns
    -------
    layer of the same type, equal to ``model.eval()`` but for rounding
        Training it further trains a network without those batch norms.

    Raises
    ------
    TypeError
        `model` is no layer.

    Notes
    -----
    Jacob et al. (arXiv 1712.05877), section 3.2 and equation 14.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv import nn
    >>> block = nn.Sequential(
    ...     conv=nn.Conv2d(3, 8, 3, bias=False, rng=np.random.default_rng(0)), bn=nn.BatchNorm2d(8), relu=nn.ReLU()
    ... )
    >>> nn.fold_batch_norm(block)
    Sequential
      conv: Conv2d(3, 8, 3)
      relu: ReLU()
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a Layer, got {type(model).__name__}")
    folded = copy.deepcopy(model).eval()
    for _, layer in folded.named_layers():
        layer.grads, layer._kept = {}, None  # the model's, of its last batch
    for chain in list(_chains(folded)):
        before: Layer | None = None
        for container, name, layer in chain:
            if container is not None and before is not None and _absorb(before, layer):
                del container._layers[name]
            elif not isinstance(layer, Identity):
                before = layer
    return folded


def _chains(layer: Layer) -> Iterator[list[_Place]]:
    """All stretches of layers in `layer` that run one after the other, nested Sequentials laid flat."""
    chain = list(_flat(None, "", layer))
    yield chain
    for _, _, part in chain:
        for child in part.children().values():
            yield from _chains(child)


def _flat(container: Sequential | None, name: str, layer: Layer) -> Iterator[_Place]:
    if not isinstance(layer, Sequential):
        yield _Place(container, name, layer)
        return
    for child_name, child in layer.children().items():
        yield from _flat(layer, child_name, child)


def _absorb(conv: Layer, bn: Layer) -> bool:
    """Make `conv` do what `bn` does after it; False, and nothing changes, where they are no convolution and batch norm."""
    parts: list[tuple[BatchNorm2d, list[str], str]] = []
    for frequency, names, bias in _OUTPUTS.get(type(conv), ()):
        kernels = [name for name in names if name in conv.params]
        if kernels:
            norm = getattr(bn, frequency) if isinstance(bn, PerFrequency) else bn
            if not isinstance(norm, BatchNorm2d):
                return False
            parts.append((norm, kernels, bias))
    for norm, kernels, bias in parts:
        _scale(conv, norm, kernels, bias)
    return bool(parts)


def _scale(conv: Any, bn: BatchNorm2d, kernels: list[str], bias: str) -> None:
    """Give the kernels that feed one output the batch norm's scale, and its bias the shift; in float64, rounded once."""
    gamma, beta = (bn.params[name].astype(np.float64) for name in ("gamma", "beta"))
    mean, var = (bn.buffers[name].astype(np.float64) for name in ("running_mean", "running_var"))
    scale = gamma / np.sqrt(var + bn.eps)
    for name in kernels:
        conv.params[name][...] = conv.params[name] * scale[:, None, None, None]
    shifted = beta + scale * (conv.params.get(bias, 0.0) - mean)
    conv.params[bias] = shifted.astype(conv.params[kernels[0]].dtype)
    conv.bias = True
