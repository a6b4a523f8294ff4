"""Hostile calls: a call that is right, with one or two of its arguments made wrong, of every public function there is.

    python tests/fuzzing.py --calls 100000 --seed 1

Whatever comes, a call succeeds or raises an error of npconv's own: ValueError, TypeError or another of `OWN`, raised by a `raise`
of npconv's. NumPy's, Numba's and Python's errors are defects, and so is a call that takes too long.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import decimal
import fractions
import functools
import inspect
import random
import resource
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import npconv
from npconv import OctaveBias, OctaveMap, OctaveWeight, costs, geometry, layouts, models, nn, optim, testing

OWN = ValueError, TypeError, RuntimeError, MemoryError, FloatingPointError, ImportError
PACKAGE = str(Path(npconv.__file__).parent)
SECONDS = 20  # that a call may take
LARGE = {
    f"models.{name}" for name in models.NETWORKS if name not in {f"tiny_{tiny}" for tiny in models.MODELS}
}  # take seconds

# --- calls that are right ----------------------------------------------------------------------------------------


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def numbers(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return rng().standard_normal(shape).astype(dtype)


X = numbers(2, 4, 6, 5)
POSITIVE = numbers(4) ** 2 + 1
PAIR = OctaveMap(numbers(2, 4, 6, 4), numbers(2, 4, 3, 2))
OCTAVE = OctaveWeight(*numbers(4, 2, 4, 3, 3))
OPTIONS = {"stride": 2, "padding": 1, "dilation": 1}
LABELS = np.array([0, 3])

FORWARDS: dict[str, dict[str, Any]] = {
    "conv2d": {"x": X, "w": numbers(6, 2, 3, 3), "b": numbers(6), **OPTIONS, "groups": 2},
    "depthwise_conv2d": {"x": X, "w": numbers(8, 1, 3, 3), "b": numbers(8), **OPTIONS},
    "pointwise_conv2d": {"x": X, "w": numbers(6, 2, 1, 1), "b": numbers(6), "stride": 1, "groups": 2},
    "separable_conv2d": {"x": X, "w_depthwise": numbers(4, 1, 3, 3), "w_pointwise": numbers(6, 4, 1, 1), "b": numbers(6), **OPTIONS},
    "octave_conv2d": {"x": PAIR, "w": OCTAVE, "b": OctaveBias(*numbers(2, 2)), "stride": 1, "padding": 1, "dilation": 1, "groups": 1, "stride_mode": "pool"},
    "octave_depthwise_conv2d": {"x": PAIR, "w": OctaveWeight(hh=numbers(4, 1, 3, 3), ll=numbers(4, 1, 3, 3)), "padding": 1},
    "ghost_conv2d": {"x": X, "w_primary": numbers(3, 4, 1, 1), "w_cheap": numbers(3, 1, 3, 3), "out_channels": 5, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    "channel_shuffle": {"x": X, "groups": 2},
    "channel_unshuffle": {"x": X, "groups": 2},
    "avg_pool2d": {"x": X, "kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
    "max_pool2d": {"x": X, "kernel": 3, "stride": 2, "padding": 1, "ceil_mode": False},
    "global_avg_pool2d": {"x": X},
    "upsample_nearest2d": {"x": X, "scale": 2, "size": (11, 10)},
    "batch_norm2d": {"x": X, "gamma": numbers(4), "beta": numbers(4), "mean": numbers(4), "var": POSITIVE, "eps": 1e-5},
    "relu": {"x": X},
    "relu6": {"x": X},
    "hard_sigmoid": {"x": X},
    "hard_swish": {"x": X},
    "linear": {"x": numbers(2, 4), "w": numbers(3, 4), "b": numbers(3)},
    "softmax_cross_entropy": {"logits": numbers(2, 5), "labels": LABELS, "label_smoothing": 0.1},
}  # fmt: skip

CONV = {
    "in_channels": 4,
    "out_channels": 6,
    "kernel": 3,
    "stride": 1,
    "padding": 1,
    "dilation": 1,
    "groups": 2,
    "bias": True,
}
LAYERS: dict[str, dict[str, Any]] = {
    "Conv2d": {**CONV, "dtype": np.float32},
    "DepthwiseConv2d": {"channels": 4, "kernel": 3, "multiplier": 2, **OPTIONS, "bias": True},
    "PointwiseConv2d": {"in_channels": 4, "out_channels": 6, "stride": 1, "groups": 2, "bias": True},
    "SeparableConv2d": {"in_channels": 4, "out_channels": 6, "kernel": 3, "multiplier": 1, **OPTIONS},
    "OctaveConv2d": {"in_channels": 8, "out_channels": 8, "kernel": 3, "alpha_in": 0.5, "alpha_out": 0.5, "padding": 1, "stride": 1},
    "OctaveDepthwiseConv2d": {"channels": 8, "kernel": 3, "alpha": 0.5, "padding": 1},
    "GhostModule": {"in_channels": 4, "out_channels": 6, "kernel": 1, "ratio": 2, "cheap_kernel": 3, "stride": 1},
    "SqueezeExcite": {"channels": 4, "reduced": 2},
    "Linear": {"in_features": 4, "out_features": 3, "bias": True, "dtype": np.float32},
    "BatchNorm2d": {"channels": 4, "eps": 1e-5, "momentum": 0.1, "momentum_convention": "pytorch", "unbiased": True, "dtype": "float32"},
    "OctaveBatchNorm2d": {"channels": 8, "alpha": 0.5},
    "Dropout": {"rate": 0.5},
    "AvgPool2d": {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": False, "count_include_pad": True},
    "MaxPool2d": {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": False},
    "Upsample": {"scale": 2, "size": None},
    "ChannelShuffle": {"groups": 2},
    "Flatten": {}, "GlobalAvgPool2d": {}, "ReLU": {}, "ReLU6": {}, "HardSigmoid": {}, "HardSwish": {}, "Identity": {},
}  # fmt: skip

COSTS: dict[str, dict[str, Any]] = {
    "conv2d": {"x_shape": (1, 4, 6, 6), "w_shape": (6, 2, 3, 3), "stride": 1, "padding": 1, "dilation": 1, "groups": 2, "direction": "forward", "count_padding": True, "bias": True, "itemsize": 4},
    "depthwise_conv2d": {"x_shape": (1, 4, 6, 6), "w_shape": (4, 1, 3, 3), "padding": 1},
    "pointwise_conv2d": {"x_shape": (1, 4, 6, 6), "w_shape": (4, 4, 1, 1)},
    "separable_conv2d": {"x_shape": (1, 4, 6, 6), "w_shape": (6, 4, 3, 3), "multiplier": 1, "padding": 1},
    "octave_conv2d": {"x_shape": (1, 4, 6, 6), "w_shape": (6, 4, 3, 3), "alpha_in": 0.5, "alpha_out": 0.5, "padding": 1, "stride_mode": "pool"},
    "octave_depthwise_conv2d": {"x_shape": (1, 4, 6, 6), "w_shape": (4, 1, 3, 3), "alpha": 0.5, "padding": 1},
    "ghost_conv2d": {"x_shape": (1, 4, 6, 6), "w_shape": (6, 4, 3, 3), "ratio": 2, "padding": 1},
    "linear": {"x_shape": (1, 4), "w_shape": (6, 4)},
    "batch_norm2d": {"x_shape": (1, 4, 6, 6)},
    "activation": {"x_shape": (1, 4, 6, 6)},
    "add": {"x_shape": (1, 4, 6, 6)},
    "avg_pool2d": {"x_shape": (1, 4, 6, 6), "kernel": 2},
    "max_pool2d": {"x_shape": (1, 4, 6, 6), "kernel": 2},
    "global_avg_pool2d": {"x_shape": (1, 4, 6, 6)},
    "channel_shuffle": {"x_shape": (1, 4, 6, 6), "groups": 2},
    "upsample_nearest2d": {"x_shape": (1, 4, 6, 6), "scale": 2},
    "ghost_compression": {"in_channels": 4, "kernel": 3, "ratio": 2, "cheap_kernel": 3},
    "ghost_speedup": {"in_channels": 4, "kernel": 3, "ratio": 2, "cheap_kernel": 3},
    "ghost_speedup_approximation": {"in_channels": 4, "ratio": 2},
    "octave_cost_ratio": {"alpha_in": 0.5, "alpha_out": 0.25},
    "octave_memory_ratio": {"alpha": 0.5},
    "resnet_unit_macs": {"channels": 4, "bottleneck": 2, "height": 3, "width": 3},
    "resnext_unit_macs": {"channels": 4, "bottleneck": 2, "height": 3, "width": 3, "groups": 2},
    "shufflenet_unit_macs": {"channels": 4, "bottleneck": 2, "height": 3, "width": 3, "groups": 2},
    "separable_macs": {"in_channels": 4, "out_channels": 6, "kernel": 3, "size": 5, "alpha": 0.5, "rho": 0.5},
    "separable_ratio": {"out_channels": 4, "kernel": 3},
}  # fmt: skip


class Call:
    """A call that is right: what is called, and its arguments by name. `made` is what has to be made anew for each call."""

    def __init__(
        self, name: str, function: Callable[..., Any], arguments: dict[str, Any], **made: Callable[[], Any]
    ) -> None:
        self.name = name
        self.function = function
        self.arguments = arguments
        self.made = made

    def __call__(self, arguments: dict[str, Any]) -> Any:
        return self.function(**{name: make() for name, make in self.made.items()} | arguments)


def calls() -> list[Call]:
    """Every call, each of which succeeds as it is."""
    return [call for group in (_operators, _layers, _networks, _optimisers, _closed_forms, _others) for call in group()]


def _operators() -> Iterator[Call]:
    for name, arguments in FORWARDS.items():
        forward, backward = getattr(npconv, name), getattr(npconv, f"{name}_backward")
        yield Call(name, forward, arguments)
        with npconv.backend("numpy"):
            dy = testing.map_arrays(np.ones_like, forward(**arguments))
        yield Call(f"{name}_backward", backward, {"dy": dy, **arguments})
    conv = FORWARDS["conv2d"]
    options = {name: conv[name] for name in (*OPTIONS, "groups")}
    dy = np.ones((2, 6, 3, 3), np.float32)
    yield Call("conv2d_input_grad", npconv.conv2d_input_grad, {"dy": dy, "w": conv["w"], "x_shape": X.shape, **options})
    yield Call(
        "conv2d_weight_grad", npconv.conv2d_weight_grad, {"dy": dy, "x": X, "w_shape": conv["w"].shape, **options}
    )
    yield Call("batch_statistics2d", npconv.batch_statistics2d, {"x": X})
    yield Call("channels_last", npconv.channels_last, {"x": X})


def _layers() -> Iterator[Call]:
    """Making a layer; its forward and backward, its modes and its state."""

    def used(make: Callable[..., Any], x: Any, dy: Any, state: Any, **arguments: Any) -> None:
        layer = make(**arguments)
        if state is not None:
            layer.load_state(state)
        y = layer(x)
        layer.backward(testing.map_arrays(np.ones_like, y) if dy is None else dy)
        layer.eval()(x)

    for name, arguments in LAYERS.items():
        make = getattr(nn, name)
        takes_rng = "rng" in inspect.signature(make).parameters
        made: dict[str, Callable[[], Any]] = {"rng": rng} if takes_rng else {}
        yield Call(f"nn.{name}", make, arguments, **made)
        x = numbers(2, 4) if name == "Linear" else PAIR if name.startswith("Octave") else X
        layer = make(**arguments, **({"rng": rng()} if takes_rng else {}))
        with npconv.backend("numpy"):
            y = layer(x)
        dy = testing.map_arrays(np.ones_like, y)
        state = {key: array.copy() for key, array in layer.state().items()}
        made_too = made | {"make": lambda make=make, arguments=arguments: functools.partial(make, **arguments)}
        yield Call(f"nn.{name} used", used, {"x": x, "dy": dy, "state": state}, **made_too)


def _networks() -> Iterator[Call]:
    for name, network in models.NETWORKS.items():
        parameters = inspect.signature(network).parameters
        defaults = {n: p.default for n, p in parameters.items() if n != "rng"}
        small = {"num_classes": 3, "width": 0.25, "scale": 0.25, "channels": 8}
        yield Call(f"models.{name}", network, defaults | {n: v for n, v in small.items() if n in defaults}, rng=rng)

    def fed(x: Any, make: Any) -> None:
        nn.predict(make(rng=rng()), x)

    for name, network in models.MODELS.items():
        yield Call(f"models.{name} fed", fed, {"x": numbers(2, 1, 8, 8)}, make=lambda network=network: network)


def _optimisers() -> Iterator[Call]:
    def stepped(optimizer: Any, grad: Any, **arguments: Any) -> None:
        layer = nn.Linear(2, 2, bias=False, rng=rng())
        layer.grads["w"] = grad
        made = optimizer(**arguments)
        made.step(layer)
        made.step(layer)

    shared = {"lr": 0.1, "weight_decay": 0.1, "no_decay": ("b",), "grad": numbers(2, 2)}
    yield Call("optim.SGD", stepped, {**shared, "momentum": 0.9, "nesterov": True}, optimizer=lambda: optim.SGD)
    for name in ("Adam", "AdamW"):
        optimizer = getattr(optim, name)
        yield Call(
            f"optim.{name}", stepped, {**shared, "betas": (0.9, 0.99), "eps": 1e-8}, optimizer=lambda o=optimizer: o
        )

    def asked(schedule: Any, at: int, **arguments: Any) -> None:
        assert schedule(**arguments)(at) >= 0

    for name, arguments in {
        "constant": {"lr": 0.1, "warmup": 2},
        "step": {"lr": 0.1, "every": 2, "factor": 0.5, "warmup": 2},
        "linear": {"lr": 0.1, "total": 9, "warmup": 2},
        "cosine": {"lr": 0.1, "total": 9, "final": 0.01, "warmup": 2},
    }.items():
        yield Call(f"optim.{name}", asked, arguments, schedule=lambda n=name: getattr(optim, n), at=lambda: 5)


def _closed_forms() -> Iterator[Call]:
    for name, arguments in COSTS.items():
        yield Call(f"costs.{name}", getattr(costs, name), arguments)
    yield Call("costs.count", lambda shape: costs.count(nn.Conv2d(4, 4, 3, rng=rng()), shape), {"shape": (1, 4, 6, 6)})
    for name, arguments in {
        "octave_channels": {"channels": 10, "alpha": 0.25},
        "ghost_channels": {"out_channels": 15, "ratio": 2},
        "octave_paths": {"stride": 2, "stride_mode": "pool"},
        "check_shuffle_groups": {"channels": 6, "groups": 3},
        "pair": {"name": "size", "value": (1, 2), "minimum": 0},
        "integer": {"name": "size", "value": 3, "minimum": 0},
        "positive": {"name": "eps", "value": 0.5},
        "fraction": {"name": "rate", "value": 0.5},
        "shape": {"name": "x", "value": (1, 2, 3, 4), "letters": "NCHW"},
    }.items():
        fixed = {key: arguments.pop(key) for key in ("name", "minimum", "letters") if key in arguments}
        yield Call(f"geometry.{name}", functools.partial(getattr(geometry, name), **fixed), arguments)


def _others() -> Iterator[Call]:
    kernel = numbers(6, 2, 3, 3)
    for name, x in {
        "nchw_to_nhwc": X, "nhwc_to_nchw": X, "oihw_to_hwio": kernel, "hwio_to_oihw": kernel, "oc_to_co": numbers(2, 3),
        "co_to_oc": numbers(2, 3), "depthwise_to_hwcm": (numbers(6, 1, 3, 3), 3), "hwcm_to_depthwise": numbers(3, 3, 2, 3),
        "padding_to_torch": ((1, 2), (3, 4)), "torch_to_padding": (1, 2, 3, 4), "padding_to_onnx": ((1, 2), (3, 4)),
        "onnx_to_padding": (1, 2, 3, 4),
    }.items():  # fmt: skip
        function = getattr(layouts, name)
        parameters = list(inspect.signature(function).parameters)
        yield Call(f"layouts.{name}", function, dict(zip(parameters, x if len(parameters) > 1 else (x,), strict=True)))
    yield Call("npconv.backend", lambda name: npconv.backend(name).__enter__(), {"name": "numpy"})
    yield Call("npconv.winograd", lambda tiles: npconv.winograd(tiles).__enter__(), {"tiles": "off"})
    yield Call(
        "nn.predict", lambda images, batch: nn.predict(nn.ReLU(), images, batch=batch), {"images": X, "batch": 2}
    )
    yield Call("nn.fold_batch_norm", nn.fold_batch_norm, {"model": nn.ReLU()})
    yield Call("testing.gamma", testing.gamma, {"terms": 5, "roundoff": 2.0**-24})
    yield Call("testing.probable_gamma", testing.probable_gamma, {"terms": 5, "roundoff": 2.0**-24, "deviations": 6.0})
    yield Call("testing.unit_roundoff", testing.unit_roundoff, {"dtype": np.float32})
    yield Call("testing.rigorous_bound", testing.rigorous_bound, {"magnitude": X**2, "terms": 5, "dtype": np.float32})
    for name in ("Sequential", "Residual", "Concat", "PerFrequency"):
        container = getattr(nn, name)
        yield Call(
            f"nn.{name}",
            lambda one, two, container=container: container(one, two),
            {"one": nn.ReLU(), "two": nn.ReLU6()},
        )


# --- what makes them wrong ---------------------------------------------------------------------------------------


class Unready:
    """Raises whatever it is asked."""

    def __index__(self) -> int:
        raise ZeroDivisionError("asked for an index")

    def __float__(self) -> float:
        raise ZeroDivisionError("asked for a float")

    def __len__(self) -> int:
        raise ZeroDivisionError("asked for a length")

    def __bool__(self) -> bool:
        raise ZeroDivisionError("asked for a truth")


VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 5, 255, 2**31 - 1, 2**31, 2**32 + 1, 2**62, 2**63, 2**64, 10**400, -(10**400), -(2**63),
    0.0, -0.0, 0.5, 1.0, 1.5, 2.0, 1e-320, 1e-45, 1e38, 1e39, 1e308, -1e308, float("nan"), float("inf"), -float("inf"), 3 + 4j,
    "", "x", "same", "valid", "same_lower", "forward", "float32", "é\x1b[31m\n", "\udcff", b"same", "9" * 5000, "1",
    (), (1,), (1, 2), (1, 2, 3), (0, 0), (-1, 1), (2**31 - 1, 1), (1, 10**400), (1.0, 2), (None, None), ((1, 2), (3, 4)), ((1, 2), 3),
    ((0, 1), (1, 0), (0, 0)), ((1,), (2,)), ("a", "b"), (((1,),), ((2,),)), (float("nan"), 1), [1, 2], [[1, 2], [3, 4]], [], [[]],
    (1, 4, 6, 6), (0, 4, 6, 6), (1, 4, 0, 6), (1, 4, 2**31 - 1, 2**31 - 1), (2**31 - 1,) * 4, (1, 4, 6.0, 6), (1, 4, "6", 6), [1, 4, 6, 6],
    {}, {1: 2}, {1, 2}, range(2), range(4, 8), slice(None), iter((1, 2)), object, object(), int, len, Unready(), NotImplemented, ...,
    decimal.Decimal("0.5"), decimal.Decimal("NaN"), fractions.Fraction(1, 2), np.ma.masked, np.random.default_rng, np.random.RandomState,
    np.int8(3), np.uint8(255), np.int64(2**62), np.uint64(2**64 - 1), np.float16(2), np.float16("inf"), np.float32("nan"), np.longdouble(1),
    np.bool_(True), np.str_("same"), np.datetime64("now"), np.timedelta64(3, "s"), np.complex64(1), np.void(b"abc"),
    np.array(3), np.array(0.5), np.array([2, 2]), np.array([0.5, 0.5]), np.array([]), np.array([[1, 2], [3, 4]]), np.array("same"),
    np.array(None), np.array([None, 1], object), np.array([1, 10**400], object), np.zeros((1, 4, 6, 5)), np.zeros((2, 4, 6, 5), np.float32),
    np.float16, "float64", "f2", "<f4", ">f8", np.dtype("f4,f8"), np.dtype(object), "bfloat16", "U5", np.longdouble, np.complex64,
]  # fmt: skip


class Subclass(np.ndarray):
    pass


def _cast(dtype: Any) -> Callable[[np.ndarray], Any]:
    def change(array: np.ndarray) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return array.astype(dtype) if array.dtype.kind not in "OVMmSU" else array

    return change


def _matrix(array: np.ndarray) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asmatrix(array)


def _filled(value: float) -> Callable[[np.ndarray], Any]:
    def change(array: np.ndarray) -> Any:
        changed = array.copy()
        if array.size and array.dtype.kind in "fiu":
            with contextlib.suppress(OverflowError, ValueError):  # what the dtype cannot hold
                changed.flat[array.size // 2] = value
        return changed

    return change


ARRAY_CHANGES: list[Callable[[np.ndarray], Any]] = [
    *map(_cast, ["f2", "f4", "f8", "g", "i1", "i8", "u8", "?", "c8", "O", "S3", "U3", ">f4", ">f8", "V4"]),
    *map(_filled, [np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-45, -0.0, 1000, -1000, 2.0**62]),
    lambda a: a.astype("i8").view("m8[s]"),
    lambda a: a.astype("i8").view("M8[s]"),
    lambda a: np.zeros(a.shape, [("a", "f4"), ("b", "i4")]),
    lambda a: a[None],
    lambda a: a[..., None],
    lambda a: a[0] if a.ndim else a,
    lambda a: a[:0] if a.ndim else a,
    lambda a: a[..., :0] if a.ndim else a,
    lambda a: a[1:] if a.ndim else a,
    lambda a: a[..., 1:] if a.ndim else a,
    lambda a: a.T,
    lambda a: a.ravel(),
    lambda a: a.sum(),
    lambda a: np.array(a.sum()),
    lambda a: np.repeat(a, 2, axis=0) if a.ndim else a,
    lambda a: np.repeat(a, 2, axis=-1) if a.ndim else a,
    lambda a: a.reshape((1,) * 40 + a.shape) if a.ndim < 10 else a,
    lambda a: a[::-1] if a.ndim else a,
    lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim else a,
    lambda a: np.ma.masked_array(a, mask=True),
    lambda a: a.view(Subclass),
    lambda a: np.recarray(a.shape, a.dtype),
    lambda a: _matrix(a) if a.ndim == 2 else a,
    lambda a: a.tolist(),
    lambda a: list(a) if a.ndim else a,
    lambda a: tuple(a) if a.ndim else a,
    lambda a: memoryview(np.ascontiguousarray(a)),
    lambda a: np.broadcast_to(np.zeros((), "f4"), (2**31, *a.shape[1:])) if a.ndim else a,
    lambda a: np.broadcast_to(np.zeros((), "f4"), (*a.shape[:-1], 2**31)) if a.ndim else a,
    lambda a: np.broadcast_to(np.zeros((), "f4"), (2**15, 2**15, 2**15, 2**15)),
    lambda a: np.broadcast_to(np.zeros((), a.dtype), (0, *a.shape[1:])) if a.ndim else a,
]


def spoiled(value: Any, draw: random.Random) -> Any:
    """A wrong value in the place of `value`, or one that is somehow like it."""
    if isinstance(value, np.ndarray) and draw.random() < 0.7:
        return draw.choice(ARRAY_CHANGES)(value)
    if isinstance(value, tuple) and value and draw.random() < 0.6:
        place = draw.randrange(len(value))
        leaves = [spoiled(leaf, draw) if i == place else leaf for i, leaf in enumerate(value)]
        if draw.random() < 0.1:
            leaves = leaves[:-1] if draw.random() < 0.5 else [*leaves, None]
        if hasattr(value, "_fields") and len(leaves) == len(value):
            return type(value)(*leaves)
        return tuple(leaves)
    if isinstance(value, dict) and value and draw.random() < 0.7:
        changed = dict(value)
        key = draw.choice(list(changed))
        if draw.random() < 0.3:
            del changed[key]
        else:
            changed[key] = spoiled(changed[key], draw)
        return changed
    return draw.choice(VALUES)


def case(call: Call, seed: int) -> dict[str, Any]:
    """The arguments of `call`, one or two of them wrong: always the same for a seed."""
    draw = random.Random(f"{call.name} {seed}")
    arguments = dict(call.arguments)
    names = [*arguments, *({"rng"} & call.made.keys())]
    for name in draw.sample(names, min(len(names), 1 if draw.random() < 0.8 else 2)):
        value = spoiled(arguments.get(name), draw)
        if name in ("lr", "no_decay") and callable(value):  # what it raises is its own
            value = None
        arguments[name] = value
    return arguments


# --- the verdict -------------------------------------------------------------------------------------------------


@functools.cache
def _raises(filename: str) -> list[tuple[int, int]]:
    """The lines of each `raise` in a file."""
    tree = ast.parse(Path(filename).read_text(encoding="utf-8"))
    return [(node.lineno, node.end_lineno or node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Raise)]


def is_own(error: BaseException) -> bool:
    """Whether the error is one of ours: of a kind that is documented, and raised by a `raise` of npconv's own."""
    if isinstance(error, MemoryError):
        return True
    if type(error) not in OWN:
        return False
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    if last.filename == __file__ or not last.filename.startswith(PACKAGE):
        # Python's own, for arguments by unknown names or missing ones.
        return isinstance(error, TypeError) and "argument" in str(error) and last.filename == __file__
    return any(first <= (last.lineno or 0) <= end for first, end in _raises(last.filename))


class Slow(BaseException):
    """The call took too long."""


def judge(call: Call, arguments: dict[str, Any], seconds: int = SECONDS) -> str | None:
    """What is wrong with how the call ended, or None; the error's kind and place, alike for alike defects."""

    def stop(*_: object) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            call(arguments)
    except Slow as error:
        last = traceback.extract_tb(error.__traceback__)[-2]
        return f"slow: {call.name} at {Path(last.filename).name}:{last.lineno}"
    except Exception as error:
        if is_own(error) and "\n" not in str(error):
            return None
        if isinstance(error, ZeroDivisionError) and "asked for" in str(error):
            return None  # the argument's own
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(PACKAGE)]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "outside"
        return f"{type(error).__name__} at {place}: {str(error)[:100]!r}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return None


def described(arguments: dict[str, Any]) -> str:
    def one(value: Any) -> str:
        if isinstance(value, np.ndarray):
            return f"{type(value).__name__}({value.dtype}, {value.shape})"
        if isinstance(value, tuple) and any(isinstance(leaf, np.ndarray) for leaf in value):
            return "(" + ", ".join(map(one, value)) + ")"
        with contextlib.suppress(Exception):
            return repr(value)[:80]
        return type(value).__name__

    return ", ".join(f"{name}={one(value)}" for name, value in arguments.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--only", default="")
    parser.add_argument("--gib", type=float, default=6.0, help="of memory that may be taken")
    options = parser.parse_args()
    limit = int(options.gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    every = [call for call in calls() if options.only in call.name]
    found: dict[str, tuple[str, int, str]] = {}
    ends: Counter[str] = Counter()
    with npconv.backend(options.backend):
        for number in range(options.calls):
            seed = options.seed + number // len(every)
            call = every[number % len(every)]
            if call.name in LARGE and seed % 50:
                continue
            arguments = case(call, seed)
            verdict = judge(call, arguments)
            ends["defect" if verdict else "right"] += 1
            if verdict and verdict not in found:
                found[verdict] = (
                    call.name,
                    seed,
                    described({n: v for n, v in arguments.items() if v is not call.arguments.get(n)}),
                )
                print(f"{verdict}\n    {call.name} {seed}: {found[verdict][2]}", flush=True)
    print(f"{sum(ends.values())} calls of {len(every)} functions, {ends['defect']} defects of {len(found)} kinds")


if __name__ == "__main__":
    main()
