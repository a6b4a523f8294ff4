"""Which pixels windows read along one axis: asked of a walk over all outputs and taps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from npconv.geometry import Axis

AXES = st.builds(
    Axis,
    size=st.integers(1, 9),
    out=st.integers(1, 6),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 12),
    dilation=st.integers(1, 12),
    pad=st.integers(0, 20),
)


def pixel(axis: Axis, p: int, r: int) -> int:
    at = p * axis.stride + r * axis.dilation - axis.pad
    return at if 0 <= at < axis.size else axis.size


@given(axis=AXES)
def test_each_window_of_the_row_has_its_pixels(axis: Axis) -> None:
    row, stride, dilation = axis.laid_out()
    assert len(row) == axis.length
    for p in range(axis.out):
        for r in range(axis.kernel):
            assert row[p * stride + r * dilation] == pixel(axis, p, r)


@given(axis=AXES)
def test_no_longer_than_windows_side_by_side_or_all_from_first_to_last(axis: Axis) -> None:
    span = max(pixel(axis, p, r) for p in range(axis.out) for r in range(axis.kernel)) + 1
    assert axis.length <= axis.out * axis.kernel
    assert axis.length <= (axis.out - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
    assert span <= axis.size + 1


@given(axis=AXES)
def test_the_outputs_of_a_tap_are_those_on_pixels(axis: Axis) -> None:
    for r in range(axis.kernel):
        outputs, pixels = axis.pixels_of(r)
        expected = [(p, pixel(axis, p, r)) for p in range(axis.out) if pixel(axis, p, r) < axis.size]
        found = zip(range(axis.out)[outputs], range(axis.size)[pixels], strict=True)
        assert list(found) == expected


@given(axis=AXES)
def test_taps_that_are_left_out_are_on_padding_for_every_output(axis: Axis) -> None:
    axis = axis._replace(dilation=1, pad=axis.pad % axis.kernel)
    fewer = axis.on_pixels()
    first = axis.pad - fewer.pad
    for r in range(axis.kernel):
        on_pixel = any(pixel(axis, p, r) < axis.size for p in range(axis.out))
        assert not on_pixel or first <= r < first + fewer.kernel
    for p in range(axis.out):
        for r in range(fewer.kernel):
            assert pixel(fewer, p, r) == pixel(axis, p, first + r)
