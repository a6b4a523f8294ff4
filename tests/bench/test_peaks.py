"""The machine's limits: kernels that compute what they are timed for."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from npconv.bench import peaks


@njit
def _serial(values, steps):
    peaks.multiply_add(values, steps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_chain_is_computed(dtype):
    """a + a*x from a*a on, step by step, CHAINS times; none is folded away, since each is a multiply-add in the loop."""
    lanes = peaks.VECTOR_BITS // (8 * np.dtype(dtype).itemsize)
    values = np.full(lanes, 0.5, dtype)
    _serial(values, 3)
    assert np.array_equal(values, np.full(lanes, peaks.CHAINS * (0.5 + 0.5 * (0.5 + 0.5 * (0.5 + 0.5 * 0.25))), dtype))
    (assembly,) = [text for types, text in _serial.inspect_asm().items() if types[0].dtype.name == np.dtype(dtype).name]
    assert sum("fmadd" in line or "fmla" in line for line in assembly.splitlines()) >= peaks.CHAINS


def test_rates_are_positive_and_the_copy_copies(monkeypatch):
    monkeypatch.setattr(peaks, "SECONDS", 0.0)
    monkeypatch.setattr(peaks, "MATRIX", 16)
    assert peaks.flops_per_second(1, "float32") > 0
    assert peaks.bytes_per_second(1, 1 << 16) > 0
    assert peaks.product_seconds("float64") > 0
    source, target = np.arange(12, dtype=np.float32).reshape(2, 6), np.zeros((2, 6), np.float32)
    peaks.copy_on_all(target, source)
    assert np.array_equal(target, source)
