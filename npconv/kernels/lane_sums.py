"""Convolutions with few channels per group, depthwise ones above all: forward, input gradient, weight gradient.

A block is as many groups as fit the lanes of a vector. A thread takes a band of rows of one image and a block, and copies the
rows that the band reads to scratch, one after the other and each just before it is needed (`lane_tiles`): there strides and
padding are gone. Blocks of one band follow each other, so that the cache lines that they share are read from memory once.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba import prange

from npconv.geometry import Array, Conv2dGeometry
from npconv.kernels.indirection import Class, forward_axes, input_grad_axes, shares
from npconv.kernels.jit import MANY, compiled, contiguous, scratch, thread_count
from npconv.kernels.lane_tiles import REST, WIDE, fill_rows, lane_outer_tiles, lane_tiles
from npconv.kernels.orders import pitch_of, pixels_from
from npconv.kernels.sums import limits_of, zeros_of
from npconv.kernels.vectors import LANES
from npconv.memory import empty

# Bytes of the map that a band reads, and of scratch that it fills, so that both stay in the second
# cache.
BAND = 1 << 17
FEW = 8  # channels per group that are read, at most
ROWS_TOGETHER = 4  # of a result, whose reads are filled at a time
SIDE = 4  # blocks that go through these rows one after the other: the cache lines of four are read from memory together
ITEMS = 16  # parts times blocks of a weight gradient, where there are rows enough: eight threads have two each


class Sizes(NamedTuple):
    """What the loops know of the maps and the groups."""

    in_height: int
    in_width: int
    out_height: int
    out_width: int
    depth: int  # channels per group that are read
    width: int  # and made
    taps: int
    groups: int
    in_block: int  # groups in a block
    blocks: int
    lanes: int
    row: int  # vectors of a row in scratch
    plane: int  # and of all rows of a band


class Plan(NamedTuple):
    """All that is known before there are arrays; the tables are int64."""

    sizes: Sizes
    bands: Array  # (bands, 4): first and last row of the result, where its list of read rows begins, its length
    reads: Array  # the rows that bands read, or -1 for padding
    spans: Array  # (spans, 3): the columns of a row in scratch, evenly spaced: first, or -1 for padding, step, how many
    rows: Array  # (height, 3): of each row of the result: read rows that it needs, where its pairs begin, how many
    pairs: Array  # (-1, 2): place in w, place in scratch
    classes: Array  # (classes, 5): first column of the result, step, count, where its pairs begin, how many
    bounds: Array  # (threads + 1,): which items are whose


def pays(geometry: Conv2dGeometry, forward: bool, lanes: int) -> bool:
    """Whether groups are small enough that several in a vector beat one vector for each."""
    depth, width = geometry.in_channels_per_group, geometry.out_channels_per_group
    if not forward:
        depth, width = width, depth
    return geometry.groups > 1 and depth <= FEW and 2 * width <= lanes


def convolve_lanes(
    x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, activation: str | None, y: Array
) -> None:
    """y = the activation of the convolution. Maps are channels-last, or slices of channels of such maps."""
    _run(x, w, b, geometry, activation, y, True, True)


def convolve_lanes_back(dy: Array, w: Array, geometry: Conv2dGeometry, dx: Array) -> None:
    """dx = the input gradient of the convolution."""
    # Padding is multiplied, unless a weight is infinite or NaN: 0 times that is in no sum of the gradient.
    _run(dy, w, None, geometry, None, dx, False, bool(np.isfinite(w).all()))


def _run(
    x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, activation: str | None, y: Array, forward: bool,
    padded: bool,
) -> None:  # fmt: skip
    if y.size == 0:
        return
    dtype = x.dtype
    plan = _plan(geometry, forward, padded, LANES[dtype.itemsize * 8], thread_count())
    sizes = plan.sizes
    packed = empty((sizes.blocks, sizes.depth * sizes.taps, sizes.lanes), dtype)
    _pack(contiguous(w).reshape(-1), sizes, forward, packed)
    bias = zeros_of(y.shape[1], dtype) if b is None else contiguous(b)
    spare = WIDE + REST  # vectors that the last tile of a row may read beyond it
    _lane_sums(
        pixels_from(x), packed, bias, limits_of(activation, dtype), pixels_from(y),
        (pitch_of(x), pitch_of(y)), sizes, plan.bands, plan.reads, plan.spans.reshape(-1),
        (plan.rows, plan.pairs), plan.classes, plan.bounds,
        scratch(dtype, SIDE * (sizes.depth * sizes.plane + spare) * sizes.lanes),
    )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _plan(geometry: Conv2dGeometry, forward: bool, padded: bool, lanes: int, threads: int) -> Plan:
    depth, width = geometry.in_channels_per_group, geometry.out_channels_per_group
    read = geometry.in_height, geometry.in_width
    made = geometry.out_height, geometry.out_width
    if not forward:
        depth, width, read, made = width, depth, made, read
    row_classes, column_classes = forward_axes(geometry) if forward else input_grad_axes(geometry, padded)
    taps = geometry.kernel_height * geometry.kernel_width
    in_block = lanes // width
    blocks = -(-geometry.groups // in_block)
    column_classes = [part for found in column_classes for part in _evenly_spaced(found)]
    columns, places = _line(column_classes, read[1])
    pairs: list[tuple[int, int]] = []
    classes = []
    for found, starts in zip(column_classes, places, strict=True):
        step = int(found.places[1] - found.places[0]) if len(found.places) > 1 else 1
        classes.append((int(found.places[0]), step, len(found.places), len(pairs), len(found.taps)))
        pairs += zip(found.taps.tolist(), starts, strict=True)
    row = len(columns)
    step = _band_rows(read[1] * geometry.groups * depth, row * lanes * depth, lanes)
    wanted = -(-4 * threads // (geometry.batch * -(-blocks // SIDE)))  # bands, so that all threads have work
    bands, reads, slots = _bands(row_classes, read[0], made[0], max(1, min(step, -(-made[0] // wanted))))
    plane = row * max(count for _, _, _, count in bands)
    rows = []
    for own_slots in slots:
        needed = 1 + max((slot for _, slot in own_slots), default=-1)
        rows.append((needed, len(pairs), depth * len(own_slots)))
        pairs += [
            (c * taps + r * geometry.kernel_width, c * plane + slot * row)
            for c in range(depth)
            for r, slot in own_slots
        ]
    sizes = Sizes(*read, *made, depth, width, taps, geometry.groups, in_block, blocks, lanes, row, plane)
    work = np.repeat([last - first for first, last, _, _ in bands], -(-blocks // SIDE))
    return Plan(
        sizes,
        np.array(bands, np.int64).reshape(-1, 4),
        np.array(reads, np.int64),
        _spans(columns),
        np.array(rows, np.int64).reshape(-1, 3),
        np.array(pairs, np.int64).reshape(-1, 2),
        np.array(classes, np.int64).reshape(-1, 5),
        shares(np.tile(work, geometry.batch), threads),
    )


def _band_rows(read: int, filled: int, lanes: int) -> int:
    """How many rows a band should have, of which each reads so many numbers of the map, and fills so many of scratch."""
    return max(4, min(BAND // max(filled * 64 // lanes, 1), BAND // (read * 4 + 1)))


def _bands(
    row_classes: list[Class], height: int, out_height: int, step: int
) -> tuple[list[tuple[int, int, int, int]], list[int], list[list[tuple[int, int]]]]:
    """The plan's bands of `step` rows, and their reads in the order in which rows of the result need them first.

    And for each row of the result, (kernel row, which of its band's reads), as often as it has taps.
    """
    by_row = {int(place): (found, i) for found in row_classes for i, place in enumerate(found.places)}
    bands: list[tuple[int, int, int, int]] = []
    reads: list[int] = []
    slots: list[list[tuple[int, int]]] = []
    for first in range(0, out_height, step):
        last, start = min(out_height, first + step), len(reads)
        known: dict[int, int] = {}
        for place in range(first, last):
            found, i = by_row[place]
            own = [int(h) if 0 <= h < height else -1 for h in found.reads[i]]
            for h in own:
                known.setdefault(h, len(known))
            slots.append([(int(r), known[h]) for r, h in zip(found.taps, own, strict=True)])
        reads += known
        bands.append((first, last, start, len(known)))
    return bands, reads, slots


def _evenly_spaced(found: Class) -> list[Class]:
    """The class cut where the step from one of its places to the next changes: columns that read nothing need not be even.

    >>> [part.places.tolist() for part in _evenly_spaced(Class(np.array([1, 2, 4, 5]), np.arange(0), np.zeros((4, 0))))]
    [[1, 2], [4, 5]]
    """
    parts, first = [], 0
    steps = np.diff(found.places).tolist()
    for end in range(1, len(found.places) + 1):
        if end == len(found.places) or (end - first > 1 and steps[end - 1] != steps[first]):
            parts.append(Class(found.places[first:end], found.taps, found.reads[first:end]))
            first = end
    return parts


def _line(classes: list[Class], size: int) -> tuple[Array, list[list[int]]]:
    """Which columns a row in scratch holds, -1 for padding; and for each class, where the columns of each of its taps begin.

    What a class reads at one tap are neighbours there. Taps share a stretch where the same columns follow each other.

    >>> _line([Class(np.arange(3), np.arange(3), np.array([[-1, 0, 1], [1, 2, 3], [3, 4, 5]]))], size=5)
    (array([-1,  1,  3, -1,  0,  2,  4]), [[0, 4, 1]])
    """
    stretches: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (step, phase): (first, count) in steps
    wanted = []
    for number, found in enumerate(classes):
        count = len(found.places)
        step = int(found.reads[1, 0] - found.reads[0, 0]) if count > 1 and len(found.taps) else 1
        for tap in range(len(found.taps)):
            first = int(found.reads[0, tap])
            wanted.append((step, first % step, first // step, count, number))
            stretches.setdefault((step, first % step), []).append((first // step, count))
    columns: list[int] = []
    begins: dict[tuple[int, int, int], int] = {}
    for (step, phase), parts in stretches.items():
        end = None
        for first, count in sorted(set(parts)):
            if end is None or first > end:  # a new stretch: nothing in between is read
                begins[step, phase, first] = len(columns)
                end = first
            else:
                begins[step, phase, first] = len(columns) - (end - first)
            columns += [c * step + phase for c in range(max(end, first), first + count)]
            end = max(end, first + count)
    places: list[list[int]] = [[] for _ in classes]
    for step, phase, first, _, number in wanted:
        places[number].append(begins[step, phase, first])
    return np.array([c if 0 <= c < size else -1 for c in columns], np.int64), places


def _spans(columns: Array) -> Array:
    """(first, step, count) of the spans of equal steps that columns are; padding, -1, is one of step 0.

    >>> _spans(np.array([-1, 0, 1, 2, -1, -1, 4])).tolist()
    [[-1, 0, 1], [0, 1, 3], [-1, 0, 2], [4, 1, 1]]
    """
    spans: list[list[int]] = []
    for column in columns.tolist():
        if spans:
            first, step, count = spans[-1]
            last = first + (count - 1) * step
            if (first < 0) == (column < 0) and (count == 1 or column - last == step) and column >= last:
                spans[-1] = [first, column - last, count + 1]
                continue
        spans.append([column, 0 if column < 0 else 1, 1])
    return np.array(spans, np.int64).reshape(-1, 3)


@compiled(terms=1)
def _pack(w, sizes, forward, packed):
    """packed[block, c * taps + t, lane] = the weight of tap t from channel c of a group to the lane's channel of that group."""
    depth, width, taps, in_block = sizes.depth, sizes.width, sizes.taps, sizes.in_block
    for block in prange(sizes.blocks):
        first = np.int64(block) * in_block
        groups = min(in_block, sizes.groups - first)
        packed[block] = 0
        for c in range(depth):
            for t in range(taps):
                for lane in range(groups * width):
                    group, o = first + lane // width, lane % width
                    place = (group * width + o) * depth + c if forward else (group * depth + c) * width + o
                    packed[block, c * taps + t, lane] = w[place * taps + t]


@compiled(terms=MANY)
def _lane_sums(x, w, bias, limits, y, pitches, sizes, bands, reads, spans, tables, classes, bounds, spaces):
    """y[n, p, q, (g, o)] = bias[g, o] + sum over c and taps t of x[n, pixel(p, q, t), (g, c)] * w[block, (c, t), lane], limited.

    x, y: maps from their first number on; pitches: the distances of their pixels, in numbers
    tables: the plan's rows and pairs; spaces: of each thread, room for the rows that a band reads, channel by channel of a group
    """
    rows, pairs = tables
    depth, width, in_block, lanes = sizes.depth, sizes.width, sizes.in_block, sizes.lanes
    in_size, out_size = sizes.in_height * sizes.in_width, sizes.out_height * sizes.out_width
    in_width, out_width, blocks, groups = sizes.in_width, sizes.out_width, sizes.blocks, sizes.groups
    row_size, plane = sizes.row * lanes, sizes.plane * lanes
    x_pitch, y_pitch, flat_w, flat_pairs = pitches[0], pitches[1], w.reshape(w.size), pairs.reshape(pairs.size)
    flat_rows, flat_classes, block_size = rows.reshape(rows.size), classes.reshape(classes.size), w.shape[1] * lanes
    sides, size = -(-blocks // SIDE), spaces.shape[1] // SIDE
    for thread in prange(len(bounds) - 1):
        space = spaces[thread]
        for item in range(bounds[thread], bounds[thread + 1]):
            image, band, side = item // (len(bands) * sides), item // sides % len(bands), item % sides
            first, last, list_start, _ = bands[band]
            filled = np.int64(0)
            for p in range(first, last, ROWS_TOGETHER):
                # A few rows at a time, so that what they read is in the first cache still.
                end = min(last, p + ROWS_TOGETHER)
                needed = max(filled, rows[p:end, 0].max())
                for block in range(side * SIDE, min(blocks, (side + 1) * SIDE)):
                    some, own = min(in_block, groups - block * in_block), space[block % SIDE * size :]
                    c, o = block * in_block * depth, block * in_block * width
                    fill_rows(
                        x[image * in_size * x_pitch + c :], in_width * x_pitch, x_pitch, some * depth,
                        reads[list_start + filled :], needed - filled, spans, len(spans) // 3, depth, width,
                        own[filled * row_size :], row_size, plane,
                    )  # fmt: skip
                    lane_tiles(
                        own, flat_w[block * block_size :], flat_rows[3 * p :], end - p, flat_pairs, flat_classes,
                        len(classes), bias[o:], limits, y[(image * out_size + p * out_width) * y_pitch + o :],
                        out_width * y_pitch, y_pitch, some * width,
                    )  # fmt: skip
                filled = needed


def weight_grad_lanes(dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
    """dw in C order, (O, C/groups, R, S). Maps are channels-last, or slices of channels of such maps."""
    dtype = x.dtype
    dw = empty(geometry.w_shape, dtype)
    if dy.size == 0:
        dw[...] = 0
        return dw
    # The parts, whose sums are added in their order, must not depend on the number of threads.
    plan = _plan(geometry, True, True, LANES[dtype.itemsize * 8], 1)
    sizes = plan.sizes
    units = geometry.batch * len(plan.bands)
    parts = min(units, -(-ITEMS // sizes.blocks))
    sums = empty((parts, sizes.blocks, sizes.depth * sizes.taps, sizes.lanes), dtype)
    slots, taps = _slots(plan)
    _weight_grad(
        pixels_from(x), pixels_from(dy), (pitch_of(x), pitch_of(dy)), sizes, plan.bands, plan.reads,
        plan.spans.reshape(-1), slots, taps, units, sums, scratch(dtype, (sizes.depth * sizes.plane + WIDE) * sizes.lanes),
    )  # fmt: skip
    _collect(sums, sizes, dw.reshape(-1))
    return dw


def _slots(plan: Plan) -> tuple[Array, Array]:
    """Where in scratch a row of the result reads at each row of the kernel; and for each channel and tap (row, place)."""
    sizes = plan.sizes
    _, _, _, start, kernel_width = plan.classes[0]
    kernel_height = sizes.taps // kernel_width
    places = plan.pairs[start : start + kernel_width, 1]
    slots = np.stack([plan.pairs[first : first + kernel_height, 1] for _, first, _ in plan.rows])
    taps = [
        (r, c * sizes.plane + int(place)) for c in range(sizes.depth) for r in range(kernel_height) for place in places
    ]
    return np.ascontiguousarray(slots), np.array(taps, np.int64)


@compiled(terms=MANY)
def _weight_grad(x, dy, pitches, sizes, bands, reads, spans, slots, taps, units, sums, spaces):
    """sums[part, block, (c, t), lane] = sum over the part's pixels of x[pixel(p, q, t), (g, c)] * dy[p, q, (g, o)].

    units: the bands of all images, of which a part has some; slots, taps: those of `_slots`; the rest as for `_lane_sums`
    """
    depth, width, in_block, lanes = sizes.depth, sizes.width, sizes.in_block, sizes.lanes
    in_size, out_size = sizes.in_height * sizes.in_width, sizes.out_height * sizes.out_width
    in_width, out_width, blocks, groups = sizes.in_width, sizes.out_width, sizes.blocks, sizes.groups
    row_size, plane, row_taps = sizes.row * lanes, sizes.plane * lanes, slots.shape[1]
    x_pitch, dy_pitch, parts = pitches[0], pitches[1], len(sums)
    flat_slots, flat_taps, flat_sums = slots.reshape(slots.size), taps.reshape(taps.size), sums.reshape(sums.size)
    threads = len(spaces)
    items, size = parts * blocks, sums.shape[2] * lanes
    for thread in prange(threads):
        space = spaces[thread]
        for item in range(items * thread // threads, items * (thread + 1) // threads):
            part, block = item // blocks, item % blocks
            some = min(in_block, groups - block * in_block)
            c, o = block * in_block * depth, block * in_block * width
            own = flat_sums[item * size : (item + 1) * size]
            own[:] = 0
            for unit in range(units * part // parts, units * (part + 1) // parts):
                image, band = unit // len(bands), unit % len(bands)
                first, last, list_start, list_count = bands[band]
                fill_rows(
                    x[image * in_size * x_pitch + c :], in_width * x_pitch, x_pitch, some * depth, reads[list_start:],
                    list_count, spans, len(spans) // 3, depth, width, space, row_size, plane,
                )  # fmt: skip
                lane_outer_tiles(
                    space, flat_slots[first * row_taps :], last - first, row_taps, flat_taps, len(taps),
                    dy[(image * out_size + first * out_width) * dy_pitch + o :], out_width * dy_pitch, dy_pitch,
                    out_width, some * width, own,
                )  # fmt: skip


@compiled(terms=1)
def _collect(sums, sizes, dw):
    """dw[g, o, c, t] = the sum over parts of sums[part, block, (c, t), lane], in the order of the parts."""
    parts, blocks, run, _ = sums.shape
    width, in_block = sizes.width, sizes.in_block
    for block in prange(blocks):
        first = np.int64(block) * in_block
        for lane in range(min(in_block, sizes.groups - first) * width):
            o = first * width + lane
            for j in range(run):
                total = sums[0, block, j, lane]
                for part in range(1, parts):
                    total += sums[part, block, j, lane]
                dw[o * run + j] = total
