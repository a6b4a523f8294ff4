"""What is timed: shapes that are those of the networks, the same numbers everywhere, costs and bounds that belong to them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import npconv
from npconv import costs
from npconv.bench.cases import OPS, Arrays, Case, cases
from npconv.bench.networks import NETWORK_CASES, Network
from npconv.bench.peers import Peer
from npconv.bench.peers.own import Npconv

SMALL = [
    Case("standard", "", 2, 3, 4, 6, 3, 2, 1),
    Case("pointwise", "", 2, 3, 4, 5),
    Case("depthwise", "", 2, 4, 4, 5, 3, 1, 1, 4),
    Case("group", "", 1, 4, 6, 5, 3, 1, 1, 2),
    Case("octave", "", 2, 4, 8, 8, 3, 1, 1, alpha=0.5),
    Case("octave", "", 1, 4, 8, 8, 3, 2, 1, alpha=0.25),
    Case("ghost", "", 2, 3, 8, 5, 3, 1, 1, ratio=2),
    Case("shuffle", "", 2, 6, 6, 4, groups=3),
]


def ids(case):
    return f"{case.op} {case.shape}"


@pytest.fixture(autouse=True)
def _numpy():
    with npconv.backend("numpy"):
        yield


def test_there_are_some_of_every_operator_and_none_twice():
    found = cases()
    assert len(set(found)) == len(found) == 78
    assert [Counter(case.op for case in found)[op] for op in OPS] == [18, 13, 18, 11, 8, 6, 4]
    assert [case.op for case in found] == sorted((case.op for case in found), key=OPS.index)


@pytest.mark.parametrize(
    "case",
    [
        Case("standard", "mobilenet_v1 stem", 1, 3, 32, 224, 3, 2, 1),  # MobileNets, table 1
        Case("depthwise", "mobilenet_v1 /2", 8, 64, 64, 112, 3, 2, 1, 64),
        Case("pointwise", "mobilenet_v1", 8, 1024, 1024, 7),
        Case("standard", "resnet 3x3/2", 1, 128, 128, 56, 3, 2, 1),  # ResNet, table 1
        Case("group", "resnext 3x3 g32", 1, 128, 128, 56, 3, 1, 1, 32),
        Case("group", "shufflenet g8", 1, 384, 1536, 7, groups=8),  # ShuffleNet, table 1
        Case("shuffle", "shufflenet g3", 8, 60, 60, 28, groups=3),
        Case("depthwise", "ghostnet 5x5/2", 1, 672, 672, 14, 5, 2, 2, 672),  # GhostNet, table 7
        Case("ghost", "ghostnet", 8, 80, 480, 14, ratio=2),
    ],
    ids=ids,
)
def test_shapes_drawn_from_a_network_are_the_papers(case):
    assert case in cases()


@pytest.mark.parametrize("case", SMALL, ids=ids)
def test_costs_are_what_the_operator_calls(case):
    """The closed form against the primitives that a run records, multiplications and all."""
    work = Npconv(1).work(case, "forward", case.arrays(0, np.float32))
    with npconv.backends.record() as calls:
        work.run()
    assert case.cost("forward", 4).macs == sum(costs.call_cost(*call).cost.macs for call in calls)
    assert case.cost("backward", 4) == case.cost("input_grad", 4) + case.cost("weight_grad", 4)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("case", SMALL, ids=ids)
def test_terms_are_at_least_the_length_of_every_sum(case, direction):
    """On ones, where each number is as large as its sum has products: pooling, a mean, makes none larger."""
    ones = Arrays(*(tuple(np.ones_like(array) for array in group) for group in case.arrays(0, np.float64)))
    work = Npconv(1).work(case, direction, ones)
    values = work.numpy(work.run())
    if (
        case.op == "ghost"
    ):  # one sum after the other: their lengths are multiplied in the values, and added in the errors
        maps = case.out_channels // case.ratio
        lengths = [3 * 9, maps * 9, 2 * 25]
        assert case.terms >= max(lengths) + case.cheap_kernel**2
    else:
        assert case.terms >= max(value.max() for value in values)


def test_every_process_draws_the_same_numbers():
    for case in SMALL:
        once, again, other = case.arrays(3, np.float32), case.arrays(3, np.float64), case.arrays(4, np.float32)
        for group, same, different in zip(once, again, other, strict=True):
            for a, b, c in zip(group, same, different, strict=True):
                assert a.dtype == np.float32
                assert np.array_equal(a, b)
                assert not np.array_equal(a, c)


@pytest.mark.parametrize("case", [case for case in SMALL if len(case.directions) == 4], ids=ids)
def test_a_backward_is_its_two_halves(case):
    arrays = case.arrays(0, np.float64)
    made = {direction: Npconv(1).work(case, direction, arrays) for direction in case.directions}
    with npconv.backend(
        "numba"
    ):  # whose primitives take the channels-last maps that operators of the other one would not
        values = {direction: work.numpy(work.run()) for direction, work in made.items()}
    for whole, half in zip(values["backward"], values["input_grad"] + values["weight_grad"], strict=True):
        assert np.array_equal(whole, half)


class NumpyPeer(Peer):
    """The generic composites, on npconv's own simple operators."""

    def __init__(self):
        pass

    def work(self, case, direction, arrays):
        raise NotImplementedError

    def convolution(self, x, w, *, kernel, stride, padding, groups):
        assert w.shape[2:] == (kernel, kernel)
        return npconv.conv2d(x, w, stride=stride, padding=padding, groups=groups)

    def pool(self, x):
        return npconv.avg_pool2d(x, 2)

    def upsample(self, x):
        return npconv.upsample_nearest2d(x, 2)

    def add(self, a, b):
        return a + b

    def concatenate(self, a, b):
        return np.concatenate([a, b], axis=1)

    def shuffle(self, x, groups, channels):
        return npconv.channel_shuffle(x, groups)


@pytest.mark.parametrize("case", SMALL, ids=ids)
def test_composites_of_the_peers_are_the_operators(case):
    arrays = case.arrays(0, np.float64)
    own = Npconv(1).work(case, "forward", arrays)
    for got, expected in zip(NumpyPeer().forward(case, arrays.x, arrays.w), own.numpy(own.run()), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [case for case in NETWORK_CASES if case.size == 32], ids=lambda case: case.network)
def test_networks_are_the_same_in_both_dtypes(case):
    wide, narrow = (dict(case.build(0, dtype).named_params()) for dtype in (np.float64, np.float32))
    for name, array in wide.items():
        np.testing.assert_allclose(narrow[name], array, rtol=1e-6)


def test_a_step_costs_three_forwards():
    case = Network("tiny_mobilenet", 4, 8)
    assert case.cost("forward", 4).macs == 4 * costs.count(case.build(0, np.float32), (1, 3, 8, 8)).macs
    assert case.cost("step", 4).macs == 3 * case.cost("forward", 4).macs
