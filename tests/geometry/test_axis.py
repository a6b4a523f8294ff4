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


@given(axis=AXES, far=st.integers(1, 50))
def test_without_padding_windows_read_the_same_pixels_in_the_same_order(axis: Axis, far: int) -> None:
    """Of poolings, where each window holds a pixel; and what is laid out is no more than a few times what is read."""
    kernel, stride = axis.kernel * far, axis.stride * far
    axis = axis._replace(dilation=1, kernel=kernel, stride=stride, pad=axis.pad * far % kernel)
    axis = axis._replace(out=min(axis.out, (axis.size - 1 + axis.pad) // stride + 1))
    fewer = axis.on_pixels()

    def windows(axis: Axis) -> list[list[int]]:
        read = [[pixel(axis, p, r) for r in range(axis.kernel)] for p in range(axis.out)]
        return [[place for place in window if place < axis.size] for window in read]

    assert windows(fewer) == windows(axis)
    assert all(windows(axis))
    assert fewer.length <= 2 * axis.out * axis.size
    assert fewer.kernel <= min(axis.kernel, axis.out * axis.size)
