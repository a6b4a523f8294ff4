"""Sums of pixels: y[m, o] = b[o] + sum over taps t and c of x[pixel(m, t), c] * w[t, c, o], for any geometry.

This one loop is every forward of a convolution with more than a few channels per group, every input gradient, and the
products of Winograd's transforms. What a thread does next is an item: some pixels of one class of rows and columns
(`indirection`), of one group, in one block of output channels. Items of the same pixels follow each other, so that their
addresses are made once and their numbers stay in the second cache. Each sum is made by one tile in the order of taps and
channels, so it depends neither on items nor on threads.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.indirection import blocks_of, forward_axes, input_grad_axes, shares
from npconv.kernels.jit import MANY, compiled, contiguous, scratch, thread_count
from npconv.kernels.orders import pitch_of, pixels_from
from npconv.kernels.tiles import ROWS, WIDEST, copy_rows, sum_tiles, transpose_runs
from npconv.kernels.vectors import LANES, address_of
from npconv.memory import empty

CACHE = 1 << 18  # bytes of pixels that a chunk of them may have, to stay in the second cache
ADDRESSES = 1 << 13  # how many addresses a chunk may have: 64 KiB
# When weights are packed: by a loop of its own, for the one item of a block, by each thread for itself.
BEFORE, ITEM, THREAD = range(3)
PANEL, PANELS = 1 << 17, 1 << 15  # numbers of a block, and of all weights, that a thread packs for itself
ROWS_TOGETHER = 8  # of weights that a thread packs at a time
APART = 16  # numbers between packed blocks: at a distance of whole pages they would push each other out of the caches
KEPT = 1 << 14  # zeros that are made once for all calls
ROUND = math.lcm(*ROWS.values())  # chunks are whole tiles, whatever their width

LIMITS = {None: (math.nan, math.nan), "relu": (0.0, math.nan), "relu6": (0.0, 6.0)}


class Sizes(NamedTuple):
    """What the loop knows of the maps. A pitch is the distance of two pixels, in numbers."""

    in_height: int
    in_width: int
    out_height: int
    out_width: int
    depth: int  # channels of the read map in a group
    out_channels: int  # of the result in a group
    taps: int
    groups: int
    lanes: int


class Tables(NamedTuple):
    """What the loop has to do, int64."""

    axes: Array  # places and reads of rows and columns, and taps, one after the other
    # (phases, 9): of its rows where their places begin in `axes`, how many they are, where their reads begin, how many taps
    # they have; the same four of its columns; where the phase's taps of the kernel begin
    phases: Array
    blocks: Array  # (blocks, 4): first channel, vectors, lanes of the last, where the weights begin
    items: Array  # (items, 5): phase, first and last pixel, group, block
    bounds: Array  # (threads + 1,): whose items are whose
    order: Array  # where the packer puts a tap, or a tap of a channel


class Plan(NamedTuple):
    """All that is known of a sum of pixels before there are arrays."""

    sizes: Sizes
    tables: Tables
    packed: int  # numbers of the packed weights
    packing: int  # when they are packed
    addresses: int  # how many a thread needs room for
    panels: int  # numbers of packed weights that a thread needs room for


def convolve(x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, activation: str | None, y: Array) -> None:
    """y = the activation of the convolution. Maps are channels-last, or slices of channels of such maps."""
    _run(x, w, b, geometry, activation, y, forward=True)


def convolve_back(dy: Array, w: Array, geometry: Conv2dGeometry, dx: Array) -> None:
    """dx = the input gradient of the convolution, which is a sum of dy's pixels."""
    _run(dy, w, None, geometry, None, dx, forward=False)


def _run(
    x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, activation: str | None, y: Array, forward: bool
) -> None:
    if y.size == 0:
        return
    dtype = x.dtype
    plan = plan_of(geometry, forward, LANES[dtype.itemsize * 8], thread_count())
    sizes, tables = plan.sizes, plan.tables
    weights, run = contiguous(w).reshape(-1), sizes.depth * sizes.taps if forward else sizes.taps
    # The loop reads one array either way: of a variable that is one of two Numba believes that both have the first one's length.
    if plan.packing == BEFORE:
        packed, pitch = empty((plan.packed,), dtype), 0
        pack(weights, tables.order, tables.blocks, sizes, sizes.groups, run, packed)
    else:
        room = scratch(dtype, plan.panels)
        packed, pitch = room.reshape(-1), room.shape[1]
    bias = zeros_of(y.shape[1], dtype) if b is None else contiguous(b)
    _sum_pixels(
        pixels_from(x), zeros_of(x.shape[1], dtype), weights, packed, (plan.packing, run, pitch), bias,
        limits_of(activation, dtype), pixels_from(y), (pitch_of(x), pitch_of(y)), sizes, tables,
        scratch(np.int64, plan.addresses),
    )  # fmt: skip


def zeros_of(count: int, dtype: np.dtype[Any]) -> Array:
    """Zeros that nobody writes to: the bias where there is none, and what padding is read as."""
    return _kept_zeros(dtype)[:count] if count <= KEPT else np.zeros(count, dtype)


@functools.cache
def _kept_zeros(dtype: np.dtype[Any]) -> Array:
    return np.zeros(KEPT, dtype)


@functools.cache
def limits_of(activation: str | None, dtype: np.dtype[Any]) -> Array:
    """Between which values an activation is the identity: NaN, with which nothing compares, where there is no limit."""
    return np.array(LIMITS[activation], dtype)


@functools.lru_cache(maxsize=1024)
def plan_of(geometry: Conv2dGeometry, forward: bool, lanes: int, threads: int) -> Plan:
    """The plan of a convolution, or of its input gradient."""
    taps = geometry.kernel_height * geometry.kernel_width
    read = geometry.in_channels_per_group, geometry.in_height, geometry.in_width
    made = geometry.out_channels_per_group, geometry.out_height, geometry.out_width
    if not forward:
        read, made = made, read
    sizes = Sizes(*read[1:], *made[1:], read[0], made[0], taps, geometry.groups, lanes)
    row_classes, column_classes = (forward_axes if forward else input_grad_axes)(geometry)
    axes: list[Array] = []
    length = 0

    def keep(table: Array) -> int:
        nonlocal length
        axes.append(table.reshape(-1))
        length += table.size
        return length - table.size

    phases, counts = [], []
    for rows in row_classes:
        for columns in column_classes:
            both = rows.taps[:, None] * geometry.kernel_width + columns.taps
            phases.append(
                [
                    *(keep(rows.places), len(rows.places), keep(inside(rows.reads, read[1])), len(rows.taps)),
                    *(
                        keep(columns.places),
                        len(columns.places),
                        keep(np.ascontiguousarray(inside(columns.reads, read[2]).T)),
                        len(columns.taps),
                    ),
                    keep(both),
                ]
            )
            counts.append((geometry.batch * len(rows.places) * len(columns.places), both.size))
    blocks, place = [], 0
    for first, vectors, last in blocks_of(sizes.out_channels, lanes, WIDEST):
        blocks.append((first, vectors, last, place))
        place += taps * sizes.depth * vectors * lanes + APART
    items, work = [], []
    total = sum(pixels for pixels, _ in counts)
    stride = 1 if taps == 1 else geometry.stride_height * geometry.stride_width
    chunk = CACHE // (64 // lanes * max(sizes.depth, sizes.out_channels) * stride)
    wanted = -(-8 * threads // (geometry.groups * len(blocks)))  # chunks, so that all threads have work
    chunk = min(chunk, -(-total // wanted))
    for phase, (pixels, phase_taps) in enumerate(counts):
        most = min(chunk, ADDRESSES // (phase_taps + 1))
        step = max(ROUND, most // ROUND * ROUND)
        for begin in range(0, pixels, step):
            end = min(pixels, begin + step)
            for group in range(geometry.groups):
                for number, block in enumerate(blocks):
                    items.append((phase, begin, end, group, number))
                    work.append((end - begin) * (phase_taps * sizes.depth + 8) * block[1])
    addresses = max((item[2] - item[1]) * (counts[item[0]][1] + 1) for item in items)
    packed, panel = sizes.groups * place, max(block[1] for block in blocks) * lanes * taps * sizes.depth
    packing, panels = BEFORE, 0
    if forward and len(items) == sizes.groups * len(blocks) and panel <= PANEL:
        packing, panels = ITEM, panel
    elif packed <= PANELS:
        packing, panels = THREAD, packed
    channel, tap = np.divmod(np.arange(sizes.depth * taps if forward else taps), taps)
    return Plan(
        sizes,
        Tables(
            np.concatenate(axes),
            np.array(phases, np.int64),
            np.array(blocks, np.int64),
            np.array(items, np.int64),
            shares(np.array(work), threads),
            tap * sizes.depth + channel,
        ),
        packed,
        packing,
        addresses,
        panels,
    )


def inside(reads: Array, size: int) -> Array:
    """The reads of an axis, -1 for padding."""
    return np.where((reads >= 0) & (reads < size), reads, -1)


@compiled(terms=1)
def pack(w, order, blocks, sizes, groups, run, packed):
    """packed[group][block] = the weights of all blocks of all groups, as `pack_rows` puts them.

    run: how many numbers of w lie beside each other for one output channel: a row of w as `pack_rows` has it
    """
    outer, size, count = len(w) // (groups * sizes.out_channels * run), len(packed) // groups, len(blocks)
    # Rows of a matrix are read once, from end to end; where there is one only, each block is a thread's own.
    wide = count if outer > 1 else 1
    steps = -(-outer // ROWS_TOGETHER)
    for item in prange(groups * count // wide * steps):
        rest, first = np.int64(item) // steps, np.int64(item) % steps * ROWS_TOGETHER
        group, begin = rest // (count // wide), rest % (count // wide) * wide
        for block in range(begin, begin + wide):
            pack_rows(
                w, order, blocks[block], sizes, group * outer, first, min(first + ROWS_TOGETHER, outer), run,
                packed[group * size + blocks[block, 3] :],
            )  # fmt: skip


@njit
def pack_rows(w, order, block, sizes, start, begin, end, run, packed):
    """packed[order[j] + i, lane] = w[start + i][first + lane, j], of begin <= i < end and `run` j."""
    first, vectors, last, _ = block
    lanes, out_channels = sizes.lanes, sizes.out_channels
    width = vectors * lanes
    if run == 1:  # these rows are in their order already
        row, channels = w[(start + begin) * out_channels + first :], (vectors - 1) * lanes + last
        copy_rows(row, end - begin, out_channels, channels, packed[begin * width :], width)
        return
    for i in range(begin, end):  # transpositions, for the taps of a channel are a run
        for vector in range(vectors):  # as many channels at a time as a cache has ways
            channel = (start + i) * out_channels + first + vector * lanes
            for j in range(0, run, lanes):
                transpose_runs(
                    w[channel * run + j :], run, last if vector == vectors - 1 else lanes, min(lanes, run - j),
                    packed[i * width + vector * lanes :], order[j:], width,
                )  # fmt: skip


@njit
def fill_addresses(columns, row, first, pixel, nothing, target):
    """target[k] = where column k of a row is that begins at `first`; `nothing` for padding, which is -1. LLVM makes vectors of it."""
    if row < 0:
        target[:] = nothing
        return
    for k in range(len(target)):
        column = columns[k]
        target[k] = first + column * pixel if column >= 0 else nothing


@compiled(terms=MANY)
def _sum_pixels(x, zeros, w, packed, packings, bias, limits, y, pitches, sizes, tables, addresses):
    """y[m, o] = bias[o] + sum over taps t and channels c of x[pixel(m, t), c] * w[t, c, o], limited; a thread does its items.

    x, y: maps from their first number on; pitches: the distances of their pixels, in numbers
    zeros: a pixel of them, which padding is read as; w: the weights as they were given
    packed: the packed weights, or room for them; packings: when they are packed, the `run` of `pack_rows`, numbers between threads
    addresses: of each thread, room for the addresses of an item's pixels, (taps + 1, pixels)
    """
    packing, run, pitch = packings
    depth, out_channels, width = sizes.depth, sizes.out_channels, sizes.in_width
    in_size, out_size, out_width = sizes.in_height * width, sizes.out_height * sizes.out_width, sizes.out_width
    x_pixel, y_pixel, nothing = pitches[0] * x.itemsize, pitches[1] * y.itemsize, address_of(zeros)
    axes, phases, blocks, items, bounds = tables.axes, tables.phases, tables.blocks, tables.items, tables.bounds
    outer = sizes.taps * depth // run
    group_size = blocks[-1, 3] + blocks[-1, 1] * sizes.lanes * sizes.taps * depth + APART
    for thread in prange(len(bounds) - 1):
        table, own = addresses[thread], np.int64(thread) * pitch
        if packing == THREAD:
            for k in range(sizes.groups * len(blocks)):
                group, block = k // len(blocks), k % len(blocks)
                place = group * group_size + blocks[block, 3]
                pack_rows(w, tables.order, blocks[block], sizes, group * outer, 0, outer, run, packed[own + place :])
        known = -1
        for number in range(bounds[thread], bounds[thread + 1]):
            phase, begin, end, group, block = items[number]
            rows, row_count, row_reads, row_taps, columns, column_count, column_reads, column_taps, taps = phases[phase]
            pixels = end - begin
            if known < 0 or items[known, 0] != phase or items[known, 1] != begin:
                # table[t * pixels + m]: the address of what pixel m reads at tap t, and after the taps its own.
                known = number
                image, rest = begin // (row_count * column_count), begin % (row_count * column_count)
                i, j, m = rest // column_count, rest % column_count, 0
                while m < pixels:  # a row, or what is left of it
                    until = m + min(column_count - j, pixels - m)
                    start = address_of(x) + image * in_size * x_pixel
                    for r in range(row_taps):
                        row = axes[row_reads + i * row_taps + r]
                        for s in range(column_taps):
                            target = (r * column_taps + s) * pixels
                            source = column_reads + s * column_count + j
                            fill_addresses(
                                axes[source:], row, start + row * width * x_pixel, x_pixel, nothing,
                                table[target + m : target + until],
                            )  # fmt: skip
                    target = row_taps * column_taps * pixels
                    there = address_of(y) + (image * out_size + axes[rows + i] * out_width) * y_pixel
                    fill_addresses(axes[columns + j :], 0, there, y_pixel, 0, table[target + m : target + until])
                    m, j, i = until, 0, i + 1
                    if i == row_count:
                        image, i = image + 1, 0
            first, vectors, last, place = blocks[block]
            if packing == ITEM:
                pack_rows(w, tables.order, blocks[block], sizes, group * outer, 0, outer, run, packed[own:])
                weights = own
            else:
                weights = own + group * group_size + place
            sum_tiles(
                table, pixels, axes[taps:], row_taps * column_taps, depth, group * depth, packed[weights:], bias,
                group * out_channels + first, limits, vectors, last,
            )  # fmt: skip
