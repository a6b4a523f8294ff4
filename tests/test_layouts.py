"""Layout converters: each index formula in literal loops, each inverse, and what they promise about memory and errors."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from npconv import layouts
from npconv.geometry import Conv2dGeometry


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


# converter, its argument, the result's shape, and where element `index` of the result comes from in the argument
CASES = [
    (layouts.nchw_to_nhwc, numbered(2, 3, 4, 5), (2, 4, 5, 3), lambda n, h, w, c: (n, c, h, w)),
    (layouts.nhwc_to_nchw, numbered(2, 4, 5, 3), (2, 3, 4, 5), lambda n, c, h, w: (n, h, w, c)),
    (layouts.oihw_to_hwio, numbered(5, 4, 3, 2), (3, 2, 4, 5), lambda r, s, c, o: (o, c, r, s)),
    (layouts.hwio_to_oihw, numbered(3, 2, 4, 5), (5, 4, 3, 2), lambda o, c, r, s: (r, s, c, o)),
    (
        lambda w: layouts.depthwise_to_hwcm(w, multiplier=2),
        numbered(6, 1, 4, 5),
        (4, 5, 3, 2),
        lambda r, s, c, o: (c * 2 + o, 0, r, s),
    ),
    (layouts.hwcm_to_depthwise, numbered(4, 5, 3, 2), (6, 1, 4, 5), lambda f, _, r, s: (r, s, f // 2, f % 2)),
    (layouts.oc_to_co, numbered(2, 3), (3, 2), lambda c, o: (o, c)),
    (layouts.co_to_oc, numbered(3, 2), (2, 3), lambda o, c: (c, o)),
]
NAMES = ["nchw_to_nhwc", "nhwc_to_nchw", "oihw_to_hwio", "hwio_to_oihw", "to_hwcm", "from_hwcm", "oc_to_co", "co_to_oc"]


@pytest.mark.parametrize(("convert", "array", "shape", "source"), CASES, ids=NAMES)
def test_every_element_is_where_the_formula_says(convert, array, shape, source):
    result = convert(array)
    assert result.shape == shape
    for index in product(*map(range, shape)):
        assert result[index] == array[source(*index)]


@pytest.mark.parametrize("pair", range(0, len(CASES), 2))
def test_converters_are_inverses(pair):
    there, array, *_ = CASES[pair]
    back, *_ = CASES[pair + 1]
    np.testing.assert_array_equal(back(there(array)), array)
    other = there(array)
    np.testing.assert_array_equal(there(back(other)), other)


@pytest.mark.parametrize(("convert", "array"), [case[:2] for case in CASES], ids=NAMES)
@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8])
def test_the_result_is_new_contiguous_and_of_the_same_dtype(convert, array, dtype):
    array = array.astype(dtype)
    array.flags.writeable = False
    for view in (array, array[::-1, ..., ::-1], np.asfortranarray(array)):
        result = convert(view)
        assert result.flags.c_contiguous
        assert result.flags.writeable
        assert result.dtype == dtype
        assert not np.shares_memory(result, view)
        np.testing.assert_array_equal(result, convert(view.copy()))


def test_one_channel_is_still_copied():
    """With one channel both orders are the same memory: a view would be a trap."""
    x = np.zeros((2, 1, 3, 3))
    assert not np.shares_memory(layouts.nchw_to_nhwc(x), x)
    w = np.zeros((3, 1, 1, 1))
    assert not np.shares_memory(layouts.depthwise_to_hwcm(w), w)


def test_an_empty_batch_is_kept():
    assert layouts.nchw_to_nhwc(np.zeros((0, 3, 4, 5))).shape == (0, 4, 5, 3)
    assert layouts.nhwc_to_nchw(np.zeros((0, 4, 5, 3))).shape == (0, 3, 4, 5)


def test_padding_orders():
    padding = ((1, 2), (3, 4))
    assert layouts.padding_to_torch(padding) == (3, 4, 1, 2)
    assert layouts.padding_to_onnx(padding) == (1, 3, 2, 4)
    assert layouts.torch_to_padding(layouts.padding_to_torch(padding)) == padding
    assert layouts.onnx_to_padding(layouts.padding_to_onnx(padding)) == padding


def test_padding_as_torch_pads_it():
    """torch.nn.functional.pad takes its list from the last axis on: so does this loop over the list."""
    padding = ((1, 2), (3, 4))
    pad = layouts.padding_to_torch(padding)
    widths = [(0, 0), (0, 0)]
    for place in range(0, len(pad), 2):
        widths[-1 - place // 2] = pad[place : place + 2]
    assert np.pad(np.ones((5, 6)), widths).shape == (5 + 1 + 2, 6 + 3 + 4)
    assert tuple(widths) == padding


def test_a_geometrys_padding_converts():
    geometry = Conv2dGeometry.of((1, 1, 4, 6), (1, 1, 3, 5), stride=2, padding="same")
    sides = (geometry.pad_top, geometry.pad_bottom), (geometry.pad_left, geometry.pad_right)
    assert layouts.padding_to_onnx(sides) == (0, 1, 1, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: layouts.nchw_to_nhwc([1.0]), TypeError, "x must be a NumPy array, got list"),
        (lambda: layouts.nchw_to_nhwc(np.zeros((2, 3))), ValueError, r"x must have 4 axes \(N, C, H, W\), got 2"),
        (lambda: layouts.nhwc_to_nchw(np.zeros((2, 3, 3))), ValueError, r"x must have 4 axes \(N, H, W, C\), got 3"),
        (lambda: layouts.nhwc_to_nchw(np.zeros((2, 3, 0, 1))), ValueError, "x must have no empty axis but the batch"),
        (lambda: layouts.oihw_to_hwio(np.zeros(3)), ValueError, r"w must have 4 axes \(O, I, H, W\), got 1"),
        (lambda: layouts.hwio_to_oihw(np.zeros(3)), ValueError, r"w must have 4 axes \(H, W, I, O\), got 1"),
        (
            lambda: layouts.depthwise_to_hwcm(np.zeros((4, 2, 3, 3))),
            ValueError,
            r"w must have the shape \(C \* multiplier, 1, kh, kw\), got \(4, 2, 3, 3\)",
        ),
        (
            lambda: layouts.depthwise_to_hwcm(np.zeros((4, 1, 3, 3)), multiplier=3),
            ValueError,
            "multiplier must divide axis 0 of w, got multiplier=3",
        ),
        (lambda: layouts.depthwise_to_hwcm(np.zeros((4, 1, 3, 3)), 0), ValueError, "multiplier must be at least 1"),
        (lambda: layouts.depthwise_to_hwcm(np.zeros((4, 1, 3, 3)), 2.0), TypeError, "multiplier must be an integer"),
        (lambda: layouts.hwcm_to_depthwise(np.zeros(2)), ValueError, r"w must have 4 axes \(H, W, C, M\), got 1"),
        (lambda: layouts.oc_to_co(np.zeros(2)), ValueError, r"w must have 2 axes \(O, C\), got 1"),
        (lambda: layouts.co_to_oc(np.zeros(2)), ValueError, r"w must have 2 axes \(C, O\), got 1"),
        (lambda: layouts.padding_to_torch("same"), ValueError, r"padding must be \(\(top, bottom\).*got 'same'"),
        (lambda: layouts.padding_to_torch((1, 2)), ValueError, r"padding must be \(\(top, bottom\).*got \(1, 2\)"),
        (lambda: layouts.padding_to_onnx(((1, 2, 3), (4, 5))), ValueError, r"padding must be \(\(top, bottom\)"),
        (lambda: layouts.padding_to_onnx(((1, -2), (3, 4))), ValueError, "padding must be at least 0, got padding=-2"),
        (lambda: layouts.padding_to_onnx(((1, 2.5), (3, 4))), TypeError, "padding must be an integer, got 2.5"),
        (lambda: layouts.torch_to_padding((1, 2)), ValueError, r"pad must be the four ints .*got \(1, 2\)"),
        (lambda: layouts.torch_to_padding("1234"), ValueError, "pad must be the four ints .*got '1234'"),
        (lambda: layouts.torch_to_padding((1, 2, 3, -4)), ValueError, r"pad\[3\] must be at least 0"),
        (lambda: layouts.onnx_to_padding((0.5, 0, 0, 0)), TypeError, r"pads\[0\] must be an integer, got 0.5"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
