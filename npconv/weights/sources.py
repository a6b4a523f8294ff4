"""What others call the arrays of the same networks: one table for each source, and the one function that reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from npconv.geometry import FLOAT_DTYPES, Array, shown, some
from npconv.nn import ChannelShuffle, Layer, PointwiseConv2d


class Source(NamedTuple):
    """A publisher of weights: which network they are for, and what its arrays are called there.

    Attributes
    ----------
    network : str
        The call that makes the network; num_classes, in_channels, rng and dtype come on top.
    names : tuple of (pattern, replacement)
        Regular expressions that turn the name of an array here into the name there, applied one after the other.
    ignored : str
        A regular expression for the names there that mean nothing here.
    shuffled : str
        A regular expression for the names here whose channels stand before the channel shuffle there, behind it here.
    """

    network: str
    names: tuple[tuple[str, str], ...]
    ignored: str = r"num_batches_tracked$"
    shuffled: str = r"(?!)"  # none

    def name_there(self, name: str) -> str:
        """What the array that is called `name` here is called there.

        >>> SOURCES["torchvision/resnet"].name_there("stage1.0.sum.main.bn1.gamma")
        'layer1.0.bn1.weight'
        """
        for pattern, replacement in self.names:
            name = re.sub(pattern, replacement, name)
        return name


def _numbered(ours: str, theirs: str, *counts: int) -> Iterator[tuple[str, str]]:
    """Rows for the layers ours1, ours2, ..., which are theirs0.0, theirs0.1, ... there, `counts` of them in each stage."""
    place = 0
    for stage, count in enumerate(counts):
        for unit in range(count):
            place += 1
            yield rf"^{ours}{place}\.", f"{theirs}.{stage}.{unit}."


def _features(*counts: int) -> Iterator[tuple[str, str]]:
    """Rows for the units stage2.0, stage2.1, ..., stage3.0, ..., which are numbered throughout there."""
    for stage, count in enumerate(counts):
        for unit in range(count):
            yield rf"^stage{stage + 2}\.{unit}\.(sum|concat)\.main\.", f"features.{sum(counts[:stage]) + unit}."


_PYTORCH = ((r"\.(w|gamma)$", ".weight"), (r"\.(b|beta)$", ".bias"))

_MOBILENET = (
    (r"^stem\.conv\.", "conv_stem."),
    (r"^stem\.bn\.", "bn1."),
    *_numbered("block", "blocks", 1, 2, 2, 6, 2),
    (r"\.depthwise\.", ".conv_dw."),
    (r"\.pointwise\.", ".conv_pw."),
    (r"^head\.linear\.", "classifier."),
    *_PYTORCH,
)

_GHOSTNET = (
    (r"^stem\.conv\.", "conv_stem."),
    (r"^stem\.bn\.", "bn1."),
    *_numbered("block", "blocks", 1, 1, 1, 1, 1, 1, 5, 1, 4),
    (r"\.main\.expand\.", ".ghost1."),
    (r"\.main\.project\.", ".ghost2."),
    (r"\.primary\.conv\.", ".primary_conv.0."),
    (r"\.primary\.bn\.", ".primary_conv.1."),
    (r"\.cheap\.conv\.", ".cheap_operation.0."),
    (r"\.cheap\.bn\.", ".cheap_operation.1."),
    (r"\.main\.depthwise\.", ".conv_dw."),
    (r"\.main\.bn\.", ".bn_dw."),
    (r"\.main\.squeeze_excite\.gate\.", ".se.conv_"),
    (r"\.shortcut\.depthwise\.", ".shortcut.0."),
    (r"\.shortcut\.bn1\.", ".shortcut.1."),
    (r"\.shortcut\.pointwise\.", ".shortcut.2."),
    (r"\.shortcut\.bn2\.", ".shortcut.3."),
    (r"^conv\.pointwise\.", "blocks.9.0.conv."),
    (r"^conv\.bn\.", "blocks.9.0.bn1."),
    (r"^head\.pointwise\.", "conv_head."),
    (r"^head\.linear\.", "classifier."),
    *_PYTORCH,
)

_RESNET = (
    (r"^stem\.conv\.", "conv1."),
    (r"^stem\.bn\.", "bn1."),
    (r"^stage(\d)\.(\d+)\.sum\.", r"layer\1.\2."),
    (r"\.main\.", "."),
    (r"\.shortcut\.conv\.", ".downsample.0."),
    (r"\.shortcut\.bn\.", ".downsample.1."),
    (r"^head\.linear\.", "fc."),
    *_PYTORCH,
)

_SHUFFLENET = (
    (r"^stem\.conv\.", "first_conv.0."),
    (r"^stem\.bn\.", "first_conv.1."),
    *_features(4, 8, 4),
    (r"\.compress\.", ".branch_main_1.0."),
    (r"\.bn1\.", ".branch_main_1.1."),
    (r"\.depthwise\.", ".branch_main_1.3."),
    (r"\.bn2\.", ".branch_main_1.4."),
    (r"\.expand\.", ".branch_main_2.0."),
    (r"\.bn3\.", ".branch_main_2.1."),
    (r"^head\.linear\.", "classifier.0."),
    *_PYTORCH,
)

_OCTAVE = (
    (r"^stem\.conv\.", "conv1."),
    (r"^stem\.bn\.", "bn1."),
    (r"^stage(\d)\.(\d+)\.sum\.", r"layer\1.\2."),
    (r"\.main\.conv(\d)\.", r".conv\1.conv."),
    (r"\.main\.bn(\d)\.", r".conv\1.bn."),
    (r"\.shortcut\.(conv|bn)\.", r".downsample.0.\1."),
    (r"\.w_([hl])([hl])$", r".conv_\g<1>2\2.weight"),  # hl is h2l there
    (r"(?<=\.conv)\.w$", ".conv_h2h.weight"),  # stage4 is plain
    (r"(layer.*\.bn)\.high\.", r"\1_h."),
    (r"(layer.*\.bn)\.low\.", r"\1_l."),
    (r"(layer.*\.bn)\.(?=gamma|beta|running)", r"\1_h."),
    (r"^head\.linear\.", "fc."),
    *_PYTORCH,
)

SOURCES: dict[str, Source] = {
    "timm/mobilenetv1": Source("mobilenet_v1(padding=1, eps=1e-5)", _MOBILENET),
    "timm/ghostnet": Source("ghostnet(width)", _GHOSTNET),
    "huawei-noah/ghostnet": Source("ghostnet(width)", _GHOSTNET),  # timm kept the authors' names
    "torchvision/resnet": Source("resnet(depth)", _RESNET),
    "megvii/shufflenet_v1": Source(
        'shufflenet_v1(groups, scale, shuffle="inverse", fc_bias=False)',
        _SHUFFLENET,
        shuffled=r"^stage.*\.(depthwise|bn2)\.",
    ),
    "d-li14/octconv.pytorch": Source('oct_resnet(depth, version="v1")', _OCTAVE),
}


def load_state_dict(
    model: Layer, state: Mapping[str, Any], source: str | Mapping[str, str] | None = None
) -> dict[str, str]:
    """Copy the arrays of another package's model into `model`, all of them or none.

    Parameters
    ----------
    model : layer
        Made by the call that ``SOURCES[source].network`` says, where that is one of them.
    state : mapping of str to array
        The other model's arrays by their names there, or its tensors: ``other.state_dict()``. A ``module.`` before all names
        is what PyTorch's data parallelism leaves, and is taken off.
    source : str or mapping, optional
        One of `SOURCES`, or the names there by the names here. By default the names there are npconv's own, or as PyTorch's
        layers are called where they are the same otherwise: ``weight`` for ``w`` and ``gamma``, ``bias`` for ``b`` and ``beta``.

    Returns
    -------
    dict of str to str
        What each array of `model` is called there.

    Raises
    ------
    TypeError
        An array is no array of floats.
    ValueError
        No such source, or the names and shapes are not the model's; the message names keys that are missing, extra or of
        another shape, by their names there, and the model is as it was. Also where a ShuffleNet for Megvii's weights does
        not have the inverse shuffle.

    Notes
    -----
    The arrays get the model's dtype. In Megvii's ShuffleNet V1 the shuffle is the inverse of the paper's, and stands behind
    the depthwise convolution instead of before it. The latter is the same network with the depthwise kernels and their
    batch norm shuffled too, which is done here; the former is not: `model` must be made with ``shuffle="inverse"``.

    Examples
    --------
    >>> from npconv import nn
    >>> head = nn.Sequential(fc=nn.Linear(2, 1, rng=np.random.default_rng(0)))
    >>> load_state_dict(head, {"module.fc.weight": np.ones((1, 2), np.float32), "module.fc.bias": np.zeros(1, np.float32)})
    {'fc.w': 'fc.weight', 'fc.b': 'fc.bias'}
    """
    state = _without_module(state)
    own = model.state()
    table = _table(source, own, state)
    theirs = {name: table.name_there(name) for name in own}
    if isinstance(source, Mapping):
        theirs |= {name: there for name, there in source.items() if name in own}
    known = set(theirs.values())
    arrays = {key: _as_array(key, array) for key, array in state.items() if key in known}
    problems = {
        "missing": [key for key in theirs.values() if key not in arrays],
        "extra": [key for key in state if key not in known and not re.search(table.ignored, key)],
        "of another shape": [
            f"{key} is {arrays[key].shape} for {own[name].shape}"
            for name, key in theirs.items()
            if key in arrays and arrays[key].shape != own[name].shape
        ],
    }
    if any(problems.values()):
        listed = "; ".join(f"{kind}: {some(keys)}" for kind, keys in problems.items() if keys)
        raise ValueError(f"the arrays must be those of {table.network}, got {listed}")
    shuffles = {name: _inverse_shuffle(model, name) for name in own if re.search(table.shuffled, name)}
    with np.errstate(over="ignore"):  # it is found below
        converted = {name: arrays[theirs[name]].astype(array.dtype) for name, array in own.items()}
    check_numbers({theirs[name]: array for name, array in converted.items()})
    model.load_state({name: _shuffled(array, shuffles.get(name, 1)) for name, array in converted.items()})
    return theirs


def check_numbers(state: Mapping[str, Array]) -> None:
    """Raise ValueError for an array that no training leaves: one with a NaN or an infinity, or a negative running variance."""
    for name, array in state.items():
        if array.dtype not in FLOAT_DTYPES:
            continue
        wrong = array.size - np.count_nonzero(np.isfinite(array))
        if wrong:
            raise ValueError(
                f"{name} must be finite in {array.dtype}, got {wrong} of {array.size} numbers that are not"
            )
        if name.endswith("running_var") and array.min(initial=0) < 0:
            raise ValueError(f"{name} must be at least 0, got {array.min()}")


_OWN = Source("this network", ())
_AS_PYTORCH = Source("this network", _PYTORCH)


def _table(source: str | Mapping[str, str] | None, own: Mapping[str, Array], state: Mapping[str, Any]) -> Source:
    """The names of `source`; without one, PyTorch's where more of them are there than of our own."""
    if isinstance(source, str):
        if source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
        table = SOURCES[source]
        return table._replace(network=f"{source} for {table.network}")
    found = [sum(table.name_there(name) in state for name in own) for table in (_OWN, _AS_PYTORCH)]
    return _AS_PYTORCH if found[1] > found[0] else _OWN


def _without_module(state: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a mapping of names to arrays, got {type(state).__name__}")
    for key in state:
        if not isinstance(key, str):
            raise TypeError(f"the names of arrays must be texts, got {shown(key)}")
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): array for key, array in state.items()}
    return state


def _as_array(key: str, array: Any) -> Array:
    """An array of floats; a tensor of PyTorch's or TensorFlow's as one."""
    if not isinstance(array, np.ndarray) and hasattr(array, "numpy"):
        if hasattr(array, "detach"):
            array = array.detach().cpu()
            array = array.float() if "bfloat16" in str(array.dtype) else array  # of which NumPy has none
            if "float8" in str(array.dtype):
                raise TypeError(
                    f"{key} must be of floats of at least 16 bits, got {array.dtype}: tensor.float() makes them"
                )
        array = array.numpy()
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{key} must be an array of floats, got {type(array).__name__}: tensor.numpy() makes one")
    if array.dtype not in FLOAT_DTYPES:
        raise TypeError(f"{key} must be an array of floats, got {array.dtype}")
    return array


def _inverse_shuffle(model: Layer, name: str) -> int:
    """The groups of the shuffle before the layer that has the array `name`, which must be the inverse of the paper's."""
    layers = dict(model.named_layers())
    branch = name.rsplit(".", 2)[0]
    expand, shuffle = layers[f"{branch}.expand"], layers.get(f"{branch}.shuffle")
    if not isinstance(expand, PointwiseConv2d) or not isinstance(shuffle, ChannelShuffle):
        raise ValueError(
            f"model must have a channel shuffle and a pointwise convolution after it, got others in {branch}"
        )
    inverse = expand.in_channels // expand.groups
    if shuffle.groups != inverse:
        raise ValueError(
            f"model must be made with shuffle='inverse', as these weights were trained with, got {branch}.shuffle = {shuffle} "
            f"for ChannelShuffle({inverse})"
        )
    return inverse


def _shuffled(array: Array, groups: int) -> Array:
    """`npconv.channel_shuffle` of the first axis."""
    return array.reshape(groups, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)
