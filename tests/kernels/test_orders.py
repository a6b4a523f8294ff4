"""Which maps are transposed on the way into a kernel and out of it, and which are computed where they lie."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import npconv
from npconv.geometry import Array
from npconv.kernels import orders
from npconv.memory import is_channels_last
from npconv.ops.branches import add

TRANSPOSE = orders._transpose_all

EITHER_ORDER: dict[str, Callable[[Array, Array], Array]] = {
    "relu": lambda x, dy: npconv.relu(x),
    "relu_backward": lambda x, dy: npconv.relu_backward(dy, x),
    "relu6": lambda x, dy: npconv.relu6(x),
    "relu6_backward": lambda x, dy: npconv.relu6_backward(dy, x),
    "hard_sigmoid": lambda x, dy: npconv.hard_sigmoid(x),
    "hard_sigmoid_backward": lambda x, dy: npconv.hard_sigmoid_backward(dy, x),
    "hard_swish": lambda x, dy: npconv.hard_swish(x),
    "hard_swish_backward": lambda x, dy: npconv.hard_swish_backward(dy, x),
    "add": lambda x, dy: add(x, dy, activation="relu6"),
    "channel_shuffle": lambda x, dy: npconv.channel_shuffle(x, 3),
    "channel_shuffle_backward": lambda x, dy: npconv.channel_shuffle_backward(dy, x, 3),
    "channel_unshuffle": lambda x, dy: npconv.channel_unshuffle(x, 3),
    "channel_unshuffle_backward": lambda x, dy: npconv.channel_unshuffle_backward(dy, x, 3),
}


def not_called(*arguments: object) -> None:
    raise AssertionError("a map was transposed")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", EITHER_ORDER)
def test_what_computes_in_either_order_transposes_no_map(name, dtype, monkeypatch):
    """But one whose order differs from the first's; and the result has the first's."""
    call, rng = EITHER_ORDER[name], np.random.default_rng(0)
    in_c_order = [rng.integers(-8, 9, (2, 12, 5, 7)).astype(dtype) / 2 for _ in range(2)]
    in_c_order[0].ravel()[:4] = np.nan, np.inf, -np.inf, -0.0
    in_either = [(x, npconv.channels_last(x)) for x in in_c_order]
    with npconv.backend("numpy"):
        expected = call(*in_c_order)
    for turns in itertools.product([False, True], repeat=2):
        maps = [orders_of_x[turn] for orders_of_x, turn in zip(in_either, turns, strict=True)]
        monkeypatch.setattr(orders, "_transpose_all", not_called if turns[0] == turns[1] else TRANSPOSE)
        y = call(*maps)
        np.testing.assert_allclose(y, expected, 1e-6 if "hard" in name else 0)
        first = turns[name.endswith("_backward")]
        assert (is_channels_last(y), y.flags.c_contiguous) == (first, not first)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unaligned_maps_in_c_order_are_copied(dtype):
    """Kernels are compiled for aligned arrays."""
    x = np.arange(-60, 60).reshape(2, 6, 2, 5).astype(dtype)
    unaligned = np.empty(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
    unaligned[...] = x
    assert not unaligned.flags.aligned
    assert orders.c_order(unaligned).flags.aligned
    np.testing.assert_array_equal(npconv.channel_shuffle(unaligned, 2), npconv.channel_shuffle(x, 2))
    np.testing.assert_array_equal(npconv.relu(unaligned), np.maximum(x, 0))
