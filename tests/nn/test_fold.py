"""Folding batch norm away changes no answer, leaves no batch norm behind a convolution, and touches nothing of the model."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from npconv import OctaveMap, nn
from npconv.models import MODELS


def settled(model: nn.Layer, seed: int = 0) -> nn.Layer:
    """`model` with random batch norms: each running statistic and each scale and shift its own."""
    rng = np.random.default_rng(seed)
    for _, layer in model.named_layers():
        if isinstance(layer, nn.BatchNorm2d):
            for array in (layer.params["beta"], layer.buffers["running_mean"]):
                array[...] = rng.standard_normal(array.shape)
            for array in (layer.params["gamma"], layer.buffers["running_var"]):
                array[...] = rng.uniform(0.3, 2, array.shape)
    return model


def copied(model: nn.Layer) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.state().items()}


def batch_norms(model: nn.Layer) -> list[str]:
    return [path for path, layer in model.named_layers() if isinstance(layer, nn.BatchNorm2d)]


def assert_close(y: object, expected: object, tolerance: float) -> None:
    """Equal to `tolerance` relative to the largest number, map by map."""
    assert type(y) is type(expected)
    for one, two in zip(y, expected, strict=True) if isinstance(y, OctaveMap) else [(y, expected)]:
        assert (one is None) == (two is None)
        if two is not None:
            assert one.dtype == two.dtype
            assert np.abs(one - two).max() <= tolerance * np.abs(two).max()


def images(*shape: int, dtype: type = np.float64) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_the_same_logits(name: str, dtype: type, tolerance: float, backend: None) -> None:
    model = settled(MODELS[name](10, 3, rng=np.random.default_rng(0), dtype=dtype))
    x = images(2, 3, 9, 11, dtype=dtype)
    folded = nn.fold_batch_norm(model)
    assert batch_norms(model)
    assert not batch_norms(folded)
    assert_close(folded(x), model.eval()(x), tolerance)


def conv(bias: bool) -> nn.Layer:
    return nn.Conv2d(
        4, 6, 3, stride=2, padding=((1, 0), (2, 1)), groups=2, bias=bias, rng=np.random.default_rng(0), dtype=np.float64
    )


def octave(alpha_in: float, alpha_out: float, bias: bool, stride: int, stride_mode: str) -> nn.Layer:
    return nn.OctaveConv2d(
        4,
        6,
        3,
        alpha_in=alpha_in,
        alpha_out=alpha_out,
        padding=1,
        stride=stride,
        stride_mode=stride_mode,
        bias=bias,
        rng=np.random.default_rng(0),
        dtype=np.float64,
    )


OPTIONS = {"rng": np.random.default_rng(0), "dtype": np.float64}
PLAIN = {
    "conv": lambda bias: conv(bias),
    "depthwise": lambda bias: nn.DepthwiseConv2d(4, 3, multiplier=2, dilation=2, bias=bias, **OPTIONS),
    "pointwise": lambda bias: nn.PointwiseConv2d(4, 6, groups=2, bias=bias, **OPTIONS),
    "separable": lambda bias: nn.SeparableConv2d(4, 6, 3, multiplier=2, bias=bias, **OPTIONS),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", PLAIN)
def test_each_convolution(kind: str, bias: bool) -> None:
    layer = PLAIN[kind](bias)
    if bias:
        layer.params["b"][...] = images(*layer.params["b"].shape)
    x = images(2, 4, 7, 6)
    model = settled(nn.Sequential(conv=layer, bn=nn.BatchNorm2d(layer(x).shape[1], dtype=np.float64)))
    folded = nn.fold_batch_norm(model)
    assert list(folded.children()) == ["conv"]
    assert "bias=False" not in repr(folded)
    assert_close(folded(x), model.eval()(x), 1e-12)


@pytest.mark.parametrize(("stride", "stride_mode"), [(1, "pool"), (2, "pool"), (2, "conv")])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("alpha_out", [0, 0.5, 1])
@pytest.mark.parametrize("alpha_in", [0, 0.5, 1])
def test_octave_convolution(alpha_in: float, alpha_out: float, bias: bool, stride: int, stride_mode: str) -> None:
    layer = octave(alpha_in, alpha_out, bias, stride, stride_mode)
    for name in layer.params:
        layer.params[name][...] = images(*layer.params[name].shape)
    high, low = ((images(2, channels, *size)) for channels, size in ((2, (7, 8)), (2, (4, 4))))
    x = {0: images(2, 4, 7, 8), 0.5: OctaveMap(high, low), 1: OctaveMap(None, images(2, 4, 4, 4))}[alpha_in]
    model = settled(nn.Sequential(conv=layer, bn=nn.OctaveBatchNorm2d(6, alpha=alpha_out, dtype=np.float64)))
    folded = nn.fold_batch_norm(model)
    assert not batch_norms(folded)
    assert_close(folded(x), model.eval()(x), 1e-12)


def test_octave_depthwise_convolution() -> None:
    layer = nn.OctaveDepthwiseConv2d(6, 3, alpha=0.5, padding=1, bias=False, **OPTIONS)
    model = settled(nn.Sequential(layer, nn.OctaveBatchNorm2d(6, alpha=0.5, dtype=np.float64)))
    x = OctaveMap(images(2, 3, 5, 4), images(2, 3, 3, 2))
    assert_close(nn.fold_batch_norm(model)(x), model.eval()(x), 1e-12)
    assert not batch_norms(nn.fold_batch_norm(model))


def test_one_frequency_normalised_alone_stays() -> None:
    layer = octave(0, 0.5, False, 1, "pool")
    model = settled(nn.Sequential(layer, nn.PerFrequency(nn.BatchNorm2d(3, dtype=np.float64))))
    x = images(2, 4, 6, 6)
    assert batch_norms(nn.fold_batch_norm(model)) == ["1.high"]
    assert_close(nn.fold_batch_norm(model)(x), model.eval()(x), 1e-12)


def test_ghost_modules_fold_in_both_parts() -> None:
    model = settled(nn.GhostModule(4, 7, ratio=3, **OPTIONS))
    x = images(2, 4, 5, 5)
    folded = nn.fold_batch_norm(model)
    assert list(folded.primary.children()) == ["conv", "relu"] == list(folded.cheap.children())
    assert_close(folded(x), model.eval()(x), 1e-12)


def test_nested_sequentials_are_one_chain() -> None:
    bn = nn.BatchNorm2d(6, dtype=np.float64)
    inner = nn.Sequential(nn.Sequential(conv=conv(False)), nn.Identity())
    model = settled(nn.Sequential(head=inner, tail=nn.Sequential(bn=bn, relu=nn.ReLU())))
    folded = nn.fold_batch_norm(model)
    assert [path for path, _ in folded.named_layers()] == [
        "", "head", "head.0", "head.0.conv", "head.1", "tail", "tail.relu"
    ]  # fmt: skip
    x = images(2, 4, 5, 5)
    assert_close(folded(x), model.eval()(x), 1e-12)


def test_two_batch_norms_in_a_row() -> None:
    norms = {f"bn{number}": nn.BatchNorm2d(6, dtype=np.float64) for number in (1, 2)}
    model = settled(nn.Sequential(conv=conv(False), **norms))
    folded = nn.fold_batch_norm(model)
    assert list(folded.children()) == ["conv"]
    x = images(2, 4, 5, 5)
    assert_close(folded(x), model.eval()(x), 1e-12)


STAYS = {
    "before the convolution": lambda: nn.Sequential(nn.BatchNorm2d(4, dtype=np.float64), conv(False)),
    "behind a ReLU": lambda: nn.Sequential(conv(False), nn.ReLU(), nn.BatchNorm2d(6, dtype=np.float64)),
    "behind a sum": lambda: nn.Sequential(nn.Residual(conv(True), conv(False)), nn.BatchNorm2d(6, dtype=np.float64)),
    "in a branch": lambda: nn.Sequential(conv(False), nn.Residual(nn.BatchNorm2d(6, dtype=np.float64))),
    "alone": lambda: nn.BatchNorm2d(4, dtype=np.float64),
}


@pytest.mark.parametrize("where", STAYS)
def test_what_no_convolution_can_take_over_stays(where: str) -> None:
    model = settled(STAYS[where]())
    x = images(2, 4, 5, 5)
    folded = nn.fold_batch_norm(model)
    assert len(batch_norms(folded)) == 1
    np.testing.assert_array_equal(folded(x), model.eval()(x))


def test_the_model_is_as_it_was() -> None:
    model = settled(MODELS["ghostnet"](rng=np.random.default_rng(0), dtype=np.float64))
    x = images(3, 1, 8, 8)
    dy = np.ones_like(model(x))
    state, text = copied(model), repr(model)
    folded = nn.fold_batch_norm(model)
    for array in folded.state().values():
        array[...] = np.nan
    assert model.training
    assert repr(model) == text
    assert copied(model).keys() == state.keys()
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, state[name])
    model.backward(dy)  # still belongs to the forward before
    assert not folded.training
    assert not list(folded.named_grads())
    with pytest.raises(RuntimeError, match="after a forward"):
        folded.backward(dy)


def test_a_folded_model_still_learns() -> None:
    model = nn.fold_batch_norm(settled(MODELS["octave"](rng=np.random.default_rng(0), dtype=np.float64))).train()
    y = model(images(2, 1, 8, 8))
    model.backward(np.ones_like(y))
    grads = dict(model.named_grads())
    assert {name: grad.shape for name, grad in grads.items()} == {n: p.shape for n, p in model.named_params()}


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_predict_works_in_batches(batch: int) -> None:
    model = settled(MODELS["shufflenet"](rng=np.random.default_rng(0), dtype=np.float64))
    x = images(5, 1, 8, 8)
    logits = nn.predict(model, x, batch=batch)
    assert model.training
    assert logits.shape == (5, 10)
    assert_close(logits, model.eval()(x), 1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.fold_batch_norm("conv"), TypeError, "model must be a Layer, got str"),
        (lambda: nn.predict("conv", images(1, 1, 8, 8)), TypeError, "model must be a Layer, got str"),
        (lambda: nn.predict(nn.ReLU(), images(1, 8, 8)), ValueError, "images must have 4 axes (N, C, H, W), got 3"),
        (lambda: nn.predict(nn.ReLU(), [1.0]), TypeError, "images must be a NumPy array, got list"),
        (lambda: nn.predict(nn.ReLU(), images(1, 1, 8, 8), batch=0), ValueError, "batch must be at least 1"),
        (
            lambda: nn.predict(nn.ReLU(), images(0, 1, 8, 8)),
            ValueError,
            "images must hold at least one image, got none",
        ),
    ],
)
def test_errors(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()
