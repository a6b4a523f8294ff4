"""The networks of the studies are what they say, and cost what they should."""

from __future__ import annotations

import numpy as np
import pytest

from npconv import costs
from npconv.nn import ChannelShuffle, GhostModule, OctaveConv2d
from npconv.studies.variants import STUDIES, _shuffle, cut_paths, resized


@pytest.mark.parametrize("name", STUDIES)
def test_every_network_gives_logits_and_trends_name_variants(name: str) -> None:
    study = STUDIES[name]
    labels = [variant.label for variant in study.variants]
    assert len(set(labels)) == len(labels)
    for trend in study.trends:
        assert {trend.better, trend.worse} <= set(labels)
    for variant in study.variants:
        network = variant.make(7, 1, (8, 8), np.random.default_rng(0))
        assert network(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 7)


def test_groups_cost_the_same_with_and_without_the_shuffle() -> None:
    macs = []
    for groups in (1, 2, 3, 4, 8):
        for shuffle in (True, False):
            network = _shuffle(groups, shuffle).make(10, 1, (8, 8), np.random.default_rng(0))
            macs.append(costs.count(network, (1, 1, 8, 8)).macs)
            shuffles = [layer for _, layer in network.named_layers() if isinstance(layer, ChannelShuffle)]
            assert bool(shuffles) == shuffle
    assert max(macs) < 1.25 * min(macs)


def test_ghost_modules_have_the_ratio_and_the_kernel() -> None:
    for variant in STUDIES["ghost"].variants[1:]:
        network = variant.make(10, 1, (8, 8), np.random.default_rng(0))
        modules = [layer for _, layer in network.named_layers() if isinstance(layer, GhostModule)]
        assert modules
        for module in modules:
            assert variant.label == f"s = {module.ratio}, d = {module.cheap_kernel}"


@pytest.mark.parametrize(
    ("name", "line", "points"),
    [
        ("ghost", "over s, with d = 3", [1, 2, 3, 4]),
        ("ghost", "over d, with s = 2", [1, 3, 5]),
        ("shuffle", "with shuffle", [1, 2, 3, 4, 8]),
        ("shuffle", "without shuffle", [1, 2, 3, 4, 8]),
        ("octave", "all paths", [0, 0.25, 0.5, 0.75]),
        ("octave", "without paths between frequencies", [0, 0.25, 0.5]),
    ],
)
def test_a_network_that_two_lines_share_is_on_both(name: str, line: str, points: list[float]) -> None:
    found = [variant.points[line] for variant in STUDIES[name].variants if line in variant.points]
    assert sorted(found) == points


def test_paths_are_cut_where_there_are_two_frequencies_on_both_sides() -> None:
    variant = STUDIES["octave"].variants[-1]
    network = variant.make(10, 1, (8, 8), np.random.default_rng(0))
    cut_paths(network)
    cut = whole = 0
    for _, layer in network.named_layers():
        if isinstance(layer, OctaveConv2d):
            both = {"w_hh", "w_hl", "w_lh", "w_ll"} <= layer.params.keys()
            for name in {"w_hl", "w_lh"} & layer.params.keys():
                assert (layer.params[name] == 0).all() == both
            cut, whole = cut + both, whole + (not both)
    assert cut >= 2
    assert whole >= 2  # the ends, without which a frequency would be nothing


def test_resizing_takes_the_mean_of_areas() -> None:
    x = np.random.default_rng(0).random((2, 3, 6, 8))
    np.testing.assert_allclose(resized(x, (3, 4)), x.reshape(2, 3, 3, 2, 4, 2).mean(axis=(3, 5)))
    np.testing.assert_allclose(resized(x, (6, 8)), x)
    np.testing.assert_allclose(resized(np.ones((1, 1, 8, 8)), (5, 5)), 1)
    np.testing.assert_allclose(resized(x, (4, 5)).mean(), x.mean())
