"""What the cases of a cross-check cover: for each operator its features, and the levels that each of them takes.

This file is the table. `building` makes a problem of one value per feature, `covering` chooses cases until every level occurs
`LEAST` times and every pair of levels of two paired features once, and `coverage` counts what has been examined.

A level is a name with the values that belong to it. Features that are not paired have too many levels for pairs: rests of a
width by 64, kinds of numbers. Those that are derived follow from others: a row of results, which is what most kernels loop over.
Which pairs and sizes are allowed is said by `building.is_posed`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from npconv.check.adapters.definitions import arguments

LEAST = 3
"""Cases of every level among the default 300."""

Levels: TypeAlias = Mapping[str, Sequence[Any]]


class Feature(NamedTuple):
    """A feature's levels, whether all pairs with those of other paired features are asked for, and what it follows from.

    A feature that follows from others is not chosen: these are, with regard to what follows from them.
    """

    levels: Levels
    paired: bool = True
    follows: tuple[str, ...] = ()

    def level(self, value: Any) -> str | None:
        """The level that `value` belongs to; None where it is in none."""
        return next((name for name, values in self.levels.items() if value in values), None)


def _each(*values: Any) -> dict[str, Sequence[Any]]:
    return {str(value): (value,) for value in values}


def _beyond(block: int, last: int) -> dict[str, Sequence[Any]]:
    """Of the numbers from `block` to `last` every rest by it: "64n + 6" is 70, 134, ..."""
    return {f"{block}n + {rest}": range(block + rest, last + 1, block) for rest in range(block)}


def _blocks(block: int, last: int, *, most: int, few: int = 8) -> dict[str, Sequence[Any]]:
    """The first few numbers, spans below `block`, every rest by it from it up to `last`, and what is above that up to `most`.

    A kernel that takes `block` numbers at a time, or a divisor of it, has a loop for whole blocks and another for the rest. What
    is wrong where both have run is shown by no number below `block`.
    """
    ends = [few, *(end for end in (4, 8, 16, 32) if few < end < block), block - 1]
    spans = [(low + 1, high) for low, high in itertools.pairwise(ends) if low < high]
    above = [(last + 1, most)] if most > last else []
    return _each(*range(1, few + 1)) | _spans(*spans) | _beyond(block, last) | _spans(*above)


def _spans(*spans: tuple[int, int]) -> dict[str, Sequence[Any]]:
    return {(f"{low}" if low == high else f"{low} to {high}"): range(low, high + 1) for low, high in spans}


# --- windows -----------------------------------------------------------------------------------------------------

KERNEL: dict[str, Sequence[Any]] = {f"{side}x{side}": ((side, side),) for side in (3, 1, 2, *range(4, 12))} | {
    "one row": ((1, 3), (1, 2), (1, 7), (1, 9)),
    "one column": ((3, 1), (2, 1), (7, 1), (9, 1)),
    "oblong": ((3, 2), (2, 4), (3, 5), (7, 3)),
}
STRIDE = _each(*range(1, 9)) | {
    "more across": ((1, 2), (1, 3), (2, 3), (1, 5)),
    "more down": ((2, 1), (3, 1), (3, 2), (5, 1)),
}
DILATION = _each(*range(1, 9)) | {"different": ((1, 2), (2, 1), (3, 2), (1, 4))}
PADDING = _each(0, 1, 2, 3) | {
    "4 to 7": (4, 5, 6, 7),
    "8": (8,),
    "rows, columns": ((0, 1), (1, 0), (2, 1), (0, 8)),
    "four numbers": (((0, 1), (2, 0)), ((1, 0), (0, 2)), ((2, 1), (0, 3)), ((0, 8), (7, 1))),
    "valid": ("valid",),
    "same": ("same",),
    "same_lower": ("same_lower",),
}
BATCH = _blocks(4, 16, most=33, few=3)
GROUPS = _spans((1, 1), (2, 2), (3, 3), (4, 7), (8, 15), (16, 31), (32, 64))
CHANNELS = _blocks(32, 256, most=1200, few=4)
FILTERS = _blocks(16, 300, most=300)
HEIGHT = _blocks(16, 300, most=300)
WIDTH = _blocks(64, 300, most=300, few=0)
MULTIPLIER = _spans(*((n, n) for n in range(1, 9)))
PRESENT: Levels = {"no": (False,), "yes": (True,)}

_MAP = {"height": Feature(HEIGHT, paired=False), "width": Feature(WIDTH, paired=False)}
_OUT = {
    "padded width": Feature(_beyond(64, 316), paired=False, follows=("width",)),
    "out width": Feature(_blocks(32, 300, most=300), paired=False, follows=("width",)),
}
_PIXELS = {"pixels": Feature(_beyond(32, 150_000), paired=False, follows=("height", "width"))}
"""Of a plane: what takes pixel by pixel is often a loop over all of them."""
_WINDOW = {
    "kernel": Feature(KERNEL),
    "stride": Feature(STRIDE),
    "dilation": Feature(DILATION),
    "padding": Feature(PADDING),
    "batch": Feature(BATCH),
    **_MAP,
    **_OUT,
}
_FEW = Feature(_spans((1, 1), (2, 2), (3, 4), (5, 8)), paired=False)
"""Channels of the parts of composites, whose convolutions have features of their own."""

# --- pools -------------------------------------------------------------------------------------------------------

_POOL = {
    "kernel": Feature(KERNEL),
    "stride": Feature({"none": (None,)} | STRIDE),
    "padding": Feature(
        _each(0, 1, 2, 3)
        | {"4 to 10": range(4, 11)}
        | {name: PADDING[name] for name in ("rows, columns", "four numbers", "valid", "same", "same_lower")}
    ),
    "batch": Feature(BATCH),
    "ceil_mode": Feature(PRESENT),
    "channels": Feature(CHANNELS, paired=False),
    **_MAP,
    **_OUT,
}

# --- octave convolutions -----------------------------------------------------------------------------------------

_SPLIT: Levels = {
    "both": ((1, 1),),
    "more high": ((3, 1), (2, 1), (4, 1)),
    "more low": ((1, 2), (1, 3)),
    "high only": ((2, 0), (5, 0)),
    "low only": ((0, 2), (0, 3)),
}
_OCTAVE = {
    "kernel": Feature({name: KERNEL[name] for name in KERNEL if name not in ("8x8", "9x9", "10x10", "11x11")}),
    "stride": Feature(
        {
            "1": ((1, "pool"),),
            "2, pooled first": ((2, "pool"),),
            "2, convolved": ((2, "conv"),),
            "3, convolved": ((3, "conv"),),
            "different": (((2, 1), "conv"), ((1, 3), "conv")),
        }
    ),
    "dilation": Feature(_each(1, 2, 3) | {"different": ((1, 2), (2, 1))}),
    "padding": Feature(_each("same", "same_lower", "half", "split")),
    "batch": Feature(BATCH),
    "in_channels": Feature(_SPLIT),
    "out_channels": Feature(_SPLIT),
    "missing": Feature({"none": (None,), **{path: (path,) for path in ("hh", "hl", "lh", "ll")}}),
    **_MAP,
}

# --- operators ---------------------------------------------------------------------------------------------------

FEATURES: dict[str, dict[str, Feature]] = {
    "conv2d": {
        **_WINDOW,
        "groups": Feature(GROUPS),
        "channels": Feature(CHANNELS, paired=False),
        "filters": Feature(FILTERS, paired=False),
    },
    "depthwise_conv2d": {
        **_WINDOW,
        "multiplier": Feature(MULTIPLIER),
        "channels": Feature(CHANNELS, paired=False),
    },
    "pointwise_conv2d": {
        "stride": Feature(STRIDE),
        "batch": Feature(BATCH),
        "groups": Feature(GROUPS),
        "channels": Feature(CHANNELS, paired=False),
        "filters": Feature(FILTERS, paired=False),
        **_MAP,
        **_PIXELS,
    },
    "separable_conv2d": {
        **_WINDOW,
        "multiplier": Feature(MULTIPLIER),
        "channels": Feature(CHANNELS, paired=False),
        "filters": Feature(FILTERS, paired=False),
    },
    "octave_conv2d": {**_OCTAVE, "groups": Feature(_spans((1, 1), (2, 2), (3, 4), (5, 8)))},
    "octave_depthwise_conv2d": {
        **{name: feature for name, feature in _OCTAVE.items() if name not in ("missing", "out_channels")},
        "multiplier": Feature(MULTIPLIER),
    },
    "ghost_conv2d": {
        **_WINDOW,
        "groups": Feature(_spans((1, 1), (2, 2), (3, 4), (5, 8))),
        "ratio": Feature(_each(1, 2, 3, 4, 5)),
        "cheap": Feature({name: KERNEL[name] for name in ("1x1", "2x2", "3x3", "5x5", "oblong")}),
        "cut": Feature({"none": (None,), "0": (0,), "some": (1, 2, 3)}),
        "channels": Feature(CHANNELS, paired=False),
        "filters": _FEW,
    },
    "channel_shuffle": {
        "groups": Feature(GROUPS),
        "batch": Feature(BATCH),
        "channels": Feature(_blocks(32, 96, most=150), paired=False),
        **_MAP,
        **_PIXELS,
    },
    "avg_pool2d": {**_POOL, "count_include_pad": Feature(PRESENT)},
    "max_pool2d": _POOL,
    "global_avg_pool2d": {"batch": Feature(BATCH), "channels": Feature(CHANNELS, paired=False), **_MAP, **_PIXELS},
    "upsample_nearest2d": {
        "scale": Feature(_each(*range(1, 9)) | {"more across": ((1, 2), (2, 3)), "more down": ((2, 1), (4, 3))}),
        "crop": Feature({"none": (None,), "0": ((0, 0),), "rows": ((1, 0), (2, 0)), "columns": ((0, 1), (0, 2))}),
        "batch": Feature(BATCH),
        "channels": Feature(CHANNELS, paired=False),
        **_MAP,
        "out width": Feature(_blocks(32, 300, most=300, few=0), paired=False, follows=("width",)),
    },
    "batch_norm2d": {
        "statistics": Feature({"of the batch": (False,), "fixed": (True,)}),
        "eps": Feature(_each(1e-5, 1e-3, 0.5)),
        "batch": Feature(BATCH),
        "channels": Feature(CHANNELS, paired=False),
        **_MAP,
        **_PIXELS,
    },
    **{
        op: {
            "axes": Feature(_each(4, 1, 2, 3, 5)),
            "batch": Feature(BATCH, paired=False),
            "channels": Feature(_spans((1, 15)) | _beyond(16, 200), paired=False),
            "height": _MAP["height"],
            "width": Feature(_blocks(16, 300, most=300), paired=False),
            "size": Feature(_beyond(32, 150_000), paired=False, follows=("batch", "channels", "height", "width")),
        }
        for op in ("relu", "relu6", "hard_sigmoid", "hard_swish")
    },
    "linear": {
        "batch": Feature(_blocks(16, 64, most=300)),
        "filters": Feature(_blocks(32, 160, most=1000), paired=False),
        "features": Feature(_blocks(32, 512, most=4000), paired=False),
    },
    "softmax_cross_entropy": {
        "batch": Feature(BATCH),
        "classes": Feature(_blocks(32, 300, most=2000), paired=False),
        "label_smoothing": Feature(_each(0.0, 0.1, 0.5, 1.0)),
        "labels": Feature(_each("int64", "int32", "int16", "uint8")),
    },
}
FEATURES["channel_unshuffle"] = FEATURES["channel_shuffle"]
# --- arrays: where they lie and what is in them ------------------------------------------------------------------

MEMORY = (
    "C order",
    "channels-last",
    "transposed",
    "strided",
    "negative strides",
    "zero strides",
    "unaligned",
    "read-only",
)
"""See `memory.lay_out`. A vector has no channels-last order, and a single number only a place."""

NUMBERS: dict[str, str] = {
    "far from 0": "whole numbers about 3,000",
    "below -128": "whole numbers from -1,000 to -129",
    "12 bits": "odd numbers of 12 bits, few of them in the other arrays: shorter factors and sums are seen",
    "24 bits": "numbers beyond 2^24 with all digits that the dtype has",
    "large": "as large as results allow, to 3e38",
    "tiny": "about 2^-100",
    "denormal": "multiples of the smallest number that there is",
    "NaN": "few of them",
    "infinity": "few of them",
    "-infinity": "few of them",
    "zeros of both signs": "half of all numbers",
    "all equal": "one number everywhere",
    "ties": "0 and 1 alone, or numbers at and beside the kinks of an activation",
    "NaN unread": "in pixels that no window reads",
}
"""Kinds of numbers, each in one array while the others are small whole ones. See `numbers`."""


CHOOSING = ("relu", "relu6", "hard_sigmoid", "hard_swish", "max_pool2d")
"""Operators whose gradient depends on where x lies."""

_QUOTIENTS = (
    "avg_pool2d",
    "global_avg_pool2d",
    "octave_conv2d",
    "octave_depthwise_conv2d",
    "hard_sigmoid",
    "hard_swish",
)
BIASES = ("b", "beta")
NONFINITE = ("NaN", "infinity", "-infinity", "NaN unread")
SCALED = ("large", "tiny", "denormal")
SPARSE = ("12 bits", "24 bits")

_WINDOWS = ("conv2d", "depthwise_conv2d", "pointwise_conv2d", "separable_conv2d", "ghost_conv2d", "avg_pool2d")


def kinds(op: str) -> Iterator[tuple[str, str]]:
    """(argument, kind) of all kinds of numbers that say something of `op`."""
    for name in (*arguments(op), "dy"):
        for kind in NUMBERS:
            if _says_something(op, name, kind):
                yield name, kind


def _says_something(op: str, name: str, kind: str) -> bool:
    if kind == "ties":
        return name in ("x", "logits") and op in (*CHOOSING, "softmax_cross_entropy")
    if kind == "NaN unread":
        return name == "x" and op in (*_WINDOWS, "max_pool2d")
    if op == "batch_norm2d":
        if kind in (*SPARSE, "infinity", "-infinity", "denormal"):
            return False
        if kind == "tiny" and name in ("beta", "mean", "var"):
            return False  # lost beside what they are added to
        return name != "var" or kind not in ("below -128", "zeros of both signs")
    if name == "w_cheap" and kind in (*SCALED, "24 bits"):
        return False  # ghosts are added up with what they are made of
    if op == "softmax_cross_entropy":
        return kind not in ("infinity", "-infinity", "24 bits", *(("12 bits", "all equal") if name == "dy" else ()))
    if kind == "24 bits" and op in _QUOTIENTS:
        return False  # a quotient is rounded, or needs more digits beside others
    if name == "dy" and op in CHOOSING:
        return kind not in NONFINITE
    return not (op == "hard_swish" and kind == "-infinity")  # where 0 * -infinity is a choice


@functools.cache
def features(op: str) -> dict[str, Feature]:
    """All of an operator's features: its own, the memory of each array and dy, and the kinds of numbers in each."""
    found = dict(FEATURES[op])
    named = (*arguments(op), "dy")
    for name in named:
        orders = [order for order in MEMORY if order not in _SAME.get((op, name), _SAME.get(name, ()))]
        absent = {"absent": ("absent",)} if name in ("b", "w_cheap") else {}
        found[f"memory of {name}"] = Feature(absent | _each(*orders), paired=op not in _MANY)
    found["numbers"] = Feature(
        {"whole": (None,)} | _each(*(f"{name}: {kind}" for name, kind in kinds(op))), paired=False
    )
    return found


_SAME: Mapping[Any, tuple[str, ...]] = {
    **dict.fromkeys(("b", "gamma", "beta", "mean", "var"), ("channels-last", "transposed")),
    **dict.fromkeys(("w_depthwise", "w_pointwise", "w_cheap", "logits"), ("channels-last",)),
    **{(op, "w"): ("channels-last",) for op in ("linear", "depthwise_conv2d", "pointwise_conv2d")},
    ("octave_depthwise_conv2d", "w"): ("channels-last",),
    ("linear", "x"): ("channels-last",),
    ("linear", "dy"): ("channels-last",),
    ("global_avg_pool2d", "dy"): ("channels-last",),
    ("softmax_cross_entropy", "dy"): tuple(
        order for order in MEMORY if order not in ("C order", "unaligned", "read-only")
    ),
}
"""Orders of memory that are C order where an array has one axis, two, or one channel: (operator and) argument -> orders."""

_MANY = ("batch_norm2d",)  # five arrays: each order of each occurs, pairs of them are left out
