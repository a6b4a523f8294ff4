"""The fingerprint names simulated arithmetics and npconv's own, and answers every question with what was seen."""

from __future__ import annotations

import itertools
import json
from functools import partial

import numpy as np
import pytest
from formats import round_significand
from simulated import SIMULATED, direct, fft, fft_in_tiles, strassen, winograd

from npconv import ops
from npconv.check.arithmetic import NO_ANSWER, fingerprint
from npconv.workers import WorkerError

SMALL = {"channels": 3, "out_channels": 4, "size": 10}
NAMED = [(name, forward) for name, forwards in SIMULATED.items() for forward in forwards]
small = partial(fingerprint, **SMALL)


@pytest.mark.parametrize("shape", [(1, 12, 10), (20, 9, 11)], ids=str)
@pytest.mark.parametrize(("name", "forward"), NAMED, ids=[name for name, _ in NAMED])
def test_simulated_arithmetics_are_named(name, forward, shape):
    channels, out_channels, size = shape
    found = fingerprint(forward, channels=channels, out_channels=out_channels, size=size, seed=channels)
    assert found.name == name, str(found)


@pytest.mark.parametrize(
    ("op", "dtype", "name"),
    [
        ("conv2d", np.float32, "float32, direct sums"),
        ("conv2d", np.float64, "float64, direct sums"),
        ("conv2d", np.float16, "float16 products, float32 sums"),
        ("depthwise_conv2d", np.float32, "float32, direct sums"),
        ("pointwise_conv2d", np.float32, "float32, direct sums"),
        ("pointwise_conv2d", np.float64, "float64, direct sums"),
    ],
)
def test_npconv(backend, op, dtype, name):
    found = fingerprint(getattr(ops, op), op=op, dtype=dtype, channels=16, out_channels=4, size=12)
    assert found.name == name, str(found)
    no = [question for question, finding in found.findings().items() if finding.value is False]
    assert not {"repeatable", "nan_exact", "infinity_exact"} & set(no), str(found)


# --- details of sums and products ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({}, "one after another in the order (channel, row, column)"),
        ({"order": "reversed"}, "one after another in the order (channel, row, column) from the last to the first"),
        ({"channels_last": True}, "one after another in the order (row, column, channel)"),
        (
            {"order": "blocks", "block": 6},
            "in blocks of 6 terms in the order (channel, row, column), one after another in each, and then block after block",
        ),
        (
            {"order": "pairwise"},
            "not one after another; the smallest partial sums with both of two terms hold 2 of 0 and 1, 4 of 0 and 2, "
            "4 of 0 and 3, 8 of 0 and 4, ",
        ),
    ],
)
def test_the_order_of_sums_is_found(options, order):
    assert small(direct(**options)).order.startswith(order)


@pytest.mark.parametrize("order", ["sequential", "blocks", "pairwise"])
@pytest.mark.parametrize("fused", [False, True])
def test_fused_multiply_adds_are_found(fused, order):
    found = small(direct(fused=fused, order=order))
    assert found.fused.value == fused


def test_where_products_are_exact_fusing_cannot_be_seen():
    assert small(direct(products="bfloat16", fused=True)).fused.value is None


@pytest.mark.parametrize(
    ("products", "rounding"), [("bfloat16", "to nearest, ties to even"), ("truncated bfloat16", "towards zero")]
)
def test_the_rounding_of_factors_is_found(products, rounding):
    assert f"factors are rounded {rounding}" in small(direct(products=products)).evidence


def test_effective_bits():
    assert small(direct(sums="float64")).effective_bits > 24  # relative to the sum of the terms' absolute values
    assert 20 < small(direct()).effective_bits < 24.5
    assert 10 < small(direct(products="TF32")).effective_bits < 13
    assert 7 < small(direct(products="bfloat16")).effective_bits < 10


def test_tiles_are_seen_in_evidence():
    assert "rows are computed in tiles of 4, columns in tiles of 4" in str(small(winograd(4)))
    assert "rows are computed with all others, columns with all others" in str(small(fft()))
    assert "rows are computed in tiles that overlap, of 4, columns" in str(small(fft_in_tiles(4)))
    assert "or half of all outputs away" in str(small(strassen()))


# --- behaviour -----------------------------------------------------------------------------------------------------


def skipping_padding(x, w, padding=0):
    """Adds up shifted images, without any products beyond their borders."""
    size = x.shape[2]
    y = np.zeros((len(x), len(w), size, size), x.dtype)
    for r, s in itertools.product(range(3), range(3)):
        rows, columns = (slice(max(0, 1 - tap), size - max(0, tap - 1)) for tap in (r, s))
        from_rows, from_columns = (slice(max(0, tap - 1), size - max(0, 1 - tap)) for tap in (r, s))
        y[:, :, rows, columns] += np.einsum("nchw,oc->nohw", x[:, :, from_rows, from_columns], w[:, :, r, s])
    return y


def flushed(array):
    return np.where(np.abs(array) < np.finfo(np.float32).tiny, np.float32(0), array)


def flushing_inputs(x, w, padding=0):
    return direct()(flushed(x), flushed(w), padding=padding)


def flushing_results(x, w, padding=0):
    return flushed(direct()(x, w, padding=padding))


def without_nan(x, w, padding=0):
    return direct()(np.nan_to_num(x), w, padding=padding)


def by_batch(x, w, padding=0):
    return direct(order="sequential" if len(x) > 1 else "reversed")(x, w, padding=padding)


def alternating():
    orders = itertools.cycle([direct(), direct(order="reversed")])
    return lambda x, w, padding=0: next(orders)(x, w, padding=padding)


PLAIN = {
    "padding_multiplied": True,
    "repeatable": True,
    "same_alone": True,
    "same_on_threads": None,
    "denormal_inputs_flushed": False,
    "denormal_results_flushed": False,
    "nan_exact": True,
    "infinity_exact": True,
    "negative_zero_kept": False,
}


@pytest.mark.parametrize(
    ("forward", "deviations"),
    [
        (direct(), {}),
        (skipping_padding, {"padding_multiplied": False}),
        (flushing_inputs, {"denormal_inputs_flushed": True}),
        (flushing_results, {"denormal_results_flushed": True}),
        (without_nan, {"nan_exact": False, "infinity_exact": False}),
        (by_batch, {"same_alone": False}),
        (alternating(), {"repeatable": False, "same_alone": False}),
        (direct(order="pairwise"), {"negative_zero_kept": True}),
        (winograd(2), {"nan_exact": False, "infinity_exact": False, "padding_multiplied": None}),
        (fft(), {"nan_exact": False, "infinity_exact": False, "padding_multiplied": None}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_behaviour_is_found(forward, deviations):
    findings = small(forward).findings()
    assert findings.keys() == {*PLAIN, "fused"}
    asked = deviations if "padding_multiplied" in deviations else PLAIN | deviations
    assert {question: findings[question].value for question in asked} == asked
    assert all(finding.evidence for finding in findings.values())


def test_nan_is_located():
    found = small(fft(), seed=1)
    assert "in rows 0 to 9, columns 0 to 9" in found.nan_exact.evidence
    assert "9 of the 9 outputs" in fingerprint(direct(), channels=1, out_channels=1, size=10).nan_exact.evidence


@pytest.mark.parametrize(("other", "same"), [(direct(), True), (direct(order="reversed"), False)])
def test_threads_are_compared_where_functions_are_given(other, same):
    assert small(direct(), by_threads={1: direct(), 4: other}).same_on_threads.value is same


# --- anything may happen -------------------------------------------------------------------------------------------


def raising(*arguments, **options):
    raise RuntimeError("no such kernel")


def raising_elsewhere(*arguments, **options):
    """As a worker tells it."""
    raise WorkerError("exception", "no such kernel", "RuntimeError")


def raising_on_nan(x, w, padding=0):
    if np.isnan(x).any():
        raise FloatingPointError("NaN in x")
    return direct()(x, w, padding=padding)


def flipped(x, w, padding=0):
    return direct()(x, w[:, :, ::-1, ::-1], padding=padding)


@pytest.mark.parametrize(
    ("forward", "evidence"),
    [
        (raising, "raised RuntimeError: no such kernel"),
        (raising_elsewhere, "raised RuntimeError: no such kernel"),
        (flipped, "no convolution"),
        (lambda x, w, padding: np.full((2, 4, 10, 10), np.nan, np.float32), "no convolution"),
        (lambda x, w, padding: direct()(x, w), "returned the shape (2, 4, 8, 8) instead of (2, 4, 10, 10)"),
        (lambda x, w, padding: direct()(x, w, padding=padding).astype(int), "returned no array of floats but int64"),
        (lambda x, w, padding: None, "returned no array of floats but NoneType"),
    ],
)
def test_no_convolution_at_all(forward, evidence):
    found = small(forward)
    assert found.name == NO_ANSWER
    assert evidence in found.evidence[0]


def test_a_question_that_raises_has_no_answer():
    found = small(raising_on_nan)
    assert found.name == "float32, direct sums"
    assert found.nan_exact.value is None
    assert found.nan_exact.evidence == "raised FloatingPointError: NaN in x"
    assert found.infinity_exact.value is True


def test_arguments_may_be_changed_by_the_function():
    def changing(x, w, padding=0):
        y = direct()(x, w, padding=padding)
        x[...], w[...] = np.nan, np.nan
        return y

    assert small(changing) == small(direct())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"op": "relu"}, ValueError, "op must be one of 'conv2d', .*got 'relu'"),
        ({"dtype": np.int32}, TypeError, "dtype must be float16, bfloat16, float32 or float64, got int32"),
        ({"size": 9}, ValueError, "size must be at least 10, got size=9"),
        ({"batch": 1}, ValueError, "batch must be at least 2, got batch=1"),
        ({"channels": 8, "op": "pointwise_conv2d"}, ValueError, "channels must be at least 9 .*got channels=8"),
        ({"repeat": 1}, ValueError, "repeat must be at least 2, got repeat=1"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got seed=-1"),
    ],
)
def test_arguments_are_checked_first(options, error, message):
    with pytest.raises(error, match=message):
        fingerprint(raising, **options)


def test_it_can_be_printed_and_sent():
    found = small(direct())
    assert str(found).startswith("float32, direct sums. Factors keep 23 bits")
    assert f"\n  nan exact: yes ({found.nan_exact.evidence})\n" in str(found)
    assert "threads" not in str(found)  # they were not asked for
    sent = json.loads(json.dumps(found.to_dict()))
    assert sent["nan_exact"] == {"value": True, "evidence": found.nan_exact.evidence}
    assert small(direct()) == found


# --- the simulations themselves --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "forward"), NAMED, ids=[name for name, _ in NAMED])
def test_simulations_are_convolutions(name, forward):
    """On whole numbers that all formats hold, without any error, but for that of transforms."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(-2, 3, shape).astype(np.float32) for shape in ((2, 4, 7, 9), (6, 2, 3, 3), (6,)))
    options = {"padding": ((1, 0), (2, 1)), "groups": 2}
    if name.startswith("int8"):
        x[0, ::2, 0, 0] = w[::3, 0, 0, 0] = 127  # so that a step is 1, in each filter or in all
        x[1], w = x[0], np.repeat(w[::3], 3, axis=0)
    if "sums" in name or name.startswith("int8"):
        options |= {"stride": (2, 1), "dilation": (1, 2)}
    y, expected = forward(x, w, b, **options), ops.conv2d(x, w, b, **options)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=0, atol=0 if "sums" in name else 2e-3 if "int8" in name else 2e-4)


def test_transforms_have_no_strides():
    x, w = np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 3, 3), np.float32)
    for forward in (winograd(2), fft()):
        with pytest.raises(ValueError, match="stride and dilation must be 1"):
            forward(x, w, stride=2)
    with pytest.raises(ValueError, match=r"outputs \+ taps must be at most 10, got F\(8, 3\)"):
        winograd(8)(x, w)


@pytest.mark.parametrize("bits", [7, 10])
def test_rounding_is_that_of_the_format(bits):
    """float16 rounds in hardware; bfloat16's neighbours are found by hand."""
    values = np.random.default_rng(bits).uniform(1, 2, 1000)
    rounded = round_significand(values, bits)
    grid = 2.0**-bits
    assert np.array_equal(rounded, np.rint(values / grid) * grid)
    assert np.array_equal(round_significand(values, bits, nearest=False), np.floor(values / grid) * grid)
    if bits == 10:
        assert np.array_equal(rounded, values.astype(np.float16))
    assert round_significand(np.array([np.inf, 2 - 2.0**-20]), bits).tolist() == [np.inf, 2.0]
