"""The fingerprint gives no name to what it does not know: formats in between, and algorithms put together."""

from __future__ import annotations

import numpy as np
import pytest
from formats import round_significand
from simulated import direct, fft, in_parts, int8, winograd

from npconv.check.arithmetic import NONE_KNOWN, fingerprint


def worse_on_random_numbers(x, w, padding=0):
    """Shorter products wherever an image is not as simple as a probe."""
    busy = np.unique(x).size > x.size // 2
    return direct(products="bfloat16" if busy else "float32")(x, w, padding=padding)


def fft_of_rows(x, w, padding=0):
    """The FFT along each row, direct sums over the rows."""
    length = x.shape[3] + 2
    x, w = (np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), w)
    spectra = np.fft.rfft(x, length), np.fft.rfft(w, length).conj()
    height = x.shape[2] - 2
    total = sum(np.einsum("nchw,ocw->nohw", spectra[0][:, :, r : r + height], spectra[1][:, :, r]) for r in range(3))
    return np.fft.irfft(total, length)[..., : length - 2].astype(np.float32)


def mixed_rows(x, w, padding=0):
    """The upper half of the rows by one algorithm, the lower by another."""
    half = x.shape[2] // 2
    parts = (winograd(2)(x, w, padding=padding)[:, :, :half], fft()(x, w, padding=padding)[:, :, half:])
    return np.concatenate(parts, axis=2)


def quantized(*, most=255, least=0):
    """Factors as multiples of a step from the smallest on: int8 with a zero point."""

    def of(array):
        low, high = min(array.min(), 0), max(array.max(), 0)
        step = (high - low) / (most - least) or 1
        return (np.rint((array - low) / step) * step + low).astype(np.float32)

    return lambda x, w, padding=0: direct()(of(x), of(w), padding=padding)


def scaled_float8(x, w, padding=0):
    """The largest factor becomes 448."""
    scales = [448 / max(np.abs(a).max(), 1e-30) for a in (x, w)]
    y = direct(products="float8 e4m3")(
        *(np.float32(a * s) for a, s in zip((x, w), scales, strict=True)), padding=padding
    )
    return (y / np.float32(scales[0] * scales[1])).astype(np.float32)


def of_other_float8(x, w, padding=0):
    """3 bits, with exponents one less than those of e4m3."""
    y = direct(products="float8 e4m3")(*(np.float32(2) * a for a in (x, w)), padding=padding)
    return y / np.float32(4)


def in_float16_parts(x, w, padding=0):
    return in_parts("float16", 2)(x, w, padding=padding)


def mixed_factors(x, w, padding=0):
    """bfloat16 in one factor, and TF32 in the other."""
    x, w = round_significand(x, 7).astype(np.float32), round_significand(w, 10).astype(np.float32)
    return direct()(x, w, padding=padding)


def in_parts_of_one_factor(x, w, padding=0):
    """Only x is in parts; w is rounded."""
    return in_parts("bfloat16", 2)(x, round_significand(w, 7).astype(np.float32), padding=padding)


def coarser_than_int8(x, w, padding=0):
    return int8(most=31)(x, w, padding=padding)


UNKNOWN = {
    "worse on random numbers": (worse_on_random_numbers, "times what these formats can explain"),
    "FFT of rows": (fft_of_rows, "rows are computed alone, columns with all others"),
    "two algorithms": (mixed_rows, "in no regular pattern"),
    "int8 with a zero point": (quantized(), ""),
    "int6": (coarser_than_int8, ""),
    "scaled float8": (scaled_float8, ""),
    "another float8": (of_other_float8, ""),
    "all products of 2 bfloat16 parts": (in_parts("bfloat16", 2, all_products=True), "Products are within"),
    "all products of 2 TF32 parts": (in_parts("TF32", 2, all_products=True), "Products are within"),
    "2 float16 parts": (in_float16_parts, ""),
    "two formats": (mixed_factors, "7 bits after the leading one in x and 10 in w"),
    "parts of one factor": (in_parts_of_one_factor, ""),
    "17 bits": (direct(sums="17 bits"), "Partial sums keep 17 bits"),
}


@pytest.mark.parametrize("shape", [(1, 12, 10), (20, 9, 11)], ids=str)
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_has_no_name(name, shape):
    forward, evidence = UNKNOWN[name]
    channels, out_channels, size = shape
    found = fingerprint(forward, channels=channels, out_channels=out_channels, size=size)
    assert found.name == NONE_KNOWN, str(found)
    assert evidence in str(found)
