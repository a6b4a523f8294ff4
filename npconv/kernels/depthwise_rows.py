"""Depthwise convolution with kernels of 3x3 or 5x5 at stride 1 or 2: rows are read where they stand.

Where no window of a tile meets padding, the distance of two pixels is all that there is to know, and a tile of outputs of one row
reads each pixel once for all taps. Other outputs, at the borders, find their pixels by a table of addresses, with padding as a
pixel of zeros. Both add the taps row by row, so an output has the same bits in either.

An input gradient at stride 1 is the same of dy, with kernels rotated by half a turn. A weight gradient goes over the same pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.jit import MANY, compiled, contiguous, scratch, thread_count
from npconv.kernels.orders import pitch_of, pixels_from
from npconv.kernels.outer_products import ITEMS
from npconv.kernels.sums import limits_of, zeros_of
from npconv.kernels.tiles import transpose_runs, transpose_sums
from npconv.kernels.vectors import LANES, Code, Int, Mask, Pointer, Registers, address_of, emitted, fma
from npconv.memory import empty

KERNELS, STRIDES = (3, 5), (1, 2)  # for which there are tiles
ROW = 4  # outputs of a row in a tile
LINE = 64  # bytes of channels that go together: maps of 1,024 channels have all pixels in one set of the cache, and read lines once
# Bytes of maps that come from memory: there asking for the next row ahead takes a quarter off, elsewhere it adds 5 %.
LARGE = 1 << 22
EDGE = 2  # pixels of a tile at the borders


class Plan(NamedTuple):
    """All that is known before there are arrays."""

    batch: int
    in_height: int
    in_width: int
    out_height: int
    out_width: int
    channels: int
    kernel: int
    stride: int
    top: int  # how far the first window begins before the first row, and column
    left: int
    first: int  # column of the result whose window meets no padding on either side, and how many there are
    inner: int
    lanes: int
    blocks: int
    parts: int  # shares of the channels that are items of their own, where there are few rows
    items: int


def pays(geometry: Conv2dGeometry, forward: bool) -> bool:
    """Whether there is a tile for it: one channel per group, in and out."""
    g = geometry
    one = g.groups > 1 and g.in_channels_per_group == g.out_channels_per_group == 1
    square = g.kernel_height == g.kernel_width and g.stride_height == g.stride_width
    known = g.kernel_height in KERNELS and g.stride_height in (STRIDES if forward else (1,))
    return one and square and known and g.dilation_height == g.dilation_width == 1


def convolve_rows(
    x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, activation: str | None, forward: bool, y: Array
) -> None:
    """y = the activation of the convolution of x, or the input gradient for x in dy's place; maps may be slices of channels."""
    if y.size == 0:
        return
    dtype = x.dtype
    plan = _plan(geometry, forward, LANES[dtype.itemsize * 8], thread_count())
    packed = empty((plan.blocks * plan.kernel * plan.kernel * plan.lanes,), dtype)
    pack_lanes(contiguous(w).reshape(-1), _taps(plan.kernel, forward), plan.lanes, packed)
    bias = zeros_of(plan.channels, dtype) if b is None else contiguous(b)
    _depthwise_rows(
        pixels_from(x), zeros_of(plan.in_width * pitch_of(x), dtype), packed, bias, limits_of(activation, dtype), pixels_from(y),
        (pitch_of(x), pitch_of(y)), plan, scratch(np.int64, plan.kernel + (plan.kernel**2 + 1) * plan.out_width),
    )  # fmt: skip


def weight_grad_rows(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw in C order, (C, 1, R, S). Maps are channels-last, or slices of channels of such maps."""
    dtype = x.dtype
    dw = empty(geometry.w_shape, dtype)
    if dy.size == 0:
        dw[...] = 0
        return dw
    plan = _plan(geometry, True, LANES[dtype.itemsize * 8], 1)
    taps, rows = plan.kernel**2, plan.items // plan.parts
    sums = empty((min(ITEMS, -(-rows // 4)), plan.blocks * taps * plan.lanes), dtype)
    _depthwise_weight_grad(
        pixels_from(x), zeros_of(plan.in_width * pitch_of(x), dtype), pixels_from(dy),
        (pitch_of(x), pitch_of(dy)), plan, sums, scratch(np.int64, plan.kernel + taps * plan.out_width),
    )  # fmt: skip
    unpack_lanes(sums, _taps(plan.kernel, True), plan.lanes, dw.reshape(-1))
    return dw


@functools.lru_cache(maxsize=1024)
def _plan(geometry: Conv2dGeometry, forward: bool, lanes: int, threads: int) -> Plan:
    g, kernel = geometry, geometry.kernel_height
    read, made = (g.in_height, g.in_width), (g.out_height, g.out_width)
    top, left, stride = g.pad_top, g.pad_left, g.stride_height
    if not forward:
        read, made, top, left = made, read, kernel - 1 - top, kernel - 1 - left
    first = max(0, -(-left // stride))
    inner = max(0, min(made[1], (read[1] - kernel + left) // stride + 1) - first)
    if inner < ROW:
        first, inner = made[1], 0
    blocks, rows = -(-g.groups // lanes), g.batch * made[0]
    parts = min(blocks, max(1, 4 * threads // rows))
    return Plan(
        g.batch, *read, *made, g.groups, kernel, stride, top, left, first, inner, lanes, blocks, parts, rows * parts
    )


@functools.cache
def _taps(kernel: int, forward: bool) -> Array:
    """Where the packer puts a tap: backwards, the last one first."""
    taps = np.arange(kernel * kernel)
    return taps if forward else np.ascontiguousarray(taps[::-1])


@compiled(terms=1)
def pack_lanes(w, taps, lanes, packed):
    """packed[block, taps[t], lane] = w[block * lanes + lane, t], and 0 beyond the last channel."""
    count = len(taps)
    channels, size = len(w) // count, count * lanes
    for item in prange(len(packed) // size):
        block = np.int64(item)
        own = min(lanes, channels - block * lanes)
        for t in range(0, count, lanes):
            source, columns = w[block * lanes * count + t :], min(lanes, count - t)
            transpose_runs(source, count, own, columns, packed[block * size :], taps[t:], lanes)


@njit
def _fill_tables(plan, row, x, x_pixel, nothing, table):
    """table: the addresses of the rows that row `row` of the result reads, padding being one of zeros; then, for outputs m that are
    not inner ones, those of the pixels at each tap, (taps, m)."""
    kernel, out_height, in_height, in_width = plan.kernel, plan.out_height, plan.in_height, plan.in_width
    n, h = row // out_height, row % out_height * plan.stride - plan.top
    for r in range(kernel):
        i = h + r
        table[r] = x + (n * in_height + i) * in_width * x_pixel if i >= 0 and i < in_height else nothing
    pixels = plan.out_width - plan.inner
    for m in range(pixels):
        q = m if m < plan.first else m + plan.inner
        for s in range(kernel):
            j = q * plan.stride - plan.left + s
            for r in range(kernel):
                there = table[r] + j * x_pixel if j >= 0 and j < in_width else nothing
                table[kernel + (r * kernel + s) * pixels + m] = there


@compiled(terms=MANY)
def _depthwise_rows(x, zeros, w, bias, limits, y, pitches, plan, tables):
    """y[n, p, q, c] = bias[c] + sum over r and s of x[n, p * stride + r - top, q * stride + s - left, c] * w[c, r, s], limited.

    x, y: maps from their first number on; pitches: the distances of their pixels, in numbers
    zeros: a row of them, which padding is read as; w: packed, (blocks, taps, lanes)
    tables: of each thread, room for the addresses of `_fill_tables` and of the outputs that are not inner ones
    """
    kernel, stride, lanes, channels, blocks = plan.kernel, plan.stride, plan.lanes, plan.channels, plan.blocks
    out_width, parts, items, threads = plan.out_width, plan.parts, plan.items, len(tables)
    first, inner, taps = plan.first, plan.inner, kernel * kernel
    x_pitch, y_pitch, size = pitches[0], pitches[1], taps * lanes
    x_pixel, y_pixel, pixels = x_pitch * x.itemsize, y_pitch * x.itemsize, out_width - inner
    ahead = plan.in_width * x_pitch if x.nbytes >= LARGE else 0
    for thread in prange(threads):
        table = tables[thread]
        for item in range(items * thread // threads, items * (thread + 1) // threads):
            part, row = item % parts, item // parts
            begin, end = blocks * part // parts, blocks * (part + 1) // parts
            _fill_tables(plan, row, address_of(x), x_pixel, address_of(zeros), table)
            for m in range(pixels):
                q = m if m < first else m + inner
                table[kernel + taps * pixels + m] = address_of(y) + (row * out_width + q) * y_pixel
            c = begin * lanes
            own = min(end * lanes, channels) - c
            if inner > 0:
                depthwise_tiles(
                    table, (first * stride - plan.left) * x_pitch + c, x_pitch, ahead, w[begin * size :], kernel, stride, bias[c:], limits,
                    y[(row * out_width + first) * y_pitch + c :], y_pitch, inner, own,
                )  # fmt: skip
            if pixels > 0:
                depthwise_pixels(table[kernel:], pixels, taps, c, w[begin * size :], bias[c:], limits, own)


@emitted
def depthwise_tiles(
    code: Code, rows: Pointer, start: Int, pitch: Int, ahead: Int, w: Pointer, kernel: Int, stride: Int, bias: Pointer,
    limits: Pointer, y: Pointer, y_pitch: Int, count: Int, channels: Int,
) -> None:  # fmt: skip
    """y[q, c] = bias[c] + sum over r and s of row r[start + (q * stride + s) * pitch + c] * w[r, s, c], for q < count, c < channels.

    rows: their addresses. w: (blocks, rows * columns, lanes) of blocks of channels. count: at least ROW
    ahead: the distance of two rows, to ask for what the next row of outputs will read; 0 where that does not pay
    limits: between which results are cut; NaN cuts nothing
    """
    low, high = limits[0].splat(), limits[1].splat()
    plain = limits[0].is_nan().both(limits[1].is_nan())  # else limiting is a third of the work

    def tiles(size: int, step: int) -> None:
        columns = [pitch * j for j in range((ROW - 1) * step + size)]
        outs = [y_pitch * i for i in range(ROW)]
        with code.loop((count + (ROW - 1)) // ROW) as number:
            first = (count - ROW).at_most(number * ROW)  # the last tile may make some outputs again
            corners = [code.pointer_at(rows[r]) + (start + first * (pitch * step)) for r in range(size)]
            out = y + first * y_pitch

            def tile(vectors: int, c: Int, mask: Mask | None) -> None:
                weights = w + c * (size * size)
                total = [[(bias + c).vector(v * code.lanes, mask)] * ROW for v in range(vectors)]
                with code.when(ahead >= 1):
                    for k in range(step):
                        for column in columns[: ROW * step]:
                            (corners[-1] + c + column + ahead * (k + 1)).prefetch()
                for r in range(size):
                    pixels = corners[r] + c
                    # One vector after the other: more pixels would not fit the ways of the first cache.
                    for v in range(vectors):
                        for j, column in enumerate(columns):
                            here = (pixels + column).vector(v * code.lanes, mask)
                            for i in range(ROW):
                                if 0 <= j - i * step < size:
                                    tap = v * size * size + r * size + j - i * step
                                    total[v][i] = fma(here, (weights + tap * code.lanes).vector(), total[v][i])

                def store(limited: bool) -> None:
                    for v in range(vectors):
                        for i in range(ROW):
                            result = total[v][i].limited(low, high) if limited else total[v][i]
                            (out + (outs[i] + c) + v * code.lanes).store(result, mask)

                code.either(plain, lambda: store(False), lambda: store(True))

            lines(code, channels, tile)

    for size in KERNELS:
        for step in STRIDES:
            with code.when(kernel.equals(size).both(stride.equals(step))):
                tiles(size, step)


@emitted
def depthwise_pixels(
    code: Code, addresses: Pointer, pixels: Int, taps: Int, channel: Int, w: Pointer, bias: Pointer, limits: Pointer, channels: Int
) -> None:  # fmt: skip
    """out[m, c] = bias[c] + sum over taps t of pixel[t, m][channel + c] * w[t, c], for m < pixels and c < channels.

    addresses: (taps + 1, pixels), of the pixels that are read, and last of the result's
    """
    low, high = limits[0].splat(), limits[1].splat()
    with code.loop((pixels + (EDGE - 1)) // EDGE) as number:
        first = number * EDGE
        # The last tile may have fewer pixels: it computes the last one again and again.
        pixel = [addresses + (first + (pixels - first - 1).at_most(i)) for i in range(EDGE)]

        def tile(vectors: int, c: Int, mask: Mask | None) -> None:
            total = Registers(code)
            for v in range(vectors):
                for i in range(EDGE):
                    total[i, v] = (bias + c).vector(v * code.lanes, mask)
            with code.loop(taps) as t:
                weights = w + (c * taps + t * code.lanes)
                weight = [(weights + (taps * code.lanes) * v).vector() for v in range(vectors)]
                for i in range(EDGE):
                    here = code.pointer_at(pixel[i][t * pixels]) + (channel + c)
                    for v in range(vectors):
                        total[i, v] = fma(here.vector(v * code.lanes, mask), weight[v], total[i, v])
            for i in range(EDGE):
                out = code.pointer_at(pixel[i][taps * pixels]) + (channel + c)
                for v in range(vectors):
                    (out + v * code.lanes).store(total[i, v].limited(low, high), mask)

        lines(code, channels, tile)


def lines(code: Code, channels: Int, tile: Callable[[int, Int, Mask | None], None]) -> None:
    """``tile(vectors, first channel, mask)`` for all channels: as many vectors as a cache line has, then one by one."""
    vectors = LINE // (code.bytes * code.lanes)
    whole = channels // (vectors * code.lanes)
    with code.loop(whole) as line:
        tile(vectors, line * (vectors * code.lanes), None)
    if vectors == 1:
        rest = whole * code.lanes
        with code.when(channels - rest >= 1):
            tile(1, rest, code.first_lanes(channels - rest))
        return
    rest = channels - whole * (vectors * code.lanes)
    with code.loop((rest + (code.lanes - 1)) // code.lanes) as block:
        c = whole * (vectors * code.lanes) + block * code.lanes
        tile(1, c, code.first_lanes(channels - c))


@compiled(terms=MANY)
def _depthwise_weight_grad(x, zeros, dy, pitches, plan, sums, tables):
    """sums[part][block, r * S + s, lane] = sum over the part's n, p and all q of x[n, p * stride + r - top, ..., c] * dy[n, p, q, c].

    The rows of all images are cut into parts where their number alone decides; arguments are those of `_depthwise_rows`.
    """
    kernel, channels, out_width, first, inner = plan.kernel, plan.channels, plan.out_width, plan.first, plan.inner
    rows, parts, threads, pixels = plan.batch * plan.out_height, len(sums), len(tables), out_width - plan.inner
    x_pitch, dy_pitch = pitches[0], pitches[1]
    for thread in prange(threads):
        table = tables[thread]
        for part in range(parts * thread // threads, parts * (thread + 1) // threads):
            own = sums[part]
            own[:] = 0
            for row in range(rows * part // parts, rows * (part + 1) // parts):
                _fill_tables(plan, row, address_of(x), x_pitch * x.itemsize, address_of(zeros), table)
                start = row * out_width * dy_pitch
                if inner > 0:
                    depthwise_outer_tiles(
                        table, (first * plan.stride - plan.left) * x_pitch, x_pitch, kernel, plan.stride,
                        dy[start + first * dy_pitch :], dy_pitch, inner, channels, own,
                    )  # fmt: skip
                for m in range(pixels):
                    q = m if m < first else m + inner
                    depthwise_outer_pixel(
                        table[kernel + m :], pixels, kernel * kernel, dy[start + q * dy_pitch :], channels, own
                    )


@compiled(terms=1)
def unpack_lanes(sums, taps, lanes, w):
    """w[block * lanes + lane, t] = the sum over the parts of sums[part][block, taps[t], lane], in their order."""
    count = len(taps)
    channels, size = len(w) // count, count * lanes
    for item in prange(sums.shape[1] // size):
        block = np.int64(item)
        own = min(lanes, channels - block * lanes)
        for t in range(0, count, lanes):
            transpose_sums(
                sums[0, block * size :], len(sums), sums.shape[1], taps[t:], lanes, w[block * lanes * count + t :], count,
                own, min(lanes, count - t),
            )  # fmt: skip


@emitted
def depthwise_outer_tiles(
    code: Code, rows: Pointer, start: Int, pitch: Int, kernel: Int, stride: Int, dy: Pointer, dy_pitch: Int, count: Int,
    channels: Int, dw: Pointer,
) -> None:  # fmt: skip
    """dw[r, s, c] += sum over q < count of row r[start + (q * stride + s) * pitch + c] * dy[q * dy_pitch + c], for c < channels.

    rows: their addresses. dw: (blocks, rows * columns, lanes) of blocks of channels
    """

    def tile(size: int, step: int, outputs: int, first: Int) -> None:
        corners = [code.pointer_at(rows[r]) + (start + first * (pitch * step)) for r in range(size)]
        columns = [pitch * j for j in range((outputs - 1) * step + size)]
        gradients = [dy + (first + i) * dy_pitch for i in range(outputs)]

        def block(c: Int, mask: Mask | None) -> None:
            gradient = [row.vector(c, mask) for row in gradients]
            for r in range(size):
                sums = dw + (c * (size * size) + r * size * code.lanes)
                total = [(sums + s * code.lanes).vector() for s in range(size)]
                for j, column in enumerate(columns):
                    here = (corners[r] + column).vector(c, mask)
                    for i in range(outputs):
                        if 0 <= j - i * step < size:
                            total[j - i * step] = fma(here, gradient[i], total[j - i * step])
                for s in range(size):
                    (sums + s * code.lanes).store(total[s])

        code.vectors(channels, block)

    for size in KERNELS:
        for step in STRIDES:
            with code.when(kernel.equals(size).both(stride.equals(step))):
                whole = count // ROW
                with code.loop(whole) as number:
                    tile(size, step, ROW, number * ROW)
                with code.loop(count - whole * ROW) as rest:
                    tile(size, step, 1, whole * ROW + rest)


@emitted
def depthwise_outer_pixel(
    code: Code, addresses: Pointer, pixels: Int, taps: Int, dy: Pointer, channels: Int, dw: Pointer
) -> None:
    """dw[t, c] += the number c of the pixel at addresses[t * pixels], times dy[c], for all taps t and c < channels."""

    def block(c: Int, mask: Mask | None) -> None:
        gradient = dy.vector(c, mask)
        with code.loop(taps) as t:
            sums = dw + (c * taps + t * code.lanes)
            here = code.pointer_at(addresses[t * pixels]).vector(c, mask)
            sums.store(fma(here, gradient, sums.vector()))

    code.vectors(channels, block)
