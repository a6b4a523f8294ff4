"""The measured unit of a network's rounding: right float32 logits are within a few, a slightly wrong layer is far off."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv.check import networks
from npconv.check.networks import LIMIT, check_networks, judge, lively, logits_and_deviation
from npconv.models import tiny_ghostnet, tiny_octave

IMAGE = (3, 8, 8)


def pair(network, seed=0):
    """The same network in float32 and in float64, and images."""
    rng = np.random.default_rng(seed)
    model = lively(network(10, 3, rng=rng), rng).eval()
    wide = network(10, 3, rng=rng, dtype=np.float64).eval()
    for array, same in zip(wide.state().values(), model.state().values(), strict=True):
        array[...] = same
    return model, wide, rng.standard_normal((2, *IMAGE)).astype(np.float32)


@pytest.mark.parametrize("network", [tiny_octave, tiny_ghostnet])
@pytest.mark.parametrize("seed", range(2))
def test_rounding_is_right_and_more_is_wrong(network, seed, backend):
    model, wide, x = pair(network, seed)
    right = judge("tiny", backend, model(x), wide, x)
    assert right.ok
    assert 0 < right.error < LIMIT / 3  # room for other orders of summation
    assert 2**-24 < right.deviation < 2**-18

    names = [name for name, _ in model.named_params() if name.endswith(".w")]
    array = dict(model.named_params())[names[len(names) // 2]]
    array *= 1 + 2.0**-13  # what bfloat16 or a wrong epsilon does, and less
    wrong = judge("tiny", backend, model(x), wide, x)
    assert not wrong.ok
    assert "WRONG" in str(wrong)


@pytest.mark.slow
def test_the_unit_is_that_of_float32_and_grows_with_the_sums():
    _, wide, x = pair(tiny_octave)
    exact, deviation = logits_and_deviation(wide, x)
    with npconv.backend("numpy"):
        np.testing.assert_array_equal(exact, wide(x.astype(np.float64)))
    again = logits_and_deviation(wide, x)[1]
    assert deviation == again  # the same disturbances, so the same verdict
    scaled = logits_and_deviation(wide, 4 * x)[1]
    assert deviation < scaled < 16 * deviation


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("terms", [9, 256, 4608])
def test_a_disturbance_is_as_large_as_the_error_of_a_float32_sum(terms, positive):
    """One product after the other, which `cumsum` does."""
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((n, terms)).astype(np.float32) for n in (40, 30))
    x, w = (abs(x), abs(w)) if positive else (x, w)
    summed = np.cumsum(x[:, None] * w, axis=-1, dtype=np.float32)[..., -1]
    exact = x.astype(float) @ w.astype(float).T
    disturbed = networks._disturbed(rng, "linear", x.astype(float), w.astype(float), None)
    deviation, error = (np.sqrt(np.mean((y - exact) ** 2)) for y in (disturbed, summed))
    assert error / 3 < deviation < 3 * error


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        (np.zeros((2, 9)), r"logits of shape \(2, 9\), not \(2, 10\)"),
        ([1, 2], r"logits of shape \(2,\)"),
        (np.full((2, 10), np.nan), "not finite"),
    ],
)
def test_garbage_is_a_result(got, problem):
    _, wide, x = pair(tiny_octave)
    result = judge("tiny", "garbage", got, wide, x)
    assert not result.ok
    with pytest.raises(ValueError, match=problem):
        raise ValueError(str(result))


def test_what_is_asked_for_must_exist():
    with pytest.raises(ValueError, match="runner must be one of onnxruntime, onnx_reference, openvino, got 'torch'"):
        check_networks("torch")
    with pytest.raises(ValueError, match=r"a network must be one of .* got 'alexnet'"):
        check_networks("onnxruntime", ["alexnet"])
    with pytest.raises(ValueError, match="batch must be at least 1"):
        check_networks("onnxruntime", batch=0)


def test_a_runner_that_fails_is_a_result(monkeypatch):
    pytest.importorskip("onnx")

    class Broken:
        def __init__(self, **_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def call(self, *_):
            raise networks.WorkerError("death", "ended its process: signal 11")

    monkeypatch.setattr(networks, "Worker", Broken)
    (result,) = check_networks("onnxruntime", ["tiny_octave"])
    assert not result.ok
    assert str(result) == "tiny_octave on onnxruntime: death: ended its process: signal 11"
