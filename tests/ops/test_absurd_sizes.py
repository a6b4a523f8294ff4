"""Strides, dilations, kernels and scales up to 2^31: work and memory are those of what is read and written, or none is done."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import npconv
from npconv import nn
from npconv.geometry import LARGEST, Conv2dGeometry

TERABYTES = 10**5  # of rows and of columns


def f(*shape):
    return np.ones(shape, np.float32)


def virtual(*shape):
    """Numbers that take no memory."""
    return np.broadcast_to(np.float32(1), shape)


# What a few pixels are enough for, on both backends.
SMALL = {
    "stride": lambda: npconv.conv2d_backward(f(1, 1, 1, 1), f(1, 4, 4, 4), f(1, 4, 3, 3), stride=LARGEST, padding=1),
    "stride and padding": lambda: npconv.conv2d(f(1, 1, 4, 4), f(1, 1, 1, 1), stride=1000, padding=1500),
    "depthwise": lambda: npconv.depthwise_conv2d_backward(
        f(1, 2, 1, 1), f(1, 2, 4, 4), f(2, 1, 3, 3), stride=LARGEST, padding=1
    ),
    "pointwise": lambda: npconv.pointwise_conv2d_backward(f(1, 2, 1, 1), f(1, 4, 4, 4), f(2, 4, 1, 1), stride=LARGEST),
    "separable": lambda: npconv.separable_conv2d(
        f(1, 2, 4, 4), f(2, 1, 3, 3), f(2, 2, 1, 1), stride=LARGEST, padding=1
    ),
    "pool": lambda: npconv.max_pool2d_backward(f(1, 2, 1, 1), f(1, 2, 4, 4), 2, stride=LARGEST),
    "dilation of one tap": lambda: npconv.conv2d(f(1, 1, 4, 4), f(1, 1, 1, 1), dilation=LARGEST),
    "dilation": lambda: npconv.conv2d(f(1, 1, 4, 4), f(1, 1, 3, 3), dilation=LARGEST, padding=LARGEST),
    "dilation, same": lambda: npconv.conv2d_backward(
        f(1, 1, 4, 4), f(1, 1, 4, 4), f(1, 1, 3, 3), dilation=LARGEST, padding="same"
    ),
    "padding": lambda: npconv.conv2d(f(1, 1, 4, 4), f(1, 1, 3, 3), padding=LARGEST, stride=LARGEST),
    "depthwise dilation": lambda: npconv.depthwise_conv2d(
        f(1, 2, 4, 4), f(2, 1, 3, 3), dilation=LARGEST, padding=LARGEST
    ),
    "a wide row of outputs on padding": lambda: npconv.depthwise_conv2d(
        f(1, 2, 3, 4), f(2, 1, 3, 3), padding=((0, 0), (3 * 10**8, 0)), stride=(1, 3000)
    ),
    "max pool's kernel": lambda: npconv.max_pool2d_backward(f(1, 2, 1, 1), f(1, 2, 4, 4), LARGEST, ceil_mode=True),
    "average pool's kernel": lambda: npconv.avg_pool2d_backward(f(1, 2, 1, 1), f(1, 2, 4, 4), LARGEST, ceil_mode=True),
    "a window that ends on the map and one that begins there": lambda: npconv.avg_pool2d_backward(
        f(1, 2, 2, 2), f(1, 2, 4, 4), LARGEST, padding=LARGEST - 1, stride=LARGEST, count_include_pad=True
    ),
    "a hundred windows that hold the whole map": lambda: npconv.max_pool2d_backward(
        f(1, 1, 101, 1), f(1, 1, 4, 4), (10**9, 4), padding=((10**9 - 1, 10**9 - 1), (0, 0)), stride=(10**7, 1)
    ),
    "scale": lambda: npconv.upsample_nearest2d(f(1, 1, 1, 1), LARGEST, size=1),
    "padding of few outputs": lambda: npconv.conv2d_backward(
        f(1, 1, 3, 3), f(1, 1, 4, 4), f(1, 1, 3, 3), padding=20_000, stride=20_000
    ),
}

# What no machine has the memory for.
TOO_LARGE = {
    "padding": lambda: npconv.conv2d(f(1, 1, 4, 4), f(1, 1, 3, 3), padding=TERABYTES * 10),
    "padding of a pool": lambda: npconv.max_pool2d(f(1, 1, 4, 4), TERABYTES * 10, padding=TERABYTES * 10 - 1, stride=1),
    "scale": lambda: npconv.upsample_nearest2d(f(1, 1, 4, 4), TERABYTES * 10),
    "output channels": lambda: npconv.pointwise_conv2d(f(1, 1, 99, 99), virtual(LARGEST, 1, 1, 1)),
    "x_shape": lambda: npconv.conv2d_input_grad(
        f(1, 1, 1, 1), f(1, 1, 1, 1), (1, 1, TERABYTES * 10, TERABYTES * 10), stride=LARGEST
    ),
    "w_shape": lambda: npconv.conv2d_weight_grad(
        f(1, 1, 1, 1), f(1, 1, 4, 4), (1, 1, TERABYTES * 20, TERABYTES * 20), padding=TERABYTES * 10 - 2
    ),
    "relu of virtual numbers": lambda: npconv.relu(virtual(1, 1, TERABYTES * 10, TERABYTES * 10)),
    "a virtual map": lambda: npconv.global_avg_pool2d_backward(
        f(1, 1, 1, 1), virtual(1, 1, TERABYTES * 10, TERABYTES * 10)
    ),
    "a layer": lambda: nn.Conv2d(TERABYTES, TERABYTES, 9, rng=np.random.default_rng(0)),
    "a linear layer": lambda: nn.Linear(LARGEST, LARGEST, rng=np.random.default_rng(0)),
}


def taken(call):
    """Seconds of a processor and bytes that it takes."""
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    call()
    return time.process_time() - start, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)


@pytest.mark.parametrize("call", SMALL.values(), ids=SMALL)
def test_work_is_that_of_the_pixels(backend, call):
    call()  # compiles
    seconds, bytes_taken = taken(call)
    assert seconds < 2
    assert bytes_taken < 2**27


DRAWN = st.tuples(*map(st.integers, [1, 1, 1, 0, 0], [3, 99, 99, 200, 200]))  # kernel, stride, dilation, padding


@given(rows=DRAWN, columns=DRAWN)
def test_far_jumps_compute_what_the_definition_says(rows, columns):
    """Where windows jump over pixels and padding, the reference lays out their own pixels alone."""
    kernel, stride, dilation, *padding = zip(rows, columns, strict=True)
    padding = tuple(zip(*padding, strict=True))
    x, w = np.arange(60.0).reshape(1, 2, 6, 5), 1 + np.arange(4.0 * kernel[0] * kernel[1]).reshape(2, 2, *kernel)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    try:
        geometry = Conv2dGeometry.of(x.shape, w.shape, **options)
    except ValueError:
        assume(False)
    assume(geometry.out_height * geometry.out_width < 200)
    dy = 1 + np.arange(float(np.prod(geometry.y_shape))).reshape(geometry.y_shape)
    with npconv.backend("numpy"):
        y, (dx, dw, _) = npconv.conv2d(x, w, **options), npconv.conv2d_backward(dy, x, w, **options)
    sides = ((0, 0), (0, 0), *padding)
    padded = np.pad(x, sides)
    reads = [
        (slice(None), slice(None), *(slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, y.shape[2:], stride, strict=True)))
        for tap in np.ndindex(kernel)
    ]  # fmt: skip
    expected, d_padded = np.zeros_like(y), np.zeros_like(padded)
    for read, tap in zip(reads, np.ndindex(kernel), strict=True):
        expected += np.einsum("ncpq,oc->nopq", padded[read], w[(..., *tap)])
        d_padded[read] += np.einsum("nopq,oc->ncpq", dy, w[(..., *tap)])
        np.testing.assert_array_equal(dw[(..., *tap)], np.einsum("nopq,ncpq->oc", dy, padded[read]))
    np.testing.assert_array_equal(y, expected)
    inside = tuple(slice(before, before + size) for (before, _), size in zip(sides, x.shape, strict=True))
    np.testing.assert_array_equal(dx, d_padded[inside])


@pytest.mark.parametrize("call", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_does_not_fit_is_refused_before_work(backend, call):
    with pytest.raises(MemoryError, match=r"must fit into memory, got \d+\.\d GiB for"):
        taken(call)


def test_a_weight_gradient_that_does_not_fit_is_refused_before_work(backend):
    """Of a kernel of 40,000 x 40,000 taps: the reference lays out as many pixels beside it, the kernels have addresses for all."""
    dy, x = f(1, 1, 1, 1), f(1, 1, 4, 4)
    npconv.conv2d_weight_grad(dy, x, (1, 1, 4, 4))  # compiles
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (9 << 30), hard))
    try:
        start = time.process_time()
        with pytest.raises(MemoryError, match=r"must fit into memory, got \d+\.\d GiB for"):
            npconv.conv2d_weight_grad(dy, x, (1, 1, 40_000, 40_000), padding=19_998)
        assert time.process_time() - start < 2
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_pixels_of_a_huge_window_are_told_apart(backend):
    """Taps of windows of 9 x 2^30 have numbers that are equal in 32 bits: three pixels got the gradient of the largest."""
    x = f(1, 1, 9, 2)
    x[0, 0, 4, 1] = 5
    dx = npconv.max_pool2d_backward(f(1, 1, 1, 1), x, (9, 2**30), ceil_mode=True)
    np.testing.assert_array_equal(dx, np.where(x == 5, 1, 0))


def test_a_windows_largest_pixel_is_found_in_memory_of_the_map():
    """The reference laid out all windows, of 13 million pixels here, for the gradient."""
    x, dy = np.random.default_rng(0).random((1, 1, 120, 120), np.float32), f(1, 1, 60, 60)
    with npconv.backend("numpy"):
        seconds, bytes_taken = taken(lambda: npconv.max_pool2d_backward(dy, x, 61, stride=1))
    assert seconds < 2
    assert bytes_taken < 2**22


def test_the_same_numbers_as_at_the_size_that_is_enough(backend):
    """At one output pixel the stride does not matter, at one tap the dilation."""
    rng = np.random.default_rng(0)
    x, w = rng.integers(-4, 5, (2, 3, 4, 4)).astype(np.float32), rng.integers(-4, 5, (2, 3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(npconv.conv2d(x, w, stride=LARGEST), npconv.conv2d(x, w))
    w = w[:, :, :1, :1]
    np.testing.assert_array_equal(npconv.conv2d(x, w, dilation=LARGEST), npconv.conv2d(x, w))
