"""Squeeze and excite: channels weighted by what all pixels say."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from npconv.geometry import Array, integer, shown, word
from npconv.nn.activations import HardSigmoid, ReLU
from npconv.nn.containers import Sequential
from npconv.nn.convolution import PointwiseConv2d
from npconv.nn.layer import Layer, OperatorLayer
from npconv.nn.pooling import GlobalAvgPool2d
from npconv.ops import OctaveMap, global_avg_pool2d, global_avg_pool2d_backward, relu6, relu6_backward
from npconv.ops.branches import scale_channels, scale_channels_gate_grad

Squash: TypeAlias = Literal["hard_sigmoid", "clip"]


def _unit_clip(x: Array) -> Array:
    return relu6(6 * x) / 6


def _unit_clip_backward(dy: Array, x: Array) -> Array:
    return relu6_backward(dy, 6 * x)


class UnitClip(OperatorLayer):
    """``min(max(x, 0), 1) = relu6(6 * x) / 6``, up to rounding.

    >>> import numpy as np
    >>> UnitClip()(np.array([-1.0, 0.25, 2.0]))
    array([0.  , 0.25, 1.  ])
    """

    operator = staticmethod(_unit_clip)
    operator_backward = staticmethod(_unit_clip_backward)


_SQUASHES: dict[str, type[Layer]] = {"hard_sigmoid": HardSigmoid, "clip": UnitClip}


class SqueezeExcite(Layer):
    """Each channel times a gate in [0, 1] made of all channels' means: ``y = x * gate(x)``.

    ``gate = squash(expand(relu(reduce(global_avg_pool2d(x)))))``, reduce and expand being pointwise convolutions with bias,
    from `channels` to `reduced` and back. Of an `npconv.OctaveMap` one gate is made, of the means of all channels, high
    ones first, and dealt out to the two maps.

    Parameters
    ----------
    channels, reduced : int
    squash : "hard_sigmoid" or "clip"
        What brings the gate into [0, 1]: `HardSigmoid`, as in GhostNet's PyTorch code, or ``min(max(v, 0), 1)``, as in its
        TensorFlow code.
    rng, dtype
        As in `Conv2d`.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or below 1, or no such squash.

    Notes
    -----
    Squeeze-and-Excitation (arXiv 1709.01507), section 3, where the gate is a sigmoid; in two frequencies as in the authors'
    code of Drop an Octave (arXiv 1904.05049). Child: ``gate``, with ``pool``, ``reduce``, ``relu``, ``expand`` and one that
    is called as `squash` is.

    Examples
    --------
    >>> import numpy as np
    >>> SqueezeExcite(8, 2, rng=np.random.default_rng(0)).parameter_count()  # 8 * 2 + 2 + 2 * 8 + 8
    42
    >>> SqueezeExcite(8, 2, squash="clip", rng=np.random.default_rng(0))
    SqueezeExcite(8, 2, squash='clip')
      gate: Sequential
        pool: GlobalAvgPool2d()
        reduce: PointwiseConv2d(8, 2)
        relu: ReLU()
        expand: PointwiseConv2d(2, 8)
        clip: UnitClip()
    """

    def __init__(
        self,
        channels: int,
        reduced: int,
        *,
        squash: Squash = "hard_sigmoid",
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        word("squash", squash, *_SQUASHES)
        self.channels = integer("channels", channels, minimum=1)
        self.reduced = integer("reduced", reduced, minimum=1)
        self.squash = squash
        self.gate = Sequential(
            pool=GlobalAvgPool2d(),
            reduce=PointwiseConv2d(channels, reduced, rng=rng, dtype=dtype),
            relu=ReLU(),
            expand=PointwiseConv2d(reduced, channels, rng=rng, dtype=dtype),
            **{squash: _SQUASHES[squash]()},
        )

    def forward(self, x: Any) -> Any:
        maps, seen = _maps(x), x
        if isinstance(x, tuple):  # the gate pools these means once more, which leaves them as they are
            seen = np.concatenate([global_avg_pool2d(part) for part in maps], axis=1)
        gates = _split(self.gate(seen), maps)
        self._keep(x, gates)
        return _like(x, [scale_channels(part, gate) for part, gate in zip(maps, gates, strict=True)])

    def backward(self, dy: Any) -> Any:
        """x is read twice, by the product and by the gate; a gate's gradient gathers all pixels of its plane."""
        x, gates = self._recall()
        if _shapes(dy) != _shapes(x):
            raise ValueError(f"dy must have the shape of x, {_shapes(x)}, got {_shapes(dy)}")
        maps, dmaps = _maps(x), _maps(dy)
        dgates = [scale_channels_gate_grad(dpart, part) for dpart, part in zip(dmaps, maps, strict=True)]
        dseen = _split(self.gate.backward(np.concatenate(dgates, axis=1)), maps)
        if isinstance(x, tuple):
            dseen = [global_avg_pool2d_backward(dmean, part) for dmean, part in zip(dseen, maps, strict=True)]
        return _like(x, [scale_channels(*parts) for parts in zip(dmaps, gates, dseen, strict=True)])


def _maps(x: Any) -> list[Array]:
    """The maps that are there: one of a plain map, one or two of an octave map."""
    if isinstance(x, tuple) and (len(x) != 2 or (x[0] is None and x[1] is None)):
        raise ValueError(f"x must be a map, or an OctaveMap of one or two maps, got {shown(x)}")
    return [part for part in x if part is not None] if isinstance(x, tuple) else [x]


def _like(x: Any, maps: list[Array]) -> Any:
    """`maps` in the places of those of x."""
    parts = iter(maps)
    return OctaveMap(*(None if part is None else next(parts) for part in x)) if isinstance(x, tuple) else maps[0]


def _shapes(x: Any) -> Any:
    return tuple(None if part is None else np.shape(part) for part in x) if isinstance(x, tuple) else np.shape(x)


def _split(array: Array, maps: list[Array]) -> list[Array]:
    """The channels of each of `maps` in `array`, which has those of all."""
    return np.split(array, np.cumsum([part.shape[1] for part in maps[:-1]]), axis=1)
