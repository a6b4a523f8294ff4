"""Twenty right implementations, which differ in the order and the means of their sums: none of them must be called wrong.

Each is a function of two arrays of factors (K, ...) to the sum of their products over K, in their dtype. `functions` makes
operators of it, forward and backward.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import npconv
from npconv.geometry import Array, Conv2dGeometry, Pool2dGeometry, effective_kernel
from npconv.reference.windows import input_windows

Sum: TypeAlias = Callable[[Array, Array], Array]

# --- sums of terms ------------------------------------------------------------------------------------------------


def one_after_another(terms: Array) -> Array:
    return functools.reduce(np.add, terms, np.zeros_like(terms[0]))


def blocked(terms: Array, size: int) -> Array:
    return one_after_another(np.stack([one_after_another(terms[at : at + size]) for at in range(0, len(terms), size)]))


def in_lanes(terms: Array, lanes: int) -> Array:
    return one_after_another(
        np.stack([one_after_another(terms[lane::lanes]) for lane in range(min(lanes, len(terms)))])
    )


def pairwise(terms: Array) -> Array:
    while len(terms) > 1:
        even = len(terms) // 2 * 2
        terms = np.concatenate([terms[:even:2] + terms[1:even:2], terms[even:]])
    return terms[0]


def kahan(terms: Array) -> Array:
    total, lost = np.zeros_like(terms[0]), np.zeros_like(terms[0])
    for term in terms:
        corrected = term - lost
        new = total + corrected
        lost = np.where(np.isfinite(new), (new - total) - corrected, 0)
        total = new
    return total


def neumaier(terms: Array) -> Array:
    total, lost = np.zeros_like(terms[0]), np.zeros_like(terms[0])
    for term in terms:
        new = total + term
        larger = np.where(np.abs(total) >= np.abs(term), (total - new) + term, (term - new) + total)
        lost, total = lost + np.where(np.isfinite(new), larger, 0), new
    return total + lost


def shuffled(terms: Array) -> Array:
    return one_after_another(terms[np.random.default_rng(len(terms)).permutation(len(terms))])


def wide(x: Array, w: Array) -> Array:
    return np.asarray((x.astype(np.float64) * w.astype(np.float64)).sum(axis=0).astype(x.dtype))


def fused(x: Array, w: Array, size: int = 1 << 30) -> Array:
    """Products are not rounded before they are added, in blocks of `size`."""
    longer = np.longdouble if x.dtype == np.float64 else np.float64
    parts = []
    for at in range(0, len(x), size):
        total = np.zeros(np.broadcast_shapes(x.shape[1:], w.shape[1:]), x.dtype)
        for one, other in zip(x[at : at + size].astype(longer), w[at : at + size].astype(longer), strict=True):
            total = (total + one * other).astype(x.dtype)
        parts.append(total)
    return one_after_another(np.stack(parts))


def by_einsum(x: Array, w: Array) -> Array:
    return np.asarray(np.einsum("k...,k...->...", *np.broadcast_arrays(x, w)))


def by_products(order: Callable[[Array], Array]) -> Sum:
    return lambda x, w: order(x * w)


def in_order(sums: Sum, order: Callable[[int], Array]) -> Sum:
    def reordered(x: Array, w: Array) -> Array:
        places = order(len(x))
        return sums(x[places], w[places])

    return reordered


def even_first(count: int) -> Array:
    return np.concatenate([np.arange(0, count, 2), np.arange(1, count, 2)])


def in_nines(count: int) -> Array:
    """As a loop over taps around one over channels, where there are nine."""
    return np.argsort(np.arange(count) % 9, kind="stable")


RIGHT: dict[str, Sum] = {
    "one after another": by_products(one_after_another),
    "from the last": in_order(by_products(one_after_another), lambda count: np.arange(count)[::-1]),
    "blocks of 8": by_products(functools.partial(blocked, size=8)),
    "blocks of 64": by_products(functools.partial(blocked, size=64)),
    "4 lanes": by_products(functools.partial(in_lanes, lanes=4)),
    "16 lanes": by_products(functools.partial(in_lanes, lanes=16)),
    "pairwise": by_products(pairwise),
    "Kahan": by_products(kahan),
    "Neumaier": by_products(neumaier),
    "shuffled": by_products(shuffled),
    "NumPy's sum": by_products(lambda terms: terms.sum(axis=0)),
    "float64 inside": wide,
    "fused": fused,
    "fused, in blocks": functools.partial(fused, size=16),
    "fused, from the last": in_order(fused, lambda count: np.arange(count)[::-1]),
    "taps before channels": in_order(by_products(one_after_another), in_nines),
    "taps before channels, pairwise": in_order(by_products(pairwise), in_nines),
    "even terms first": in_order(by_products(one_after_another), even_first),
    "einsum": by_einsum,
    "the first half, then the second": in_order(by_products(functools.partial(in_lanes, lanes=2)), even_first),
}

# --- operators of a sum -------------------------------------------------------------------------------------------


def _split(x: Array, w: Array, options: dict[str, Any]) -> tuple[Conv2dGeometry, Array, Array]:
    """The geometry, the windows (G, C, R, S, N, P, Q) of the padded x, and w (G, O, C, R, S)."""
    geometry = Conv2dGeometry.of(x.shape, w.shape, **options)
    rows, columns = (geometry.pad_top, geometry.pad_bottom), (geometry.pad_left, geometry.pad_right)
    padded = np.pad(x, ((0, 0), (0, 0), rows, columns))
    extents = (
        effective_kernel(geometry.kernel_height, geometry.dilation_height),
        effective_kernel(geometry.kernel_width, geometry.dilation_width),
    )
    windows = sliding_window_view(padded, extents, axis=(2, 3))
    windows = windows[
        :,
        :,
        :: geometry.stride_height,
        :: geometry.stride_width,
        :: geometry.dilation_height,
        :: geometry.dilation_width,
    ]
    windows = windows.transpose(1, 4, 5, 0, 2, 3)
    groups = geometry.groups
    return geometry, windows.reshape(groups, -1, *windows.shape[1:]), w.reshape(groups, -1, *w.shape[1:])


def functions(sums: Sum) -> dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]]:
    """Operator -> (forward, backward)."""

    def summed(x: Array, w: Array) -> Array:
        """Of arrays with K first; none of no terms."""
        if not len(x):
            return np.zeros(np.broadcast_shapes(x.shape[1:], w.shape[1:]), x.dtype)
        return sums(x, w)

    def conv2d(x: Array, w: Array, b: Array | None = None, **options: Any) -> Array:
        _, windows, kernels = _split(x, w, options)
        y = [
            summed(
                window.reshape(-1, *window.shape[3:])[:, :, None],
                kernel.reshape(len(kernel), -1).T[:, None, :, None, None],
            )
            for window, kernel in zip(windows, kernels, strict=True)
        ]
        y = np.concatenate(y, axis=1)
        return np.ascontiguousarray(y) if b is None else y + b[:, None, None]

    def conv2d_backward(dy: Array, x: Array, w: Array, b: Array | None = None, **options: Any) -> tuple[Any, ...]:
        geometry, windows, kernels = _split(x, w, options)
        dys = dy.reshape(len(dy), geometry.groups, -1, *dy.shape[2:]).transpose(1, 2, 0, 3, 4)  # (G, O, N, P, Q)
        dw = [
            summed(
                one.transpose(1, 2, 3, 0).reshape(-1, one.shape[0], 1, 1, 1),
                window.transpose(3, 4, 5, 0, 1, 2).reshape(-1, 1, *window.shape[:3]),
            )
            for one, window in zip(dys, windows, strict=True)
        ]
        height, width = (
            x.shape[2] + geometry.pad_top + geometry.pad_bottom,
            x.shape[3] + geometry.pad_left + geometry.pad_right,
        )
        dx = np.zeros((*x.shape[:2], height, width), x.dtype).reshape(len(x), geometry.groups, -1, height, width)
        for group, (one, kernel) in enumerate(zip(dys, kernels, strict=True)):
            for r, s in np.ndindex(kernel.shape[2:]):
                part = summed(one[:, :, None], kernel[:, None, :, r, s, None, None])
                top, left = r * geometry.dilation_height, s * geometry.dilation_width
                down = slice(top, top + (dy.shape[2] - 1) * geometry.stride_height + 1, geometry.stride_height)
                across = slice(left, left + (dy.shape[3] - 1) * geometry.stride_width + 1, geometry.stride_width)
                dx[:, group, :, down, across] += part
        dx = dx.reshape(*x.shape[:2], height, width)
        dx = dx[:, :, geometry.pad_top : height - geometry.pad_bottom, geometry.pad_left : width - geometry.pad_right]
        db = None if b is None else total(dy.transpose(0, 2, 3, 1).reshape(-1, dy.shape[1]))
        return np.ascontiguousarray(dx), np.concatenate(dw).reshape(w.shape), db

    def total(terms: Array) -> Array:
        return summed(terms, np.ones((len(terms), *[1] * (terms.ndim - 1)), terms.dtype))

    def linear(x: Array, w: Array, b: Array | None = None) -> Array:
        y = summed(x.T[:, :, None], w.T[:, None])
        return y if b is None else y + b

    def linear_backward(dy: Array, x: Array, w: Array, b: Array | None = None) -> tuple[Any, ...]:
        dx, dw = summed(dy.T[:, :, None], w[:, None]), summed(dy[:, :, None], x[:, None])
        return dx, dw, None if b is None else total(dy)

    def avg_pool2d(x: Array, kernel: Any, *, count_include_pad: bool = False, **options: Any) -> Array:
        geometry = Pool2dGeometry.of(x.shape, kernel, **options)
        windows = input_windows(x, geometry.axes).transpose(4, 5, 0, 1, 2, 3)
        ones = np.ones((1, 1, *x.shape[2:]))
        share = npconv.avg_pool2d(ones, kernel, count_include_pad=count_include_pad, **options)
        inside = input_windows(ones, geometry.axes).sum(axis=(4, 5))
        count = np.rint(inside / share).astype(x.dtype)
        return total(windows.reshape(-1, *windows.shape[2:])) / count

    def global_avg_pool2d(x: Array) -> Array:
        pixels = x.transpose(2, 3, 0, 1).reshape(-1, *x.shape[:2], 1, 1)
        return total(pixels) / x.dtype.type(len(pixels))

    def depthwise(x: Array, w: Array, b: Array | None = None, **options: Any) -> Array:
        return conv2d(x, w, b, groups=x.shape[1], **options)

    def depthwise_backward(dy: Array, x: Array, w: Array, b: Array | None = None, **options: Any) -> tuple[Any, ...]:
        return conv2d_backward(dy, x, w, b, groups=x.shape[1], **options)

    def separable(x: Array, w_depthwise: Array, w_pointwise: Array, b: Array | None = None, **options: Any) -> Array:
        return conv2d(depthwise(x, w_depthwise, **options), w_pointwise, b)

    def ghost(
        x: Array, w_primary: Array, w_cheap: Array | None = None, *, out_channels: Any = None, **options: Any
    ) -> Array:
        primary = conv2d(x, w_primary, **options)
        if w_cheap is None:
            return primary
        return np.concatenate([primary, depthwise(primary, w_cheap, padding="same")], axis=1)[:, :out_channels]

    return {
        "conv2d": (conv2d, conv2d_backward),
        "depthwise_conv2d": (depthwise, depthwise_backward),
        "pointwise_conv2d": (conv2d, conv2d_backward),
        "separable_conv2d": (separable, None),
        "ghost_conv2d": (ghost, None),
        "linear": (linear, linear_backward),
        "avg_pool2d": (avg_pool2d, None),
        "global_avg_pool2d": (global_avg_pool2d, None),
    }
