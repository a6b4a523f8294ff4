"""Convolutions in other arithmetics, simulated in NumPy: what `npconv.check.fingerprint` has to recognise.

Every function here returns a convolution with the signature of `npconv.conv2d`, on float32 arrays:

    conv2d = direct(products="bfloat16")
    y = conv2d(x, w, padding=1)

They are slow, and meant to be read. Sums are computed in float64 and rounded to their format after each operation. For
sums and products of numbers with up to 24 bits this is what the format itself would give: a second rounding does no harm
where the first had more than twice the bits (Figueroa, When is double rounding innocuous?, SIGNUM Newsletter 30, 1995).
A fused multiply-add is so up to rare double roundings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from formats import FORMATS
from numpy.lib.stride_tricks import sliding_window_view

from npconv.geometry import Array, Conv2dGeometry, IntOrPair, Padding, effective_kernel
from npconv.testing.transforms import winograd_matrices

Forward: TypeAlias = Callable[..., Array]
Order: TypeAlias = Literal["sequential", "reversed", "blocks", "lanes", "pairwise"]

# --- from a convolution of one padded group to `conv2d` ------------------------------------------------------------


def _convolution(of_group: Callable[[Array, Array, Conv2dGeometry], Array]) -> Forward:
    """`conv2d` from ``of_group(padded x, w, geometry)``, which does one group and has neither padding nor bias."""

    def conv2d(
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
    ) -> Array:
        geometry = Conv2dGeometry.of(x.shape, w.shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
        rows, columns = (geometry.pad_top, geometry.pad_bottom), (geometry.pad_left, geometry.pad_right)
        padded = np.pad(x, ((0, 0), (0, 0), rows, columns))
        pairs = zip(np.split(padded, geometry.groups, axis=1), np.split(w, geometry.groups), strict=True)
        y = np.concatenate([of_group(*pair, geometry) for pair in pairs], axis=1).astype(x.dtype)
        return y if b is None else y + b[:, None, None]

    return conv2d


# --- direct sums -------------------------------------------------------------------------------------------------


def direct(
    *,
    products: str = "float32",
    sums: str = "float32",
    results: str = "float32",
    order: Order = "sequential",
    block: int = 16,
    channels_last: bool = False,
    fused: bool = False,
    compensated: bool = False,
) -> Forward:
    """A convolution that multiplies and adds as its definition says.

    Parameters
    ----------
    products, sums, results : a name of `FORMATS`
        What x and w are rounded to, what each product and each partial sum is rounded to, and what y is rounded to.
    order : str
        One after another from the first or the last term on; in consecutive `blocks` or in `lanes` (every so manyth term),
        whose sums are then added one after another; or pairwise: neighbours, then sums of neighbours, and so on.
    block : int
        Terms of a block, or number of lanes.
    channels_last : bool
        Whether the terms of a window are in the order (row, column, channel) instead of (channel, row, column).
    fused : bool
        Whether products are added without being rounded.
    compensated : bool
        Whether what a sum loses is added to the next term, as by Kahan.
    """
    rounded = FORMATS[sums]

    def term(x: Array, w: Array) -> Array:
        return x * w if fused else rounded(x * w)

    def one_after_another(x: Array, w: Array) -> Array:
        total = lost = np.zeros(np.broadcast_shapes(x.shape[1:], w.shape[1:]))
        for start in range(0, len(x), 64):  # products of many terms at once, but not of all: they take memory
            for product in term(x[start : start + 64], w[start : start + 64]):
                if compensated:
                    product = rounded(product - lost)
                    lost = rounded(rounded(rounded(total + product) - total) - product)
                total = rounded(total + product)
        return total

    def pairwise(x: Array, w: Array) -> Array:
        terms = term(x, w)
        while len(terms) > 1:
            even = len(terms) // 2 * 2
            terms = np.concatenate([rounded(terms[:even:2] + terms[1:even:2]), terms[even:]])
        return terms[0]

    def of_group(padded: Array, w: Array, geometry: Conv2dGeometry) -> Array:
        terms_first = (4, 5, 1, 0, 2, 3) if channels_last else (1, 4, 5, 0, 2, 3)
        windows = _windows(padded, geometry).transpose(terms_first)
        x_terms = windows.reshape(-1, windows.shape[3], 1, *windows.shape[4:])  # (K, N, 1, P, Q)
        w_terms = w.transpose((2, 3, 1, 0) if channels_last else (1, 2, 3, 0)).reshape(-1, 1, len(w), 1, 1)
        x_terms = FORMATS[products](x_terms.astype(np.float64))
        w_terms = FORMATS[products](w_terms.astype(np.float64))
        if order == "pairwise":
            return FORMATS[results](pairwise(x_terms, w_terms))
        total = np.zeros((), np.float64)
        for part in _parts(order, len(x_terms), block):
            total = rounded(total + one_after_another(x_terms[part], w_terms[part]))
        return FORMATS[results](total)

    return _convolution(of_group)


def _parts(order: Order, terms: int, block: int) -> list[slice]:
    """The terms of each partial sum."""
    if order == "blocks":
        return [slice(start, start + block) for start in range(0, terms, block)]
    if order == "lanes":
        return [slice(lane, None, block) for lane in range(min(block, terms))]
    return [slice(None, None, -1 if order == "reversed" else 1)]


def _windows(padded: Array, geometry: Conv2dGeometry) -> Array:
    """The windows (N, C, P, Q, R, S) of `padded`, a view."""
    height = effective_kernel(geometry.kernel_height, geometry.dilation_height)
    width = effective_kernel(geometry.kernel_width, geometry.dilation_width)
    everywhere = sliding_window_view(padded, (height, width), axis=(2, 3))
    return everywhere[
        :,
        :,
        :: geometry.stride_height,
        :: geometry.stride_width,
        :: geometry.dilation_height,
        :: geometry.dilation_width,
    ]


# --- factors in parts, and whole numbers -------------------------------------------------------------------------------


def in_parts(format_name: str, parts: int, *, all_products: bool = False, order: Order = "sequential") -> Forward:
    """Each factor as a sum of `parts` numbers of a shorter format, whose products are added in float32, the smallest first.

    Products of order `parts` and more, as small as what the parts leave out, are not made unless `all_products`.
    Source: Henry et al., Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations (arXiv 1904.06376).
    """

    def split(array: Array) -> list[Array]:
        rest, found = array.astype(np.float64), []
        for _ in range(parts):
            found.append(FORMATS[format_name](rest))
            if format_name == "bfloat16":  # whose smallest number is 2^-133
                found[-1] = np.where(np.abs(found[-1]) < 2.0**-126, np.rint(found[-1] * 2.0**133) / 2.0**133, found[-1])
            rest = rest - found[-1]
        return [part.astype(np.float32) for part in found]

    plain = direct(order=order)

    def conv2d(x: Array, w: Array, b: Array | None = None, **options: Any) -> Array:
        x_parts, w_parts = split(x), split(w)
        total: Array | None = None
        for degree in range(2 * parts - 2 if all_products else parts - 1, -1, -1):
            for i in range(max(0, degree - parts + 1), min(parts, degree + 1)):
                y = plain(x_parts[i], w_parts[degree - i], **options)
                total = y if total is None else total + y
        assert total is not None
        return total if b is None else total + b[:, None, None]

    return conv2d


def int8(*, by_filter: bool = False, most: int = 127) -> Forward:
    """Both factors rounded to whole multiples of a step, so that the largest is `most` of them; sums are exact."""

    def rounded(array: Array, axes: tuple[int, ...] | None) -> Array:
        largest = np.abs(array.astype(np.float64)).max(axis=axes, keepdims=True)
        step = np.where(largest > 0, largest, 1.0) / most
        return np.rint(array / step) * step

    plain = direct(products="float64", sums="float64")

    def conv2d(x: Array, w: Array, b: Array | None = None, **options: Any) -> Array:
        y = plain(rounded(x, None), rounded(w, (1, 2, 3) if by_filter else None), **options).astype(np.float32)
        return y if b is None else y + b[:, None, None]

    return conv2d


# --- Strassen ----------------------------------------------------------------------------------------------------------


def strassen(*, winograds: bool = False) -> Forward:
    """Seven products of halves of the matrices of kernels and windows, in the dtype of x; halves are filled up with zeros.

    Source: Strassen, Gaussian Elimination is not Optimal, Numerische Mathematik 13 (1969); `winograds` is the form with 15 sums.
    """

    def product(a: Array, b: Array) -> Array:
        rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
        a = np.pad(a, ((0, rows % 2), (0, inner % 2)))
        b = np.pad(b, ((0, inner % 2), (0, columns % 2)))
        (a11, a12), (a21, a22) = (np.split(half, 2, axis=1) for half in np.split(a, 2))
        (b11, b12), (b21, b22) = (np.split(half, 2, axis=1) for half in np.split(b, 2))
        if winograds:
            s1 = a21 + a22
            s2 = s1 - a11
            s4, t1 = a12 - s2, b12 - b11
            t2 = b22 - t1
            u2 = a11 @ b11 + s2 @ t2
            u3 = u2 + (a11 - a21) @ (b22 - b12)
            p5 = s1 @ t1
            y = [[a11 @ b11 + a12 @ b21, u2 + p5 + s4 @ b22], [u3 - a22 @ (t2 - b21), u3 + p5]]
        else:
            m1, m2, m3 = (a11 + a22) @ (b11 + b22), (a21 + a22) @ b11, a11 @ (b12 - b22)
            m4, m5 = a22 @ (b21 - b11), (a11 + a12) @ b22
            m6, m7 = (a21 - a11) @ (b11 + b12), (a12 - a22) @ (b21 + b22)
            y = [[m1 + m4 - m5 + m7, m3 + m5], [m2 + m4, m1 - m2 + m3 + m6]]
        return np.block(y)[:rows, :columns]

    def of_group(padded: Array, w: Array, geometry: Conv2dGeometry) -> Array:
        windows = _windows(padded, geometry).transpose(0, 1, 4, 5, 2, 3)
        images = [product(w.reshape(len(w), -1), image.reshape(w[0].size, -1)) for image in windows]
        return np.reshape(images, (len(padded), len(w), geometry.out_height, geometry.out_width))

    return _convolution(of_group)


# --- Winograd ----------------------------------------------------------------------------------------------------


def winograd(outputs: int) -> Forward:
    """Winograd's F(m x m, r x r) with m = `outputs`, all of it in the dtype of x; for stride and dilation 1."""

    def of_group(padded: Array, w: Array, geometry: Conv2dGeometry) -> Array:
        _refuse_steps("Winograd", geometry)
        (a, g, b), (a2, g2, b2) = (
            [matrix.astype(padded.dtype) for matrix in winograd_matrices(outputs, taps)]
            for taps in (geometry.kernel_height, geometry.kernel_width)
        )
        rows, columns = -(-geometry.out_height // outputs), -(-geometry.out_width // outputs)
        missing = rows * outputs - geometry.out_height, columns * outputs - geometry.out_width
        padded = np.pad(padded, ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])))
        tiles = sliding_window_view(padded, (len(b), len(b2)), axis=(2, 3))[:, :, ::outputs, ::outputs]
        u = np.einsum("kr,ocrs,ls->kloc", g, w, g2, optimize=True)
        v = np.einsum("kr,nctyrs,ls->klncty", b, tiles, b2, optimize=True)
        m = u @ v.transpose(0, 1, 3, 2, 4, 5).reshape(*u.shape[:2], u.shape[3], len(padded) * rows * columns)
        m = m.reshape(*m.shape[:3], len(padded), rows, columns)
        y = np.einsum("pk,klonty,ql->notpyq", a, m, a2, optimize=True)
        return y.reshape(*y.shape[:2], rows * outputs, columns * outputs)[
            :, :, : geometry.out_height, : geometry.out_width
        ]

    return _convolution(of_group)


# --- FFT ---------------------------------------------------------------------------------------------------------


def fft(dtype: type[np.floating[Any]] = np.float32) -> Forward:
    """The correlation as a product of Fourier transforms of the whole padded image, in `dtype`; for stride and dilation 1."""

    def of_group(padded: Array, w: Array, geometry: Conv2dGeometry) -> Array:
        _refuse_steps("FFT", geometry)
        size = padded.shape[2:]
        spectrum = np.einsum(
            "nchw,ochw->nohw",
            np.fft.rfft2(padded.astype(dtype), size),
            np.fft.rfft2(w.astype(dtype), size).conj(),
            optimize=True,
        )
        return np.fft.irfft2(spectrum, size)[:, :, : geometry.out_height, : geometry.out_width]

    return _convolution(of_group)


def fft_in_tiles(size: int, *, add: bool = False) -> Forward:
    """Fourier transforms of tiles: of all that `size` x `size` outputs read; to `add`, of so many pixels, whose outputs are added."""

    def of_group(padded: Array, w: Array, geometry: Conv2dGeometry) -> Array:
        _refuse_steps("FFT", geometry)
        reach = geometry.kernel_height - 1, geometry.kernel_width - 1
        out = geometry.out_height, geometry.out_width
        total = np.zeros((len(padded), len(w), *(length + size + 2 * r for length, r in zip(out, reach, strict=True))))
        around = [(0, 0), (0, 0), *((r, size + r) for r in reach)] if add else [(0, 0), (0, 0), (0, size), (0, size)]
        padded = np.pad(padded, around)
        turned = w[:, :, ::-1, ::-1]
        extent = size + reach[0], size + reach[1]
        steps = [range(0, length + (r if add else 0), size) for length, r in zip(out, reach, strict=True)]
        for top, left in itertools.product(*steps):
            if add:
                image = padded[:, :, reach[0] + top : reach[0] + top + size, reach[1] + left : reach[1] + left + size]
                parts = _cyclic(image, turned, extent)
                total[:, :, top : top + extent[0], left : left + extent[1]] += parts
            else:
                image = padded[:, :, top : top + extent[0], left : left + extent[1]]
                parts = _cyclic(image, turned, extent)[:, :, reach[0] :, reach[1] :]
                total[:, :, top : top + size, left : left + size] = parts
        first = reach if add else (0, 0)
        return total[:, :, first[0] : first[0] + out[0], first[1] : first[1] + out[1]]

    return _convolution(of_group)


def _cyclic(image: Array, kernel: Array, extent: tuple[int, int]) -> Array:
    """The cyclic convolution, in float32."""
    spectra = (np.fft.rfft2(array.astype(np.float32), extent) for array in (image, kernel))
    return np.fft.irfft2(np.einsum("nchw,ochw->nohw", *spectra, optimize=True), extent)


def _refuse_steps(name: str, geometry: Conv2dGeometry) -> None:
    steps = geometry.stride_height, geometry.stride_width, geometry.dilation_height, geometry.dilation_width
    if steps != (1, 1, 1, 1):
        raise ValueError(f"stride and dilation must be 1 for {name}, got (strides, dilations) {steps}")


# --- the names that a fingerprint has to give them -----------------------------------------------------------------

SIMULATED: dict[str, tuple[Forward, ...]] = {
    "float32, direct sums": (
        direct(),
        direct(order="reversed"),
        direct(order="blocks", fused=True),
        direct(order="lanes"),
        direct(order="pairwise"),
        direct(channels_last=True, fused=True),
    ),
    "float32, compensated sums": (
        direct(compensated=True),
        direct(compensated=True, channels_last=True, order="reversed"),
    ),
    "TF32 products, float32 sums": (direct(products="TF32"), direct(products="truncated TF32", order="pairwise")),
    "bfloat16 products, float32 sums": (direct(products="bfloat16"), direct(products="truncated bfloat16")),
    "bfloat16 products, float32 sums, bfloat16 results": (direct(products="bfloat16", results="bfloat16"),),
    "float16 products, float32 sums": (direct(products="float16"),),
    "float16 products, float32 sums, float16 results": (direct(products="float16", results="float16"),),
    "float16 sums": (direct(products="float16", sums="float16"), direct(sums="float16", results="float16")),
    "bfloat16 sums": (direct(products="bfloat16", sums="bfloat16", order="lanes"),),
    "float32 products, float64 sums": (direct(sums="float64"),),
    "float32, Winograd F(2x2,3x3)": (winograd(2),),
    "float32, Winograd F(4x4,3x3)": (winograd(4),),
    "float32, Winograd F(6x6,3x3)": (winograd(6),),
    "float32, FFT": (fft(),),
    "float64, FFT": (fft(np.float64),),
    "float32, FFT in tiles of 4x4": (fft_in_tiles(4), fft_in_tiles(4, add=True)),
    "float32, Strassen": (strassen(), strassen(winograds=True)),
    "float8 e4m3 products, float32 sums": (direct(products="float8 e4m3"),),
    "float8 e4m3 products, float32 sums, bfloat16 results": (direct(products="float8 e4m3", results="bfloat16"),),
    "float8 e5m2 products, float32 sums": (direct(products="float8 e5m2", order="pairwise"),),
    "float8 e5m2 products, float32 sums, float16 results": (direct(products="float8 e5m2", results="float16"),),
    "int8 products": (int8(), int8(by_filter=True)),
    "2 bfloat16 parts of each factor, float32 sums": (in_parts("bfloat16", 2), in_parts("bfloat16", 2, order="lanes")),
    "3 bfloat16 parts of each factor, float32 sums": (in_parts("bfloat16", 3),),
    "2 TF32 parts of each factor, float32 sums": (in_parts("TF32", 2), in_parts("TF32", 2, order="pairwise")),
}
"""Convolutions by the name of their arithmetic."""
