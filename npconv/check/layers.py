"""The layers of the papers' networks as problems: walked, each kind once, capped in size or as large as they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from npconv import costs, models
from npconv.backends import divert, watch_layers
from npconv.check.case import divisible
from npconv.geometry import Array
from npconv.nn import BatchNorm2d, DepthwiseConv2d, GhostModule, Layer, PointwiseConv2d
from npconv.ops import OctaveBias, OctaveMap, OctaveWeight
from npconv.testing import Problem, Tree, map_arrays
from npconv.testing.problem import signature

# What a layer is cut to: its kernel, stride, padding and ratios are what makes it hard, not how many channels there are.
MOST_PIXELS = 15  # per axis; odd sizes stay odd, so the floor case stays one
MOST_CHANNELS = 24  # per group
MOST_GROUPS = 8

_Call: TypeAlias = tuple[str, tuple[Tree, ...], dict[str, Any]]

_NETWORKS: dict[str, Callable[..., Layer]] = {
    "mobilenet_v1": models.mobilenet_v1,
    "shufflenet_v1": models.shufflenet_v1,
    "shufflenet_v1 (8 groups)": functools.partial(models.shufflenet_v1, 8),
    "oct_resnet50": models.oct_resnet,
    "oct_resnext50": models.oct_resnext,
    "oct_mobilenet_v1": models.oct_mobilenet_v1,
    "ghostnet": models.ghostnet,
    "ghost_resnet50": models.ghost_resnet50,
}


def layers(op: str, *, capped: bool = True) -> list[tuple[str, Problem]]:
    """(network and path, problem) of every kind of layer that calls `op` for an image of 224 x 224; all numbers are 0."""
    return [
        (label, problem)
        for label, problem in _every_layer(capped)
        if problem.op == op and (op != "conv2d" or problem.args[1].shape[2:] != (1, 1))  # these are pointwise ones
    ]


@functools.cache
def _every_layer(capped: bool) -> list[tuple[str, Problem]]:
    found: dict[str, tuple[str, Problem]] = {}
    for name, network in _NETWORKS.items():
        for path, (op, args, options) in _calls(network(rng=_Zeros(np.random.PCG64(0))).eval()):
            problem = divisible(Problem(op, *(_capped(op, args, options) if capped else (args, options))))
            shapes = map_arrays(np.shape, problem.args)
            found.setdefault(repr((op, shapes, problem.options)), (f"{name}: {path}", problem))
    return list(found.values())


class _Zeros(np.random.Generator):
    """Draws zeros, which take neither time nor, until they are written to, memory: only shapes are wanted."""

    def standard_normal(self, size: Any = None, *_: Any, **__: Any) -> Any:
        return np.zeros(size)


def _calls(network: Layer) -> list[tuple[str, _Call]]:
    """The operators that the layers of `network` call on one image, each with the layer's path; nothing is computed."""
    calls: list[tuple[str, _Call]] = []

    paths = {id(layer): path for path, layer in network.named_layers()}

    def watched(layer: Layer, forward: Callable[[Any], Any], x: Any) -> Any:
        calls.extend((paths[id(layer)], call) for call in _calls_of(layer, x))
        return forward(x)

    with divert(costs.zeros_of), watch_layers(watched):
        network(np.zeros((1, 3, 224, 224), np.float32))
    return calls


def _calls_of(layer: Any, x: Tree) -> Iterator[_Call]:
    """What `layer` calls by itself; a depthwise separable block and a ghost module are also called as the one operator."""
    parts: dict[str, Any] = layer.children()
    if isinstance(layer, GhostModule) and "cheap" in parts:
        primary, cheap = parts["primary"].children()["conv"], parts["cheap"].children()["conv"]
        options = {name: getattr(primary, name) for name in primary.options} | {"out_channels": layer.out_channels}
        yield "ghost_conv2d", (x, primary.params["w"], cheap.params["w"]), options
    elif isinstance(parts.get("depthwise"), DepthwiseConv2d) and isinstance(parts.get("pointwise"), PointwiseConv2d):
        depthwise, pointwise = parts["depthwise"], parts["pointwise"]
        options = {name: getattr(depthwise, name) for name in depthwise.options}
        yield "separable_conv2d", (x, depthwise.params["w"], pointwise.params["w"], None), options
    elif isinstance(layer, BatchNorm2d):
        statistics = layer.buffers["running_mean"], layer.buffers["running_var"]
        yield "batch_norm2d", (x, layer.params["gamma"], layer.params["beta"], *statistics), {"eps": layer.eps}
    elif hasattr(layer, "operator"):
        op = layer.operator.__name__
        if op.startswith("octave"):
            paths = OctaveWeight(*(layer.params.get(f"w_{path}") for path in OctaveWeight._fields))
            biases = OctaveBias(*(layer.params.get(f"b_{name}") for name in OctaveBias._fields))
            args = (x if isinstance(x, tuple) else OctaveMap(x, None), paths, biases if layer.bias else None)
        else:
            positional = [
                name
                for name, parameter in signature(op).parameters.items()
                if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name not in layer.options
            ]
            args = (x, *(layer.params.get(name) for name in positional[1:]))
        yield op, args, {name: getattr(layer, name) for name in layer.options}


def _capped(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[tuple[Tree, ...], dict[str, Any]]:
    """The same call on fewer pixels, channels and groups: nothing but the shapes of `args` is read."""
    if op.startswith("octave"):
        return _capped_octave(args, options)
    x, *others = args
    batch, channels, *size = x.shape
    size = [_fewer(length, MOST_PIXELS) for length in size]
    if op == "conv2d" or op == "pointwise_conv2d":
        w, b = others
        x_channels, w_shape, groups = _capped_kernel(w, options["groups"])
        shapes = [w_shape, None if b is None else w_shape[:1]]
        options = options | {"groups": groups}
    elif op == "ghost_conv2d":
        primary, cheap = others
        x_channels, w_shape, groups = _capped_kernel(primary, options["groups"])
        surplus = len(primary) + len(cheap) - options["out_channels"]
        ghosts = w_shape[0] * (len(cheap) // len(primary))
        shapes = [w_shape, (ghosts, *cheap.shape[1:])]
        options = options | {"groups": groups, "out_channels": w_shape[0] + ghosts - surplus}
    elif op == "depthwise_conv2d":
        w, b = others
        x_channels = min(channels, MOST_CHANNELS)
        outs = x_channels * (len(w) // channels)
        shapes = [(outs, *w.shape[1:]), None if b is None else (outs,)]
    elif op == "separable_conv2d":
        depthwise, pointwise, _ = others
        x_channels = min(channels, MOST_CHANNELS)
        middles = x_channels * (len(depthwise) // channels)
        shapes = [(middles, *depthwise.shape[1:]), (min(len(pointwise), MOST_CHANNELS), middles, 1, 1), None]
    elif op == "linear":
        w, b = others
        x_channels = min(channels, 16 * MOST_CHANNELS)
        outs = min(len(w), MOST_CHANNELS)
        shapes = [(outs, x_channels), None if b is None else (outs,)]
    elif op == "channel_shuffle":
        groups = options["groups"]
        x_channels, shapes = groups * _fewer(channels // groups, MOST_CHANNELS // groups), []
    else:  # channel by channel
        x_channels = min(channels, MOST_CHANNELS)
        shapes = [(x_channels,)] * len(others)
    return (_zeros((batch, x_channels, *size)), *map(_zeros, shapes)), options


def _capped_kernel(w: Array, groups: int) -> tuple[int, tuple[int, ...], int]:
    """Input channels, the shape of w, and the groups of a smaller convolution."""
    ins, outs = min(w.shape[1], MOST_CHANNELS), min(len(w) // groups, MOST_CHANNELS)
    groups = min(groups, MOST_GROUPS)
    return groups * ins, (groups * outs, ins, *w.shape[2:]), groups


def _capped_octave(args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[tuple[Tree, ...], dict[str, Any]]:
    """The low map keeps half the rows and columns of the high one."""
    x, w, b = args
    groups = options.get("groups", 1)
    fewer_groups = min(groups, MOST_GROUPS)
    depthwise = "groups" not in options

    def channels(count: int) -> int:
        return min(count, MOST_CHANNELS) if depthwise else fewer_groups * min(count // groups, MOST_CHANNELS)

    maps: list[Array | None] = []
    for frequency, map_ in enumerate(x):
        if map_ is None:
            maps.append(None)
            continue
        high = [_fewer(length * (1 + frequency), MOST_PIXELS) for length in map_.shape[2:]]
        size = [-(-length // (1 + frequency)) for length in high]
        maps.append(_zeros((1, channels(map_.shape[1]), *size)))
    kernels = [
        None if path is None else (channels(len(path)), min(path.shape[1], MOST_CHANNELS), *path.shape[2:])
        for path in w
    ]
    biases = None if b is None else [None if bias is None else (channels(len(bias)),) for bias in b]
    capped = (
        OctaveMap(*maps),
        OctaveWeight(*map(_zeros, kernels)),
        None if biases is None else OctaveBias(*map(_zeros, biases)),
    )
    return capped, options if depthwise else options | {"groups": fewer_groups}


def _fewer(length: int, most: int) -> int:
    """`length`, or a number near `most` that is as even or odd as it is."""
    return length if length <= most else most - (length - most) % 2


def _zeros(shape: tuple[int, ...] | None) -> Any:
    return None if shape is None else np.zeros(shape, np.float32)
