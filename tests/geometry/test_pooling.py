"""Each side of a pooling's padding counts by itself."""

from __future__ import annotations

import pytest

from npconv.geometry import Pool2dGeometry


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_one_side_as_large_as_the_kernel_is_enough_to_be_refused(side, ceil_mode):
    pads = [0, 0, 0, 0]
    pads[side] = 2
    with pytest.raises(ValueError, match="padding must be smaller than the kernel"):
        Pool2dGeometry.of((1, 1, 5, 7), 2, padding=(pads[:2], pads[2:]), ceil_mode=ceil_mode)
    Pool2dGeometry.of((1, 1, 5, 7), 3, padding=(pads[:2], pads[2:]), ceil_mode=ceil_mode)


@pytest.mark.parametrize(
    ("padding", "out"),
    [
        (((0, 0), (0, 0)), (1, 2)),
        (((2, 0), (0, 0)), (2, 2)),
        (((0, 2), (0, 0)), (2, 2)),
        (((0, 0), (0, 1)), (1, 3)),
        (((0, 0), (1, 0)), (1, 3)),
    ],
)
def test_unequal_sides_of_an_oblong_map(padding, out):
    """4 rows under a kernel of 3 rows, 5 columns under one of 2, 2 apart."""
    geometry = Pool2dGeometry.of((1, 1, 4, 5), (3, 2), stride=2, padding=padding)
    assert (geometry.out_height, geometry.out_width) == out
    assert (geometry.pad_top, geometry.pad_bottom) == padding[0]
    assert (geometry.pad_left, geometry.pad_right) == padding[1]
