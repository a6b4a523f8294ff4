"""How sums of shifted planes are cut into shares for the threads."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from npconv.kernels.planes import _shares


@given(
    columns=st.integers(1, 20),
    column=st.integers(1, 9),
    short_column=st.integers(1, 9),
    rows=st.integers(1, 9),
    row=st.integers(1, 50),
    short_row=st.integers(1, 50),
    repeats=st.integers(0, 9),
    threads=st.integers(1, 9),
)
def test_shares_are_every_item_once_and_as_even_as_items_allow(
    columns: int, column: int, short_column: int, rows: int, row: int, short_row: int, repeats: int, threads: int
) -> None:
    widths = [column] * (columns - 1) + [min(column, short_column)]
    heights = [row] * (rows - 1) + [min(row, short_row)]
    work = [width * height for _ in range(repeats) for width in widths for height in heights]

    greatest, bounds = _shares((columns, column, sum(widths)), (rows, row, sum(heights)), repeats, threads)

    assert len(bounds) == threads + 1
    assert bounds[0] == 0
    assert bounds[-1] == len(work)
    assert bounds == sorted(bounds)
    shares = [sum(work[first:end]) for first, end in pairwise(bounds)]
    assert greatest == pytest.approx(max(shares))
    assert greatest <= sum(work) / threads + max(work, default=0) * (1 + 1e-9)
