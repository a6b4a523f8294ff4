"""Exported models pass the ONNX checker and give the same answers: in float32 by ONNX Runtime, in float64 by ONNX's own evaluator.

ONNX Runtime has no float64 convolution for CPUs, so what it cannot run goes through the evaluator that defines the operators.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from required import framework

from npconv import models, nn
from npconv.check.networks import LIMIT, logits_and_deviation
from npconv.models.resnet import ZeroPadShortcut
from npconv.nn.attention import UnitClip
from npconv.nn.replace import replace_convs

onnx = framework("onnx")
onnxruntime = framework("onnxruntime")
onnx_reference = framework("onnx.reference")

from npconv import onnx as npconv_onnx  # noqa: E402 (it is of no use without onnx)


def settled(model: nn.Layer, seed: int = 0) -> nn.Layer:
    """`model` with random statistics, scales and shifts, near enough to 0 and 1 for deep networks to keep their size."""
    rng = np.random.default_rng(seed)
    for _, layer in model.named_layers():
        if isinstance(layer, nn.BatchNorm2d):
            for array in (layer.params["beta"], layer.buffers["running_mean"]):
                array[...] = rng.uniform(-0.2, 0.2, array.shape)
            for array in (layer.params["gamma"], layer.buffers["running_var"]):
                array[...] = rng.uniform(0.7, 1.4, array.shape)
    return model


def images(*shape: int, dtype: type) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def run_runtime(proto: Any, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(proto.SerializeToString()).run(["y"], {"x": x})[0]


def run_evaluator(proto: Any, x: np.ndarray) -> np.ndarray:
    return onnx_reference.ReferenceEvaluator(proto).run(["y"], {"x": x})[0]


RUNNERS = {np.float32: (run_runtime, 1e-4), np.float64: (run_evaluator, 1e-11)}


def assert_same(model: nn.Layer, shape: tuple[int, ...], dtype: type) -> None:
    """The exported model gives what the model gives, for two images and for one."""
    run, tolerance = RUNNERS[dtype]
    proto = npconv_onnx.convert(model, shape)
    onnx.checker.check_model(proto, full_check=True)
    model.eval()
    for batch in (2, 1):
        x = images(batch, *shape, dtype=dtype)
        y, expected = run(proto, x), model(x)
        assert y.dtype == dtype
        assert y.shape == expected.shape
        assert np.abs(expected).max() > 0
        if np.abs(y - expected).max() > tolerance * np.abs(expected).max():
            # Rounding moves some networks further: by how much is measured in float64, as the cross-check does it.
            assert dtype == np.float32
            exact, deviation = logits_and_deviation(in_float64(model), x)
            for logits in (y, expected):
                assert np.abs(logits - exact).max() <= LIMIT * deviation


def in_float64(model: nn.Layer) -> nn.Layer:
    """A copy of the network with wider numbers."""
    wide = copy.deepcopy(model)
    for _, layer in wide.named_layers():
        for arrays in (layer.params, layer.buffers):
            arrays.update({name: array.astype(np.float64) for name, array in arrays.items()})
    return wide


def sizes(proto: Any) -> dict[str, tuple[int, ...]]:
    """The shape that ONNX's own shape inference finds for each map, without the batch."""
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    return {
        info.name: tuple(axis.dim_value for axis in info.type.tensor_type.shape.dim[1:])
        for info in inferred.graph.value_info
    }


# --- layers, one by one ------------------------------------------------------------------------------------------

IMAGE = (4, 7, 6)


def layers(dtype: type) -> dict[str, nn.Layer]:
    made: dict[str, Any] = {"rng": np.random.default_rng(0), "dtype": dtype}
    relu = nn.ReLU()
    cases = {
        "conv": nn.Conv2d(4, 6, 3, **made),
        "asymmetric": nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=((2, 0), (0, 1)), groups=2, **made),
        "dilated": nn.Conv2d(4, 6, 3, dilation=2, padding=1, bias=False, **made),
        "same": nn.Conv2d(4, 6, 4, stride=2, padding="same", **made),
        "same_lower": nn.Conv2d(4, 6, 4, stride=2, padding="same_lower", **made),
        "depthwise": nn.DepthwiseConv2d(4, 3, multiplier=2, stride=2, padding=1, **made),
        "pointwise": nn.PointwiseConv2d(4, 6, stride=2, groups=2, **made),
        "separable": nn.SeparableConv2d(4, 6, 3, multiplier=2, padding="same", **made),
        "batch norm": settled(nn.BatchNorm2d(4, dtype=dtype)),
        "large eps": settled(nn.BatchNorm2d(4, eps=0.25, dtype=dtype)),
        "relu": relu,
        "relu6": nn.Sequential(nn.Conv2d(4, 40, 3, **made), nn.ReLU6()),
        "hard sigmoid": nn.Sequential(nn.Conv2d(4, 40, 3, **made), nn.HardSigmoid()),
        "hard swish": nn.Sequential(nn.Conv2d(4, 40, 3, **made), nn.HardSwish()),
        "unit clip": UnitClip(),
        "global pool": nn.GlobalAvgPool2d(),
        "upsample": nn.Upsample((2, 3)),
        "upsample, cropped": nn.Upsample((2, 3), size=(13, 16)),
        "shuffle": nn.ChannelShuffle(2),
        "shuffle of six": nn.Sequential(nn.PointwiseConv2d(4, 6, **made), nn.ChannelShuffle(3)),
        "linear": nn.Sequential(nn.Flatten(), nn.Linear(4 * 7 * 6, 5, **made)),
        "linear, no bias": nn.Sequential(nn.Flatten(), nn.Linear(4 * 7 * 6, 5, bias=False, **made)),
        "dropout": nn.Sequential(nn.Dropout(0.5, rng=made["rng"])),
        "identity": nn.Identity(),
        "empty": nn.Sequential(),
        "residual": nn.Residual(nn.Conv2d(4, 4, 3, padding=1, **made)),
        "concat": nn.Concat(nn.Identity(), nn.Conv2d(4, 3, 3, padding=1, **made), nn.ReLU()),
        "squeeze": nn.SqueezeExcite(4, 2, **made),
        "clipped squeeze": nn.SqueezeExcite(4, 2, squash="clip", **made),
        "zero pad": ZeroPadShortcut(4, 6, stride=2),
        "zero pad, stride 1": ZeroPadShortcut(4, 6),
        "ghost": settled(nn.GhostModule(4, 6, **made)),
        "ghost, cut": settled(nn.GhostModule(4, 7, 3, ratio=3, stride=2, activation=False, **made)),
        "ghost, ratio 1": settled(nn.GhostModule(4, 6, ratio=1, **made)),
    }
    for layer in cases.values():
        for name, array in layer.named_params():
            if name.endswith("b"):
                array[...] = made["rng"].standard_normal(array.shape)
    return cases


@pytest.mark.parametrize("dtype", RUNNERS)
@pytest.mark.parametrize("name", layers(np.float32))
def test_layer(name: str, dtype: type) -> None:
    # models without parameters are float32: one with a parameter makes them the dtype's
    start = nn.BatchNorm2d(4, dtype=dtype)
    assert_same(nn.Sequential(start=start, layer=layers(dtype)[name]), IMAGE, dtype)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", [0, 1, ((0, 1), (1, 0)), ((2, 0), (0, 2)), "same"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(5, 6), (7, 8)])
def test_pooling(size: tuple[int, int], stride: int, padding: Any, ceil_mode: bool) -> None:
    options: dict[str, Any] = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    pools = [nn.MaxPool2d(3, **options), nn.AvgPool2d(3, **options), nn.AvgPool2d(3, count_include_pad=True, **options)]
    for pool in pools:
        assert_same(pool, (2, *size), np.float32)


@pytest.mark.parametrize(("stride", "stride_mode"), [(1, "pool"), (2, "pool"), (2, "conv")])
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (6, 7)])
@pytest.mark.parametrize("alpha_out", [0, 0.25, 1])
@pytest.mark.parametrize("alpha_in", [0, 0.5, 1])
def test_octave(alpha_in: float, alpha_out: float, size: tuple[int, int], stride: int, stride_mode: Any) -> None:
    made: dict[str, Any] = {"rng": np.random.default_rng(0), "dtype": np.float32}
    options: dict[str, Any] = made | {"padding": 1, "stride_mode": stride_mode}
    model = settled(
        nn.Sequential(
            first=nn.OctaveConv2d(4, 8, 3, alpha_in=0, alpha_out=alpha_in, **options),
            bn=nn.OctaveBatchNorm2d(8, alpha=alpha_in),
            relu=nn.PerFrequency(nn.ReLU(), nn.ReLU6()),
            depthwise=nn.OctaveDepthwiseConv2d(8, 3, alpha=alpha_in, multiplier=1, **options),
            middle=nn.OctaveConv2d(8, 8, 3, alpha_in=alpha_in, alpha_out=alpha_out, stride=stride, groups=2, **options),
            branches=nn.Residual(nn.PerFrequency(nn.ReLU()), nn.Concat(nn.Identity())),
            last=nn.OctaveConv2d(8, 4, 1, alpha_in=alpha_out, alpha_out=0, bias=False, **made),
        )
    )
    for name, array in model.named_params():
        if ".b_" in name:
            array[...] = made["rng"].standard_normal(array.shape)
    assert_same(model, (4, *size), np.float32)


# --- models ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", RUNNERS)
@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("name", models.MODELS)
def test_tiny_model(name: str, size: int, dtype: type) -> None:
    if dtype == np.float64 and size == 32:
        size = 12  # the evaluator takes a second for each thousand pixels
    model = models.MODELS[name](10, 3, rng=np.random.default_rng(0), dtype=dtype)
    assert_same(settled(model), (3, size, size), dtype)


def test_folded_model() -> None:
    model = models.MODELS["octave"](10, 3, rng=np.random.default_rng(0), dtype=np.float64)
    folded = nn.fold_batch_norm(settled(model))
    assert "BatchNormalization" not in {node.op_type for node in npconv_onnx.convert(folded, (3, 8, 8)).graph.node}
    assert_same(folded, (3, 8, 8), np.float64)


@pytest.mark.parametrize("kind", ["ghost", "octave", "separable"])
def test_replaced_model(kind: Any) -> None:
    model = models.MODELS["resnet"](10, 3, rng=np.random.default_rng(0))
    assert_same(settled(replace_convs(model, kind, rng=np.random.default_rng(1))), (3, 16, 16), np.float32)


# A network has the same weights for images of any size: most take small ones too.
SMALL = {"ds_cnn": (1, 49, 10)}
VARIANTS: dict[str, tuple[Callable[..., nn.Layer], dict[str, Any]]] = {
    "mobilenet_v1 as in PyTorch": (models.mobilenet_v1, {"width": 0.25, "padding": 1, "activation": "relu"}),
    "shufflenet_v1 with SE": (models.shufflenet_v1, {"groups": 8, "scale": 0.5, "squeeze_excite": True}),
    "shufflenet_v1, no shuffle": (models.shufflenet_v1, {"groups": 1, "scale": 0.25, "shuffle": False}),
    "ghostnet as in TensorFlow": (models.ghostnet, {"width": 0.5, "variant": "tensorflow"}),
    "ghostnet, ratio 3": (models.ghostnet, {"width": 0.5, "ratio": 3}),
    "resnet v2": (models.resnet, {"depth": 26, "version": "v2", "channels": 16}),
    "se_resnext": (models.resnet, {"depth": 26, "groups": 8, "group_width": 8, "squeeze_excite": True}),
    "se_oct_resnet": (models.oct_resnet, {"depth": 26, "squeeze_excite": True, "channels": 16}),
    "oct_resnet, conv": (models.oct_resnet, {"depth": 26, "stride_mode": "conv", "channels": 16, "version": "v1"}),
}


@pytest.mark.parametrize("name", [name for name in models.NETWORKS if not name.startswith("tiny_")])
def test_full_network(name: str) -> None:
    model = models.NETWORKS[name](rng=np.random.default_rng(0))
    assert_same(settled(model), SMALL.get(name, (3, 32, 32)), np.float32)


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name: str) -> None:
    network, options = VARIANTS[name]
    assert_same(settled(network(**options, num_classes=10, rng=np.random.default_rng(0))), (3, 33, 35), np.float32)


def test_maps_have_the_shapes_that_onnx_finds() -> None:
    """What the export works out for itself, so as to lay padding and crop, against the inference of ONNX."""
    model = models.MODELS["octave"](10, 3, rng=np.random.default_rng(0))
    proto = npconv_onnx.convert(model, (3, 9, 7))
    found = sizes(proto)
    seen: dict[str, tuple[int, ...]] = {}
    for name in ("stem.relu.Relu", "block1.sum.main.bn2.low.BatchNormalization", "block3.sum.Add"):
        seen[name] = found[name]
    assert seen == {
        "stem.relu.Relu": (16, 9, 7),
        "block1.sum.main.bn2.low.BatchNormalization": (8, 5, 4),
        "block3.sum.Add": (32, 5, 4),
    }


# --- the file ----------------------------------------------------------------------------------------------------


def test_the_file(tmp_path: Path) -> None:
    model = settled(models.MODELS["ghostnet"](rng=np.random.default_rng(0)))
    npconv_onnx.export(model, tmp_path / "model.onnx", (1, 8, 8))
    proto = onnx.load(tmp_path / "model.onnx")
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 15)]
    assert (proto.ir_version, proto.producer_name) == (8, "npconv")
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in proto.graph.initializer}
    for name, array in model.state().items():
        np.testing.assert_array_equal(arrays[name], array)
    x = images(3, 1, 8, 8, dtype=np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    np.testing.assert_allclose(session.run(None, {"x": x})[0], model.eval()(x), rtol=1e-4, atol=1e-4)


def test_the_same_model_is_the_same_file() -> None:
    model = models.MODELS["octave"](rng=np.random.default_rng(0))
    one, two = (npconv_onnx.convert(model, (1, 8, 8)).SerializeToString(deterministic=True) for _ in range(2))
    assert one == two


def test_the_model_is_as_it_was() -> None:
    model = models.MODELS["mobilenet"](rng=np.random.default_rng(0))
    y = model(images(2, 1, 8, 8, dtype=np.float32))
    state = {name: array.copy() for name, array in model.state().items()}
    npconv_onnx.convert(model, (1, 8, 8))
    assert model.training
    model.backward(np.ones_like(y))  # still belongs to the forward before
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, state[name])


# --- errors ------------------------------------------------------------------------------------------------------


class Twice(nn.ReLU):
    """A layer whose parent export knows, and which does something else."""

    def forward(self, x: Any) -> Any:
        return 2 * super().forward(x)


class Foreign(nn.Layer):
    def forward(self, x: Any) -> Any:
        return x

    def backward(self, dy: Any) -> Any:
        return dy


def octave_end() -> nn.Layer:
    return nn.OctaveConv2d(1, 4, 1, alpha_in=0, alpha_out=0.5, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("model", "shape", "error", "message"),
    [
        (lambda: "model", (1, 8, 8), TypeError, "model must be a Layer, got str"),
        (lambda: nn.Sequential(a=nn.Sequential(b=Foreign())), (1, 8, 8), TypeError, "got a.b: Foreign"),
        (Foreign, (1, 8, 8), TypeError, "got model: Foreign"),
        (Twice, (1, 8, 8), TypeError, "got model: Twice"),
        (nn.ReLU, (8, 8), ValueError, "image_shape must have 3 sizes (C, H, W), got (8, 8)"),
        (nn.ReLU, (1, 0, 8), ValueError, "image_shape must have no empty axis but the batch, got shape (1, 0, 8)"),
        (nn.ReLU, 8, TypeError, "image_shape must be a tuple of 3 ints, got 8"),
        (
            lambda: nn.ChannelShuffle(2),
            (3, 8, 8),
            ValueError,
            "groups must divide the channels, got groups=2, channels=3",
        ),
        (octave_end, (1, 8, 8), ValueError, "model must give one array, got OctaveMap"),
    ],
)
def test_errors(model: Callable[[], Any], shape: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        npconv_onnx.convert(model(), shape)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        npconv_onnx.export(nn.ReLU(), tmp_path / "nowhere" / "model.onnx", (1, 8, 8))


def test_without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'npconv[check]'")):
        npconv_onnx.convert(nn.ReLU(), (1, 8, 8))
