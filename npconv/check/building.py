"""Problems from the values of an operator's features.

The values are the keys of `features.FEATURES`: ``build(op, values)`` makes the arrays of such a problem, all 0, and
``measuring.measure(problem)`` tells the values of any problem. So a problem can be chosen, counted, and made smaller by them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

import numpy as np

from npconv.check.case import divisible
from npconv.geometry import Pair, effective_kernel, explicit_padding
from npconv.ops import OctaveBias, OctaveMap, OctaveWeight
from npconv.testing import Problem

Values: TypeAlias = dict[str, Any]

MOST_PRODUCTS = 2_000_000  # of a problem's forward, so that hundreds of problems take seconds
MOST_NUMBERS = 150_000  # in its arrays
SMALL = 12_000  # numbers in the arrays of half of the problems

SMALLEST: Values = {
    "kernel": (1, 1),
    "stride": 1,
    "dilation": 1,
    "padding": 0,
    "batch": 1,
    "height": 1,
    "width": 1,
    "groups": 1,
    "channels": 1,
    "filters": 1,
    "multiplier": 1,
    "memory of b": "absent",
    "memory of w_cheap": "absent",
}
"""Values that make a problem small; an operator's other features have theirs in `_SMALLEST`."""

_SMALLEST: dict[str, Values] = {
    "octave_conv2d": {"stride": (1, "pool"), "padding": "same", "in_channels": (1, 1), "out_channels": (1, 1)}
    | {"missing": None},
    "octave_depthwise_conv2d": {"stride": (1, "pool"), "padding": "same", "in_channels": (1, 1)},
    "ghost_conv2d": {"ratio": 1, "cheap": (1, 1), "cut": None},
    "avg_pool2d": {"ceil_mode": False, "count_include_pad": False},
    "max_pool2d": {"ceil_mode": False},
    "upsample_nearest2d": {"scale": 1, "crop": None},
    "batch_norm2d": {"statistics": True, "eps": 1e-5},
    "linear": {"features": 1},
    "softmax_cross_entropy": {"classes": 1, "label_smoothing": 0.0, "labels": "int64"},
}
_AXES = ("", "batch", "channels", "height", "width")  # those that an array of fewer axes lacks come first
_SMALLEST |= {op: {"axes": 4} for op in ("relu", "relu6", "hard_sigmoid", "hard_swish")}


@functools.cache
def smallest(op: str) -> Values:
    """The values of the smallest problem of `op`, in the order in which a failing one is best made smaller."""
    from npconv.check.features import features

    known = SMALLEST | _SMALLEST.get(op, {})
    return {name: known[name] for name in features(op) if name in known}


def build(op: str, values: Values) -> Problem:
    """The problem with these values, whose numbers are all 0. Values that are not given are the smallest."""
    return divisible(_BUILD[op](op, completed(op, values)))


def is_posed(op: str, values: Values, *, small: bool = False) -> bool:
    """Whether there is such a problem, and it is small enough to be one of hundreds. Fast: no array is made."""
    values = completed(op, values)
    if "kernel" in values and not _fits(op, values):
        return False
    if op == "softmax_cross_entropy" and values["labels"] == "uint8" and values["classes"] > 256:
        return False
    if op == "batch_norm2d" and not values["statistics"] and _pixels(values) * values["batch"] < 2:
        return False
    crop = values.get("crop")
    if crop and any(lost >= factor for lost, factor in zip(crop, both(values["scale"]), strict=True)):
        return False
    if "axes" in values and any(values[name] > 1 for name in _AXES[1 : 5 - max(1, values["axes"])]):
        return False
    if op == "ghost_conv2d":
        absent = values["memory of w_cheap"] == "absent"
        if (values["ratio"] == 1) != absent or (absent and values["cheap"] != (1, 1)):
            return False
        if values["cut"] and (values["ratio"] < 2 or values["cut"] >= min(values["ratio"], values["filters"] * 2)):
            return False
    if op.startswith("octave") and not _is_octave(op, values):
        return False
    numbers, products = _extent(op, values)
    return numbers <= (SMALL if small else MOST_NUMBERS) and products <= MOST_PRODUCTS


# --- sizes -------------------------------------------------------------------------------------------------------


def completed(op: str, values: Values) -> Values:
    """`values` with the smallest for the features that have none: of a map's height and width, what the kernel needs."""
    given = values
    values = smallest(op) | given
    if op == "ghost_conv2d" and "ratio" not in given:
        values["ratio"] = 1 if values["memory of w_cheap"] == "absent" and values["cheap"] == (1, 1) else 2
    if op == "ghost_conv2d" and "memory of w_cheap" not in given:
        values["memory of w_cheap"] = "absent" if values["ratio"] == 1 else "C order"
    if op.startswith("octave") and not values["in_channels"][0]:  # the low map alone tells the size
        values |= {"height": 2, "width": 2} | given
    unread = str(values.get("numbers")).endswith("unread")
    if "kernel" not in values or op.startswith("octave") or values["padding"] in ("same", "same_lower"):
        return values | ({"height": 2} | given if unread else {})
    kernel, _, dilation, padding = window(op, values)
    pads = explicit_padding(padding, (1, 1), kernel, (1, 1), dilation)
    needs = (effective_kernel(k, d) - sum(sides) for k, d, sides in zip(kernel, dilation, pads, strict=True))
    values |= dict(zip(("height", "width"), (max(1, need) for need in needs), strict=True))
    if unread:  # one row more than the windows and the padding after them
        values["height"] += pads[0][1] + 1
    return values | given


def both(value: Any) -> Pair:
    """An option for rows and for columns."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _pixels(values: Values) -> int:
    return int(values["height"] * values["width"])


def window(op: str, values: Values) -> tuple[Pair, Pair, Pair, Any]:
    """Kernel, stride, dilation and padding of the convolution or pool, as the operator takes them."""
    kernel, dilation = values["kernel"], both(values.get("dilation", 1))
    stride, padding = values["stride"], values["padding"]
    if op.startswith("octave"):
        stride = stride[0] if stride[1] == "conv" else 1
        padding = _octave_padding(values)
    return kernel, both(kernel if stride is None else stride), dilation, padding


def _fits(op: str, values: Values) -> bool:
    """Whether the kernel fits into the padded image; of a pool, whether every window has a pixel."""
    kernel, stride, dilation, padding = window(op, values)
    size = _least_map(op, values)
    pads = explicit_padding(padding, size, kernel, stride, dilation)
    if op in ("avg_pool2d", "max_pool2d"):
        if any(max(sides) >= k for sides, k in zip(pads, kernel, strict=True)):
            return False
        if values["ceil_mode"]:
            return True
    return all(
        effective_kernel(k, d) <= length + sum(sides)
        for k, d, length, sides in zip(kernel, dilation, size, pads, strict=True)
    )


def _least_map(op: str, values: Values) -> Pair:
    """The size of the smallest map that a convolution reads."""
    size = values["height"], values["width"]
    if op.startswith("octave"):
        factor = 4 if values["stride"] == (2, "pool") else 2
        size = -(-size[0] // factor), -(-size[1] // factor)
    return size


def out_size(op: str, values: Values) -> Pair:
    """Rows and columns of the result of a window."""
    kernel, stride, dilation, padding = window(op, values)
    size = values["height"], values["width"]
    pads = explicit_padding(padding, size, kernel, stride, dilation)
    outs = []
    for k, s, d, length, sides in zip(kernel, stride, dilation, size, pads, strict=True):
        free = max(length + sum(sides) - effective_kernel(k, d), 0)
        count = free // s + 1
        if values.get("ceil_mode") and free % s and count * s < length + sides[0]:
            count += 1
        outs.append(count)
    return outs[0], outs[1]


def _extent(op: str, values: Values) -> tuple[int, int]:
    """About how many numbers the arrays hold, and how many products the forward makes."""
    batch, channels = values.get("batch", 1), values.get("channels", 1)
    if op == "linear":
        numbers = batch * (values["features"] + values["filters"]) + values["features"] * values["filters"]
        return numbers, batch * values["features"] * values["filters"]
    if op == "softmax_cross_entropy":
        return batch * values["classes"], 0
    if op == "upsample_nearest2d":
        return batch * channels * _pixels(values) * (1 + prod(both(values["scale"]))), 0
    pixels, groups = _pixels(values), values.get("groups", 1)
    if op == "pointwise_conv2d":
        values = values | {"kernel": (1, 1), "padding": 0}
    if "kernel" not in values:
        return batch * groups * channels * pixels * 2, 0
    outs, taps = prod(out_size(op, values)), prod(values["kernel"])
    if op.startswith("octave"):
        channels = 4 * groups
        filters = channels * values.get("multiplier", 1)
        return batch * pixels * (channels + filters), batch * pixels * taps * channels * filters // groups
    if op in ("avg_pool2d", "max_pool2d"):
        return batch * channels * (pixels + outs), batch * channels * outs * taps
    if op in ("conv2d", "pointwise_conv2d"):
        filters = values["filters"]
        weights = groups * filters * channels * taps
    elif op == "ghost_conv2d":
        filters = values["filters"] * values["ratio"]
        weights = groups * values["filters"] * (channels * taps + (values["ratio"] - 1) * prod(values["cheap"]))
    else:
        filters = channels * values["multiplier"]
        weights = filters * taps
        if op == "separable_conv2d":
            weights += filters * values["filters"]
            filters = max(filters, values["filters"])
            return batch * (channels * pixels + filters * outs) + weights, batch * outs * weights
        return batch * (channels * pixels + filters * outs) + weights, batch * outs * weights
    return batch * groups * (channels * pixels + filters * outs) + weights, batch * outs * weights


# --- from values to problems -------------------------------------------------------------------------------------


def _z(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def _bias(values: Values, length: int) -> Any:
    return None if values["memory of b"] == "absent" else _z(length)


def _options(values: Values, *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _conv2d(op: str, v: Values) -> Problem:
    x = _z(v["batch"], v["groups"] * v["channels"], v["height"], v["width"])
    outs = v["groups"] * v["filters"]
    if op == "pointwise_conv2d":
        return Problem(op, (x, _z(outs, v["channels"], 1, 1), _bias(v, outs)), _options(v, "stride", "groups"))
    w = _z(outs, v["channels"], *v["kernel"])
    return Problem(op, (x, w, _bias(v, outs)), _options(v, "stride", "padding", "dilation", "groups"))


def _depthwise(op: str, v: Values) -> Problem:
    x, middles = _z(v["batch"], v["channels"], v["height"], v["width"]), v["channels"] * v["multiplier"]
    w, options = _z(middles, 1, *v["kernel"]), _options(v, "stride", "padding", "dilation")
    if op == "separable_conv2d":
        args = x, w, _z(v["filters"], middles, 1, 1), _bias(v, v["filters"])
        return Problem(op, args, options)
    return Problem(op, (x, w, _bias(v, middles)), options)


def _ghost(op: str, v: Values) -> Problem:
    x, primary = _z(v["batch"], v["groups"] * v["channels"], v["height"], v["width"]), v["groups"] * v["filters"]
    cheap = None if v["ratio"] == 1 else _z(primary * (v["ratio"] - 1), 1, *v["cheap"])
    cut = None if v["cut"] is None else primary * v["ratio"] - v["cut"]
    args = x, _z(primary, v["channels"], *v["kernel"]), cheap
    return Problem(op, args, _options(v, "stride", "padding", "dilation", "groups") | {"out_channels": cut})


def _octave_padding(v: Values) -> Any:
    """What keeps two maps an octave apart: the sides of an axis add up to the kernel's reach less 1."""
    if v["padding"] in ("same", "same_lower"):
        return v["padding"]
    reach = [effective_kernel(k, d) - 1 for k, d in zip(v["kernel"], both(v["dilation"]), strict=True)]
    if v["padding"] == "half" and reach[0] == reach[1] and reach[0] % 2 == 0:
        return reach[0] // 2
    return ((reach[0] // 3, reach[0] - reach[0] // 3), (reach[1], 0))


def _is_octave(op: str, v: Values) -> bool:
    """Whether there is a path to each output, and padding in halves means what it says."""
    if v["padding"] == "half" and _octave_padding(v) != (v["kernel"][0] - 1) * both(v["dilation"])[0] // 2:
        return False
    if not v["in_channels"][0] and (v["height"] % 2 or v["width"] % 2):
        return False
    if op == "octave_depthwise_conv2d":
        return True
    paths = octave_ends(v)
    return v["missing"] is None or (v["missing"] in paths and len(paths) == 4)


def octave_ends(v: Values) -> dict[str, Pair]:
    """(input channels, output channels) of each path that there could be."""
    (in_high, in_low), (out_high, out_low) = v["in_channels"], v["out_channels"]
    ends = {"hh": (in_high, out_high), "hl": (in_high, out_low), "lh": (in_low, out_high), "ll": (in_low, out_low)}
    return {path: channels for path, channels in ends.items() if all(channels)}


def _octave(op: str, v: Values) -> Problem:
    groups, (high, low), (stride, mode) = v.get("groups", 1), v["in_channels"], v["stride"]
    size = v["height"], v["width"]
    below = -(-size[0] // 2), -(-size[1] // 2)
    x = OctaveMap(
        _z(v["batch"], high * groups, *size) if high else None, _z(v["batch"], low * groups, *below) if low else None
    )
    options = {"stride": stride, "padding": _octave_padding(v), "dilation": v["dilation"], "stride_mode": mode}
    if op == "octave_depthwise_conv2d":
        outs: tuple[int, ...] = (high * v["multiplier"], low * v["multiplier"])
        w = OctaveWeight(
            **{path: _z(count, 1, *v["kernel"]) for path, count in zip(("hh", "ll"), outs, strict=True) if count}
        )
    else:
        paths = {path: ends for path, ends in octave_ends(v).items() if path != v["missing"]}
        w = OctaveWeight(**{path: _z(o * groups, i, *v["kernel"]) for path, (i, o) in paths.items()})
        outs = tuple(next((o * groups for path, (_, o) in paths.items() if path[1] == end), 0) for end in ("h", "l"))
        options["groups"] = groups
    b = OctaveBias(*(_z(count) if count else None for count in outs))
    return Problem(op, (x, w, None if v["memory of b"] == "absent" else b), options)


def _shuffle(op: str, v: Values) -> Problem:
    x = _z(v["batch"], v["groups"] * v["channels"], v["height"], v["width"])
    return Problem(op, (x,), _options(v, "groups"))


def _map(op: str, v: Values) -> Any:
    return _z(v["batch"], v["channels"], v["height"], v["width"])


def _pool(op: str, v: Values) -> Problem:
    names = ["kernel", "stride", "padding", "ceil_mode", *(["count_include_pad"] if op == "avg_pool2d" else [])]
    return Problem(op, (_map(op, v),), _options(v, *names))


def _upsample(op: str, v: Values) -> Problem:
    size = None
    if v["crop"] is not None:
        size = tuple(
            length * factor - lost
            for length, factor, lost in zip((v["height"], v["width"]), both(v["scale"]), v["crop"], strict=True)
        )
    return Problem(op, (_map(op, v),), {"scale": v["scale"], "size": size})


def _batch_norm(op: str, v: Values) -> Problem:
    vectors = [_z(v["channels"])] * 4
    if not v["statistics"]:
        vectors[2:] = [None, None]
    return Problem(op, (_map(op, v), *vectors), {"eps": v["eps"]})


def _elementwise(op: str, v: Values) -> Problem:
    shape = (2, v["batch"], v["channels"], v["height"], v["width"])
    return Problem(op, (_z(*shape[5 - v["axes"] :]),), {})


def _linear(op: str, v: Values) -> Problem:
    x, w = _z(v["batch"], v["features"]), _z(v["filters"], v["features"])
    return Problem(op, (x, w, _bias(v, v["filters"])), {})


def _cross_entropy(op: str, v: Values) -> Problem:
    """The labels depend on the sizes alone, and are all over the classes."""
    labels = (np.arange(v["batch"]) * 7919 + v["classes"] - 1) % v["classes"]
    options = {"labels": labels.astype(v["labels"]), "label_smoothing": v["label_smoothing"]}
    return Problem(op, (_z(v["batch"], v["classes"]),), options)


_BUILD: dict[str, Callable[[str, Values], Problem]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise,
    "pointwise_conv2d": _conv2d,
    "separable_conv2d": _depthwise,
    "octave_conv2d": _octave,
    "octave_depthwise_conv2d": _octave,
    "ghost_conv2d": _ghost,
    "channel_shuffle": _shuffle,
    "channel_unshuffle": _shuffle,
    "avg_pool2d": _pool,
    "max_pool2d": _pool,
    "global_avg_pool2d": lambda op, v: Problem(op, (_map(op, v),), {}),
    "upsample_nearest2d": _upsample,
    "batch_norm2d": _batch_norm,
    "relu": _elementwise,
    "relu6": _elementwise,
    "hard_sigmoid": _elementwise,
    "hard_swish": _elementwise,
    "linear": _linear,
    "softmax_cross_entropy": _cross_entropy,
}
