"""The papers' plug-and-play replacement: the convolutions of a model exchanged for ghost, octave or separable ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from npconv.geometry import check_rng, explicit_padding, flag, fraction, is_sequence, is_word, pair, shown, word
from npconv.nn.activations import HardSigmoid, HardSwish, ReLU, ReLU6
from npconv.nn.attention import SqueezeExcite
from npconv.nn.containers import Concat, Identity, Residual, Sequential
from npconv.nn.convolution import Conv2d, DepthwiseConv2d, PointwiseConv2d
from npconv.nn.ghost import GhostModule
from npconv.nn.layer import Layer
from npconv.nn.normalization import BatchNorm2d
from npconv.nn.octave import OctaveBatchNorm2d, OctaveConv2d, OctaveDepthwiseConv2d, PerFrequency
from npconv.nn.pooling import AvgPool2d, MaxPool2d

Kind: TypeAlias = Literal["ghost", "octave", "separable"]
Model = TypeVar("Model", bound=Layer)

# A layer in place of the one at this path, and how many of the layers after it, in its Sequential, that one took in.
_Replace: TypeAlias = Callable[[str, Layer, Sequence[Layer]], tuple[Layer, int]]

_OPTIONS: dict[str, dict[str, Any]] = {
    "ghost": {"ratio": 2, "cheap_kernel": 3},
    "octave": {"alpha": 0.5, "plain": (), "stride_mode": "pool"},
    "separable": {"activation": ReLU},
}
_CONVOLUTIONS: dict[str, tuple[type[Layer], ...]] = {
    "ghost": (Conv2d, PointwiseConv2d),
    "octave": (Conv2d, PointwiseConv2d, DepthwiseConv2d),
    "separable": (Conv2d,),
}


def replace_convs(
    model: Model,
    kind: Kind,
    *,
    keep: Sequence[str] = (),
    keep_first: bool = True,
    keep_pointwise: bool = False,
    rng: np.random.Generator,
    **options: Any,
) -> Model:
    """A new model: `model` with its standard convolutions replaced, as the papers do; `model` itself is left as it is.

    "ghost" (arXiv 1911.11907, section 3.1)
        Each `Conv2d` and `PointwiseConv2d` becomes a `GhostModule`. A batch norm directly after it, and a ReLU after that, are
        replaced, too, since the module has its own in each of its parts.
    "octave" (arXiv 1904.05049, section 3)
        Each `Conv2d`, `PointwiseConv2d` and `DepthwiseConv2d` becomes an octave one, and the layers between them work on
        each frequency; a squeeze-and-excite makes one gate of both. Some layers take a plain map only (a linear layer, a
        channel shuffle, a concatenation, a convolution that is kept): octave layers before them return a plain map, and
        those after them take one. So the model itself says which octave layer is the first and which the last. The branches
        of a sum return the same frequencies. As in the authors' code, a convolution of plain maps alone still follows
        `stride_mode`: at stride 2 they are pooled first.
    "separable" (arXiv 1704.04861, section 3.1)
        Each `Conv2d` whose kernel is not 1x1 becomes a depthwise convolution, batch norm, activation and pointwise
        convolution; the layers after it stay.

    New layers get new weights, drawn from `rng`; all other layers are copied with theirs. Only layers in a `Sequential`,
    `Residual` or `Concat` are replaced: a ghost module or a squeeze-and-excite keeps its own convolutions.

    Parameters
    ----------
    model : Layer
    kind : "ghost", "octave" or "separable"
    keep : sequence of str
        Convolutions that are not replaced: patterns of their dotted names (`fnmatch`: ``*`` is any text, dots too).
    keep_first : bool
        Whether the model's first convolution, which reads the image, is kept.
    keep_pointwise : bool
        Whether the 1x1 convolutions are kept.
    rng : numpy.random.Generator
    **options
        ghost: ``ratio`` 2 and ``cheap_kernel`` 3, as in `GhostModule`. octave: ``alpha`` 0.5, the share of the low
        frequency, which at 0 leaves the model as it is; ``plain``, patterns as in `keep` of the convolutions that give a
        plain map, none by default; ``stride_mode`` "pool", as in `OctaveConv2d`. separable: ``activation`` `ReLU`, a
        function that makes a layer.

    Returns
    -------
    A model of the same names and mode, where a layer that went into a ghost module is missing.

    Raises
    ------
    TypeError
        An argument of the wrong type, or an option that the kind does not have.
    ValueError
        There is nothing to replace, nothing that could have two frequencies, a pattern matches no convolution, or a
        convolution cannot be of that kind (groups or other padding than kernel // 2 in a ghost module, groups that do not
        divide a frequency's channels): its name is in the message, to be kept.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> plain = Sequential(conv=Conv2d(4, 8, 3, padding=1, bias=False, rng=rng), bn=BatchNorm2d(8), relu=ReLU())
    >>> replace_convs(plain, "separable", keep_first=False, rng=rng)
    Sequential
      conv: Sequential
        depthwise: DepthwiseConv2d(4, 3, padding=1, bias=False)
        bn: BatchNorm2d(4)
        activation: ReLU()
        pointwise: PointwiseConv2d(4, 8, bias=False)
      bn: BatchNorm2d(8)
      relu: ReLU()
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a Layer, got {type(model).__name__}")
    if not is_word(kind, _OPTIONS):
        raise ValueError(f"kind must be one of {', '.join(map(repr, _OPTIONS))}, got {shown(kind)}")
    for name in options:
        if name not in _OPTIONS[kind]:
            raise TypeError(f"the options of {kind!r} must be among {', '.join(_OPTIONS[kind])}, got {name}")
    check_rng(rng)
    replaced = _chosen(model, _CONVOLUTIONS[kind], keep, keep_first, keep_pointwise or kind == "separable")
    makers: dict[str, Callable[..., _Replace]] = {"ghost": _ghost, "octave": _octave, "separable": _separable}
    replace = makers[kind](model, replaced, rng, **(_OPTIONS[kind] | options))
    new, _ = _rebuilt(model, "", (), replace)
    return new.train() if model.training else new.eval()


# --- what all kinds share ----------------------------------------------------------------------------------------


def _parts(layer: Layer, path: str) -> Iterator[tuple[str, Layer]]:
    """(path, layer) of everything that a replacement looks at: what the three containers hold, and no deeper."""
    if not isinstance(layer, Sequential | Residual | Concat):
        yield path, layer
        return
    for name, child in layer.children().items():
        yield from _parts(child, _dotted(path, name))


def _chosen(
    model: Layer, kinds: tuple[type[Layer], ...], keep: Sequence[str], keep_first: bool, keep_pointwise: bool
) -> set[str]:
    """The paths of the convolutions to replace."""
    convolutions = {
        path: layer
        for path, layer in _parts(model, "")
        if isinstance(layer, Conv2d | PointwiseConv2d | DepthwiseConv2d)
    }
    kept = _matching("keep", keep, convolutions)
    chosen = {
        path
        for path, layer in list(convolutions.items())[1 if flag("keep_first", keep_first) else 0 :]
        if isinstance(layer, kinds)
        and path not in kept
        and not (flag("keep_pointwise", keep_pointwise) and _is_pointwise(layer))
    }
    if not chosen:
        raise ValueError("model must have a convolution to replace, got none that is not kept")
    return chosen


def _matching(name: str, patterns: Sequence[str], paths: Collection[str]) -> set[str]:
    """The paths that match one of the patterns, each of which must have one."""
    if not is_sequence(patterns) or not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(f"{name} must be a sequence of patterns, got {shown(patterns)}")
    found = {pattern: {path for path in paths if fnmatchcase(path, pattern)} for pattern in patterns}
    for pattern, matches in found.items():
        if not matches:
            raise ValueError(f"{name} must match the name of a convolution, got {pattern!r}")
    return set().union(*found.values())


def _rebuilt(layer: Layer, path: str, following: Sequence[Layer], replace: _Replace) -> tuple[Any, int]:
    """`layer` anew, its containers with what `replace` makes of their parts; and how many layers `following` it that took in."""
    children = layer.children()
    if isinstance(layer, Sequential):
        names, layers = list(children), list(children.values())
        parts: dict[str, Layer] = {}
        place = 0
        while place < len(layers):
            later = layers[place + 1 :]
            part, taken = _rebuilt(layers[place], _dotted(path, names[place]), later, replace)
            parts[names[place]] = part
            place += 1 + taken
        return Sequential(**parts), 0
    if isinstance(layer, Residual | Concat):
        branches = {name: _rebuilt(child, _dotted(path, name), (), replace)[0] for name, child in children.items()}
        return type(layer)(**branches), 0
    return replace(path, layer, following)


def _is_pointwise(layer: Layer) -> bool:
    return isinstance(layer, PointwiseConv2d) or (
        isinstance(layer, Conv2d) and pair("kernel", layer.kernel, minimum=1) == (1, 1)
    )


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# --- ghost -------------------------------------------------------------------------------------------------------


def _ghost(model: Layer, replaced: set[str], rng: np.random.Generator, *, ratio: int, cheap_kernel: int) -> _Replace:
    def replace(path: str, layer: Layer, following: Sequence[Layer]) -> tuple[Layer, int]:
        if path not in replaced or not isinstance(layer, Conv2d | PointwiseConv2d):
            return copy.deepcopy(layer), 0
        taken = 1 if following and isinstance(following[0], BatchNorm2d) else 0
        activation = len(following) > taken and isinstance(following[taken], ReLU)
        kernel = layer.kernel if isinstance(layer, Conv2d) else 1
        if isinstance(layer, Conv2d) and not _is_centred(layer):
            raise ValueError(
                f"a ghost module has padding kernel // 2 and no dilation, got {path}: {layer}, which must be kept"
            )
        if layer.groups != 1:
            raise ValueError(f"a ghost module has no groups, got {path}: {layer}, which must be kept")
        module = GhostModule(
            layer.in_channels,
            layer.out_channels,
            kernel,
            ratio=ratio,
            cheap_kernel=cheap_kernel,
            stride=layer.stride,
            activation=activation,
            rng=rng,
            dtype=layer.params["w"].dtype,
        )
        return module, taken + activation

    return replace


def _is_centred(layer: Conv2d) -> bool:
    """Whether its padding is kernel // 2, without dilation, for images of all sizes."""
    kernel, stride, dilation = (
        pair(name, getattr(layer, name), minimum=1) for name in ("kernel", "stride", "dilation")
    )
    if dilation != (1, 1) or (isinstance(layer.padding, str) and stride != (1, 1)):
        return False
    pads = explicit_padding(layer.padding, kernel, kernel, stride, dilation)
    return pads == tuple((size // 2, size // 2) for size in kernel)


# --- separable ---------------------------------------------------------------------------------------------------


def _separable(
    model: Layer, replaced: set[str], rng: np.random.Generator, *, activation: Callable[[], Layer]
) -> _Replace:
    def replace(path: str, layer: Layer, following: Sequence[Layer]) -> tuple[Layer, int]:
        if path not in replaced or not isinstance(layer, Conv2d):
            return copy.deepcopy(layer), 0
        if layer.groups != 1:
            raise ValueError(f"a separable convolution has no groups, got {path}: {layer}, which must be kept")
        made: dict[str, Any] = {"rng": rng, "dtype": layer.params["w"].dtype}
        depthwise = DepthwiseConv2d(
            layer.in_channels,
            layer.kernel,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            bias=False,
            **made,
        )
        return Sequential(
            depthwise=depthwise,
            bn=BatchNorm2d(layer.in_channels, dtype=made["dtype"]),
            activation=activation(),
            pointwise=PointwiseConv2d(layer.in_channels, layer.out_channels, bias=layer.bias, **made),
        ), 0

    return replace


# --- octave ------------------------------------------------------------------------------------------------------

# Layers without weights that do the same to each frequency. Whether pooled maps are still an octave apart, the next
# octave layer says, which knows their sizes.
_PER_FREQUENCY = (ReLU, ReLU6, HardSigmoid, HardSwish, AvgPool2d, MaxPool2d)


def _octave(
    model: Layer, replaced: set[str], rng: np.random.Generator, *, alpha: float, plain: Sequence[str], stride_mode: Any
) -> _Replace:
    alpha = fraction("alpha", alpha)
    word("stride_mode", stride_mode, "pool", "conv")
    frequencies = _Frequencies(model, replaced, _matching("plain", plain, replaced))
    if not any(frequencies.two(end) for ends in frequencies.ends.values() for end in ends):
        raise ValueError(
            "model must have a map that can be in two frequencies, from convolution to convolution, got none"
        )

    def replace(path: str, layer: Layer, following: Sequence[Layer]) -> tuple[Layer, int]:
        alpha_in, alpha_out = (alpha if frequencies.two(end) else 0 for end in frequencies.ends[path])
        pooled_first = path in replaced and stride_mode == "pool" and _has_stride(layer)
        if alpha == 0 or not (alpha_in or alpha_out or pooled_first):
            return copy.deepcopy(layer), 0
        try:
            return _octave_layer(layer, alpha_in, alpha_out, stride_mode, rng), 0
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    return replace


def _has_stride(layer: Layer) -> bool:
    return isinstance(layer, Conv2d | PointwiseConv2d | DepthwiseConv2d) and (
        pair("stride", layer.stride, minimum=1) != (1, 1)
    )


def _octave_layer(layer: Layer, alpha_in: float, alpha_out: float, stride_mode: Any, rng: np.random.Generator) -> Layer:
    """The layer that does to maps of these shares of low channels what `layer` does to plain ones."""
    if isinstance(layer, Conv2d | PointwiseConv2d | DepthwiseConv2d):
        options = {name: getattr(layer, name) for name in (*layer.options, "bias")}
        options |= {"stride_mode": stride_mode, "rng": rng, "dtype": layer.params["w"].dtype}
        if isinstance(layer, DepthwiseConv2d):
            return OctaveDepthwiseConv2d(
                layer.channels, layer.kernel, alpha=alpha_in, multiplier=layer.multiplier, **options
            )
        kernel = layer.kernel if isinstance(layer, Conv2d) else 1
        sizes = layer.in_channels, layer.out_channels, kernel
        return OctaveConv2d(*sizes, alpha_in=alpha_in, alpha_out=alpha_out, **options)
    if isinstance(layer, BatchNorm2d):
        same = {name: getattr(layer, name) for name in ("eps", "momentum", "momentum_convention", "unbiased")}
        return OctaveBatchNorm2d(layer.channels, alpha=alpha_in, **same, dtype=layer.params["gamma"].dtype)
    if isinstance(layer, SqueezeExcite):
        dtype = next(array.dtype for _, array in layer.named_params())
        return SqueezeExcite(layer.channels, layer.reduced, squash=layer.squash, rng=rng, dtype=dtype)
    if isinstance(layer, Identity):
        return Identity()
    return PerFrequency(copy.deepcopy(layer), copy.deepcopy(layer))


class _Frequencies:
    """Which maps of a model have two frequencies: all but those that must be plain.

    A map is a number. A convolution begins a new one, a layer that works on each frequency gives the one that it read, and
    a sum makes those of its branches one: they are joined, as in a union-find, and share a root.
    """

    def __init__(self, model: Layer, replaced: set[str], plain: set[str]) -> None:
        self._two_allowed = replaced - plain  # what a convolution at these paths gives
        self._replaced = replaced
        self._joined: list[int] = []  # map -> a map that it was joined to, itself where it is a root
        self._plain: list[int] = []
        self.ends: dict[str, tuple[int, int]] = {}  # of each part: the map that it reads, and the one that it gives
        self._plain.append(self._trace(model, "", self._new_plain()))
        self._plain_roots = {self._root(which) for which in self._plain}

    def two(self, which: int) -> bool:
        """Whether this map has two frequencies."""
        return self._root(which) not in self._plain_roots

    def _new(self) -> int:
        self._joined.append(len(self._joined))
        return self._joined[-1]

    def _new_plain(self) -> int:
        self._plain.append(self._new())
        return self._plain[-1]

    def _root(self, which: int) -> int:
        while self._joined[which] != which:
            which = self._joined[which]
        return which

    def _trace(self, layer: Layer, path: str, x: int) -> int:
        """The map that `layer` makes of the map x."""
        children = layer.children()
        if isinstance(layer, Sequential):
            for name, child in children.items():
                x = self._trace(child, _dotted(path, name), x)
            return x
        if isinstance(layer, Residual):
            main, shortcut = (self._trace(child, _dotted(path, name), x) for name, child in children.items())
            self._joined[self._root(main)] = self._root(shortcut)
            return main
        if isinstance(layer, Concat):  # plain outputs: the low channels of the whole need not be alpha of its channels
            self._plain += [self._trace(child, _dotted(path, name), x) for name, child in children.items()]
            return self._new_plain()
        y = self._traced_part(layer, path, x)
        self.ends[path] = x, y
        return y

    def _traced_part(self, layer: Layer, path: str, x: int) -> int:
        if path in self._replaced and not isinstance(layer, DepthwiseConv2d):
            return self._new() if path in self._two_allowed else self._new_plain()
        each = isinstance(layer, (*_PER_FREQUENCY, BatchNorm2d, SqueezeExcite, Identity))
        if isinstance(layer, DepthwiseConv2d):  # with a multiplier, the low channels again would not be alpha of all
            each = path in self._two_allowed and layer.multiplier == 1
        if each:
            return x
        self._plain.append(x)
        return self._new_plain()
