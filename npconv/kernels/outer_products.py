"""Weight gradients: dw[o, c, t] = sum over pixels m of x[pixel(m, t), c] * dy[m, o], for any geometry.

The pixels are cut into parts at places that depend on sizes alone; a thread adds up a part of them for one group and one block
of output channels, and the parts are added in their order: so the bits are the same for any number of threads. Inside a part
pixels come in chunks that stay in the first cache: the rows of dy are packed beside each other (rows that are far apart ran
at a quarter of the speed), x is read where it stands.

The lanes are output channels, and the sums are transposed at the end, for dw has its taps innermost. A kernel of 1x1 has none:
with x and dy in each other's places the lanes are input channels, and the sums are dw as it lies.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np
from numba import prange

from npconv.geometry import Array, Conv2dGeometry, check_fits
from npconv.kernels.indirection import blocks_of, forward_axes, shares
from npconv.kernels.jit import MANY, compiled, scratch, thread_count
from npconv.kernels.orders import pitch_of, pixels_from
from npconv.kernels.sums import Sizes, fill_addresses, inside, zeros_of
from npconv.kernels.tiles import CHANNELS, outer_tiles, pack_pixels, transpose_sums
from npconv.kernels.vectors import LANES, address_of
from npconv.memory import empty

CHUNK = 144  # pixels, at most
ITEMS = 16  # parts times groups times blocks, where there are pixels enough: eight threads have two each
RUN = 1 << 12  # numbers that a thread adds at a time
TOGETHER = 1 << 10  # channels times taps of dw's rows that a thread writes at a time
PARTS = 1 << 20  # numbers that the partial sums may have together


class Plan(NamedTuple):
    """All that is known of a weight gradient before there are arrays; the tables are int64."""

    sizes: Sizes  # of x, read, and of dy; depth and out_channels are those of rows and lanes
    rows: Array  # (P, R): which row of x
    columns: Array  # (S, Q)
    blocks: Array  # (blocks, 4): first channel, vectors, lanes of the last, where its sums begin
    items: Array  # (items, 4): first and last pixel, group, block; part after part
    bounds: Array  # (threads + 1,): whose items are whose
    parts: int
    swapped: bool  # whether x and dy have changed places, and the lanes are input channels
    order: Array  # (C/groups * taps,): where the sum for a channel and a tap stands
    size: int  # numbers of a group's sums
    widest: int  # lanes of a block, at most


def weight_grad(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw in C order, (O, C/groups, R, S). Maps are channels-last, or slices of channels of such maps."""
    threads = thread_count()
    taps = geometry.kernel_height * geometry.kernel_width
    check_fits("the addresses of a weight gradient's taps", threads * CHUNK * (taps + 1), 8)
    dw = empty(geometry.w_shape, x.dtype)
    if dy.size == 0:
        dw[...] = 0
        return dw
    plan = _plan(geometry, LANES[x.dtype.itemsize * 8], threads)
    sizes = plan.sizes
    in_place = plan.swapped and plan.parts == 1
    sums = dw.reshape(sizes.groups, -1) if in_place else empty((plan.parts * sizes.groups, plan.size), x.dtype)
    pitches = (pitch_of(x), pitch_of(dy))
    _weight_grad(
        pixels_from(x), zeros_of(x.shape[1], x.dtype), pixels_from(dy), pitches, sizes, plan.rows, plan.columns,
        plan.blocks, plan.items, plan.bounds, plan.swapped, sums, scratch(np.int64, CHUNK * (sizes.taps + 1)),
        scratch(x.dtype, CHUNK * plan.widest),
    )  # fmt: skip
    if not plan.swapped:
        collect(sums, plan.parts, sizes, plan.blocks, plan.order, dw.reshape(-1))
    elif not in_place:
        _add_parts(sums.reshape(plan.parts, -1), dw.reshape(-1))
    return dw


@functools.lru_cache(maxsize=1024)
def _plan(geometry: Conv2dGeometry, lanes: int, threads: int) -> Plan:
    rows, columns = forward_axes(geometry)
    taps = geometry.kernel_height * geometry.kernel_width
    depth, out_channels = geometry.in_channels_per_group, geometry.out_channels_per_group
    # Lanes that are no channels are worse than a transposition.
    swapped = taps == 1 and -(-depth // lanes) * out_channels <= -(-out_channels // lanes) * depth
    if swapped:
        depth, out_channels = out_channels, depth
    sizes = Sizes(
        geometry.in_height, geometry.in_width, geometry.out_height, geometry.out_width, depth, out_channels, taps,
        geometry.groups, lanes,
    )  # fmt: skip
    blocks, place = [], 0
    for first, vectors, last in blocks_of(out_channels, lanes, max(CHANNELS)):
        blocks.append((first, vectors, last, place))
        place += taps * depth * vectors * lanes
    if swapped:  # rows of dw
        blocks, place = [(first, vectors, last, first) for first, vectors, last, _ in blocks], depth * out_channels
    pixels = geometry.batch * geometry.out_height * geometry.out_width
    wanted = -(-ITEMS // (geometry.groups * len(blocks)))
    parts = max(1, min(wanted, pixels // CHUNK, PARTS // (geometry.groups * place)))
    cuts = [pixels * part // parts for part in range(parts + 1)]
    items = [
        (begin, end, group, block)
        for begin, end in itertools.pairwise(cuts)
        for group in range(geometry.groups)
        for block in range(len(blocks))
    ]
    channel, tap = np.divmod(np.arange(depth * taps), taps)
    return Plan(
        sizes,
        inside(rows[0].reads, geometry.in_height),
        np.ascontiguousarray(inside(columns[0].reads, geometry.in_width).T),
        np.array(blocks, np.int64),
        np.array(items, np.int64),
        shares(np.array([(end - begin) * blocks[block][1] for begin, end, _, block in items]), threads),
        parts,
        swapped,
        tap * depth + channel,
        place,
        max(vectors for _, vectors, _, _ in blocks) * lanes,
    )


@compiled(terms=MANY)
def _weight_grad(x, zeros, dy, pitches, sizes, rows, columns, blocks, items, bounds, swapped, sums, addresses, panels):
    """sums[part, g][block, t, c, o] = sum over the part's pixels m of x[pixel(m, t), c] * dy[m, o]; a thread does its items.

    x, dy: maps from their first number on, pitches: the distances of their pixels, in numbers; zeros: a pixel of them, for padding
    swapped: lanes are channels c, and sums[part, g][o, c] are rows of dw
    addresses: of each thread, room for those of a chunk's pixels, (taps + 1, CHUNK); panels: for the lanes' numbers, (CHUNK, width)
    """
    depth, taps, groups = sizes.depth, sizes.taps, sizes.groups
    height, width, out_width, out_channels = sizes.in_height, sizes.in_width, sizes.out_width, sizes.out_channels
    out_size, row_taps, column_taps = sizes.out_height * out_width, rows.shape[1], columns.shape[0]
    x_pixel, dy_pixel, nothing = pitches[0] * x.itemsize, pitches[1] * x.itemsize, address_of(zeros)
    per_part = groups * len(blocks)
    for thread in prange(len(bounds) - 1):
        table, panel = addresses[thread], panels[thread]
        # All blocks of a part go through its chunks together, so that a chunk's addresses are made once.
        number = bounds[thread]
        while number < bounds[thread + 1]:
            until = min(bounds[thread + 1], (number // per_part + 1) * per_part)
            part, begin, end = number // per_part, items[number, 0], items[number, 1]
            chunks = -(-(end - begin) // CHUNK)
            step = -(-(end - begin) // chunks)  # equal ones: a small rest would read and write all sums as well
            for first in range(begin, end, step):
                pixels = min(step, end - first)
                image, rest = first // out_size, first % out_size
                i, j, m = rest // out_width, rest % out_width, 0
                while m < pixels:  # a row, or what is left of it
                    end_of_row = m + min(out_width - j, pixels - m)
                    start = address_of(x) + image * height * width * x_pixel
                    for r in range(row_taps):
                        row = rows[i, r]
                        for s in range(column_taps):
                            target = (r * column_taps + s) * pixels
                            fill_addresses(
                                columns[s, j:], row, start + row * width * x_pixel, x_pixel, nothing,
                                table[target + m : target + end_of_row],
                            )  # fmt: skip
                    m, j, i = end_of_row, 0, i + 1
                    if i * out_width == out_size:
                        image, i = image + 1, 0
                for m in range(pixels):
                    table[taps * pixels + m] = address_of(dy) + (first + m) * dy_pixel
                rows_from, lanes_from = table, table[taps * pixels :]
                if swapped:
                    rows_from, lanes_from = lanes_from, rows_from
                for item in range(number, until):
                    group, block = items[item, 2], items[item, 3]
                    o, vectors, last, place = blocks[block]
                    pack_pixels(lanes_from, pixels, group * out_channels + o, panel, vectors, last)
                    outer_tiles(
                        rows_from, pixels, taps, depth, group * depth, panel, sums[part * groups + group, place:],
                        out_channels if swapped else vectors * sizes.lanes, vectors, last if swapped else sizes.lanes,
                        first == begin,
                    )  # fmt: skip
            number = until


@compiled(terms=1)
def _add_parts(sums, dw):
    """dw = the sum of the parts, in their order."""
    steps = -(-len(dw) // RUN)
    for item in prange(steps):
        first, last = np.int64(item) * RUN, min(len(dw), (np.int64(item) + 1) * RUN)
        dw[first:last] = sums[0, first:last]
        for part in range(1, len(sums)):
            dw[first:last] += sums[part, first:last]


@compiled(terms=1)
def collect(sums, parts, sizes, blocks, order, dw):
    """dw[g, o, c, t] = the sum over parts of sums[part, g][block, order[c, t], o], in the order of the parts."""
    lanes, groups, out_channels, run = sizes.lanes, sizes.groups, sizes.out_channels, len(order)
    steps, count = -(-run // TOGETHER), len(blocks)
    for item in prange(groups * count * steps):
        rest, begin = np.int64(item) // steps, np.int64(item) % steps * TOGETHER
        group, block = rest // count, rest % count
        first, vectors, last, place = blocks[block]
        # The rows of dw of one vector are written from end to end: pieces of all rows took three times as long.
        for vector in range(vectors):
            o = group * out_channels + first + vector * lanes
            for j in range(begin, min(begin + TOGETHER, np.int64(run)), lanes):
                transpose_sums(
                    sums[group, place + vector * lanes :], parts, groups * sums.shape[1], order[j:], vectors * lanes,
                    dw[o * run + j :], run, last if vector == vectors - 1 else lanes, min(lanes, run - j),
                )  # fmt: skip
