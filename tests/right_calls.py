"""A right call of every public function, layer, network and optimiser: what fuzzing.py makes wrong."""

from __future__ import annotations

import functools
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import npconv
from npconv import (
    OctaveBias,
    OctaveMap,
    OctaveWeight,
    costs,
    data,
    geometry,
    layouts,
    models,
    nn,
    optim,
    testing,
    training,
    weights,
)


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
    return [
        call
        for group in (_operators, _layers, _networks, _optimisers, _closed_forms, _files, _images, _judges, _others)
        for call in group()
    ]


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


def _network() -> nn.Sequential:
    return nn.Sequential(stem=nn.Conv2d(4, 2, 3, rng=rng()), norm=nn.BatchNorm2d(2), pool=nn.GlobalAvgPool2d())


def _images() -> Iterator[Call]:
    """What is done to images before a network has them, and to the layers of a network."""
    yield Call("data.batch_count", data.batch_count, {"images": 5, "batch": 2})
    batches = {"images": X, "labels": LABELS, "batch": 2}
    yield Call("data.batches", lambda **given: list(data.batches(**given)), batches)
    yield Call("data.take", data.take, {"images": X, "index": LABELS % 2})
    yield Call("data.parse_augmentation", data.parse_augmentation, {"text": "shift=1,flip"})
    for function, setting in (
        (data.random_shift, {"pixels": 1}),
        (data.pad_crop, {"pixels": 1}),
        (data.flip, {}),
        (data.rotate, {"degrees": 5.0}),
        (data.color, {"strength": 0.2}),
    ):
        yield Call(f"data.{function.__name__}", function, {"images": X, **setting}, rng=rng)
    counted = {"labels": LABELS, "predictions": LABELS, "classes": 4}
    yield Call("training.confusion_matrix", training.confusion_matrix, counted)
    yield Call("nn.is_frozen", nn.is_frozen, {"layer": _network()})
    for name in ("freeze", "unfreeze"):
        yield Call(
            f"nn.Sequential.{name}", lambda pattern, name=name: getattr(_network(), name)(pattern), {"pattern": "st*"}
        )


def _judges() -> Iterator[Call]:
    """What holds other people's results to their bounds."""
    small = X[:1, :1, :2, :2]
    swish = {"forward": npconv.hard_swish, "backward": npconv.hard_swish_backward, "dy": small}
    yield Call(
        "testing.assert_close",
        lambda got, op, x, **options: testing.assert_close(got, op, x, **options),
        {"got": npconv.reference.relu(X), "op": "relu", "x": X, "arithmetic": None},
    )
    yield Call("testing.error_in_bounds", testing.error_in_bounds, {"got": X, "exact": X, "bound": 0.1})
    yield Call(
        "testing.probabilistic_bound", testing.probabilistic_bound, {"magnitude": X, "terms": 5, "dtype": np.float32}
    )
    yield Call(
        "testing.check_gradients",
        lambda step, rtol, samples, rng, **given: testing.check_gradients(
            args=(small,), step=step, rtol=rtol, samples=samples, rng=rng, **given
        ),
        {**swish, "step": 1e-5, "rtol": 1e-4, "samples": 2},
        rng=rng,
    )


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


MEMORY = "/dev/shm"  # a folder of files that no disk is waited for


def _files() -> Iterator[Call]:
    """Writers and readers of files, in a folder that is made anew for each call: whatever the name is, it lies there."""
    layer, conv = nn.Linear(2, 3, rng=rng()), nn.Conv2d(1, 2, 1, rng=rng())

    def there(function: Callable[..., Any], **arguments: Any) -> None:
        before = os.getcwd()
        with tempfile.TemporaryDirectory(dir=MEMORY if Path(MEMORY).is_dir() else None) as folder:
            os.chdir(folder)
            try:
                weights.save(layer, "layer")
                np.savez("data.npz", images=np.arange(144.0).reshape(9, 4, 4), labels=np.arange(9) % 3)
                Path("recipe").write_text("epochs = 3", encoding="utf-8")
                training.save("kept", layer, optim.SGD(0.1), training.Progress(seed=0))
                function(**arguments)
            finally:
                os.chdir(before)

    def loaded(path: Any, size: Any, seed: Any) -> None:
        data.load(path, size=size, seed=seed)

    for name, function, arguments in (
        ("weights.save", weights.save, {"model": {"a": X, "b": X > 0}, "path": "new", "metadata": {"a": "b"}}),
        ("weights.load", lambda **a: weights.load(nn.Linear(2, 3, rng=rng()), **a), {"path": "layer", "source": None}),
        ("weights.metadata", weights.metadata, {"path": "layer"}),
        ("weights.read", weights.read, {"path": "layer"}),
        ("weights.load_state_dict", lambda **a: weights.load_state_dict(nn.Linear(2, 3, rng=rng()), **a), {"state": layer.state(), "source": None}),
        ("models.noted", models.noted, {"path": "layer"}),
        ("training.save", lambda **a: training.save(optimizer=optim.SGD(0.1), progress=training.Progress(seed=0), **a), {"folder": "new", "model": conv, "about": {"a": 1}}),
        ("training.resume", lambda **a: training.resume(model=nn.Linear(2, 3, rng=rng()), optimizer=optim.SGD(0.1), **a), {"folder": "kept"}),
        ("training.read_recipe", training.read_recipe, {"path": "recipe"}),
        ("data.load", loaded, {"path": "data.npz", "size": None, "seed": 0}),
        ("data.from_arrays", data.from_arrays, {"images": np.arange(144.0).reshape(9, 4, 4), "labels": np.arange(9) % 3, "seed": 0}),
    ):  # fmt: skip
        yield Call(name, functools.partial(there, function), arguments)


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
