"""The register tiles: sums that stay in registers while a loop runs over what they add up.

Lanes are output channels. A tile reads pixels by their addresses (`indirection`), which may lie anywhere; all other offsets
inside it are constants of the code, which is what lets it run at the speed of the multiply-add units (with row offsets in
registers the outer-product tile ran at 27 % of the peak, with constants at 85 %). A width, the numbers of a block of output
channels, is `vectors` whole vectors, of which the last may be partly empty.
"""

from __future__ import annotations

from typing import Any

from npconv.kernels.vectors import REGISTERS, Code, Int, Mask, Pointer, Registers, emitted, fma

# Pixels in a tile, by its vectors of output channels: as many sums as fit the registers beside the weights.
ROWS = {1: 14, 2: 12, 3: 8, 4: 6} if REGISTERS == 32 else {1: 10, 2: 6, 3: 4}
WIDEST = max(ROWS)

# Input channels in a tile of weight gradients, likewise.
CHANNELS = {1: 8, 2: 8, 3: 8} if REGISTERS == 32 else {1: 8, 2: 6, 3: 4}


@emitted
def sum_tiles(
    code: Code,
    addresses: Pointer,
    pixels: Int,
    places: Pointer,
    taps: Int,
    depth: Int,
    channel: Int,
    w: Pointer,
    bias: Pointer,
    out_channel: Int,
    limits: Pointer,
    vectors: Int,
    lanes: Int,
) -> None:
    """out[m, o] = bias[o] + sum over taps t and c < depth of pixel[t, m][c] * w[places[t], c, o], for m < pixels.

    addresses: (taps + 1, pixels), of x's pixels at each tap, and last of the result's pixels
    places: (taps,), which of w's taps they are
    channel: at which the group begins in x's pixels, in numbers
    w: (w's taps, depth, width) of the block
    bias: of all output channels; out_channel: at which the block begins
    limits: (2,), between which results are cut; NaN cuts nothing
    lanes: of the last vector that are channels
    """
    low, high, mask = limits[0].splat(), limits[1].splat(), code.first_lanes(lanes)

    def tile(rows: int, count: int, first: Int) -> None:
        total, width = Registers(code), count * code.lanes
        masks = [None] * (count - 1) + [mask]
        # The last tile may have fewer pixels: it computes the last one again and again.
        last = pixels - first - 1
        pixel = [addresses + (first + last.at_most(i)) for i in range(rows)]
        for j in range(count):
            start = (bias + out_channel).vector(j * code.lanes, masks[j])
            for i in range(rows):
                total[i, j] = start
        with code.loop(taps) as t:
            x = [code.pointer_at(pixel[i][t * pixels]) + channel for i in range(rows)]
            weights = w + places[t] * depth * width
            with code.loop(depth) as c:
                weight = [(weights + c * width).vector(j * code.lanes) for j in range(count)]
                for i in range(rows):
                    number = x[i][c].splat()
                    for j in range(count):
                        total[i, j] = fma(number, weight[j], total[i, j])

        def store(limited: bool, last: Mask | None) -> None:
            for i in range(rows):
                out = code.pointer_at(pixel[i][taps * pixels]) + out_channel
                for j in range(count):
                    result = total[i, j].limited(low, high) if limited else total[i, j]
                    (out + j * code.lanes).store(result, last if j == count - 1 else None)

        code.either(plain, lambda: store(False, None), lambda: store(True, mask))

    plain = mask.full.both(limits[0].is_nan()).both(limits[1].is_nan())
    for count, rows in ROWS.items():
        with code.when(vectors.equals(count)), code.loop((pixels + (rows - 1)) // rows) as number:
            tile(rows, count, number * rows)


@emitted
def outer_tiles(
    code: Code,
    addresses: Pointer,
    pixels: Int,
    taps: Int,
    depth: Int,
    channel: Int,
    dy: Pointer,
    dw: Pointer,
    pitch: Int,
    vectors: Int,
    lanes: Int,
    fresh: Int,
) -> None:
    """dw[t, c, o] += sum over m < pixels of pixel[t, m][c] * dy[m, o], for all taps t and c < depth; dw was 0 if `fresh`.

    addresses: (taps, pixels), of x's pixels at each tap; channel: at which the group begins in them, in numbers
    dy: (pixels, width) of the block; dw: (taps, depth, pitch), from the block's first channel on
    lanes: of the last vector that dw has
    """
    mask = code.first_lanes(lanes)

    def tile(count: int, t: Int, first: Int, places: list[Any]) -> None:
        total, width = Registers(code), count * code.lanes
        outs = [dw + (t * depth + first + place) * pitch for place in places]
        masks = [None] * (count - 1) + [mask]
        for i in range(len(places)):
            for j in range(count):
                total[i, j] = code.zero
        with code.when(fresh.equals(0)):
            for i in range(len(places)):
                for j in range(count):
                    total[i, j] = outs[i].vector(j * code.lanes, masks[j])
        with code.loop(pixels) as m:
            x = code.pointer_at(addresses[t * pixels + m]) + (channel + first)
            gradient = [(dy + m * width).vector(j * code.lanes) for j in range(count)]
            for i, place in enumerate(places):
                number = x[place].splat()
                for j in range(count):
                    total[i, j] = fma(number, gradient[j], total[i, j])
        for i in range(len(places)):
            for j in range(count - 1):
                (outs[i] + j * code.lanes).store(total[i, j])
        ends = [out + (count - 1) * code.lanes for out in outs]

        def store_last(mask: Mask | None) -> None:
            for i, end in enumerate(ends):
                end.store(total[i, count - 1], mask)

        code.either(mask.full, lambda: store_last(None), lambda: store_last(mask))

    for count, rows in CHANNELS.items():
        with code.when(vectors.equals(count)), code.loop(taps) as t:
            whole = depth // rows
            with code.loop(whole) as number:
                tile(count, t, number * rows, list(range(rows)))
            rest = depth - whole * rows
            with code.when(rest.equals(1)):
                tile(count, t, whole * rows, [0])
            with code.when(rest >= 2):  # it sums the last channel again and again, and writes the same each time
                tile(count, t, whole * rows, [(rest - 1).at_most(i) for i in range(rows)])


@emitted
def transpose_runs(
    code: Code, source: Pointer, pitch: Int, runs: Int, columns: Int, target: Pointer, places: Pointer, step: Int
) -> None:
    """target[places[j] * step + i] = source[i * pitch + j] for i < runs and j < columns, both at most code.lanes.

    The lanes from `runs` on become 0.
    """

    def whole() -> None:
        block = [(source + pitch * i).vector() for i in range(code.lanes)]
        for j, column in enumerate(code.transposed(block)):
            (target + places[j] * step).store(column)

    def some() -> None:
        # A run that is not there has no lanes, and an address that is not read.
        masks = [code.first_lanes((runs - i >= 1).choose(columns, 0)) for i in range(code.lanes)]
        block = [(source + pitch * i).vector(0, mask) for i, mask in enumerate(masks)]
        for j, column in enumerate(code.transposed(block)):
            with code.when(columns - j >= 1):
                (target + places[j] * step).store(column)

    code.either(runs.at_most(columns) >= code.lanes, whole, some)


@emitted
def copy_rows(code: Code, source: Pointer, rows: Int, pitch: Int, count: Int, target: Pointer, width: Int) -> None:
    """target[i * width + j] = source[i * pitch + j] for i < rows and j < count; 0 from there to `width`, which is whole vectors."""
    full = count // code.lanes
    mask = code.first_lanes(count - full * code.lanes)
    with code.loop(rows) as i:
        row, copy = source + i * pitch, target + i * width
        with code.loop(full) as j:
            (copy + j * code.lanes).store((row + j * code.lanes).vector())
        with code.when(full * code.lanes < width):
            (copy + full * code.lanes).store((row + full * code.lanes).vector(0, mask))


@emitted
def transpose_sums(
    code: Code,
    source: Pointer,
    parts: Int,
    part: Int,
    places: Pointer,
    step: Int,
    target: Pointer,
    pitch: Int,
    runs: Int,
    columns: Int,
) -> None:
    """target[i * pitch + j] = sum over k < parts of source[k * part + places[j] * step + i], for i < runs and j < columns.

    Both counts are at most code.lanes; the parts are added in their order.
    """
    total = Registers(code)
    starts = [source + places[(columns - 1).at_most(j)] * step for j in range(code.lanes)]
    for j, start in enumerate(starts):
        total[j] = start.vector()
    with code.loop(parts - 1) as k:
        for j, start in enumerate(starts):
            total[j] = total[j] + (start + (k + 1) * part).vector()
    mask = code.first_lanes(columns)
    for i, run in enumerate(code.transposed([total[j] for j in range(code.lanes)])):
        with code.when(runs - i >= 1):
            (target + pitch * i).store(run, mask)


@emitted
def pack_pixels(
    code: Code, addresses: Pointer, pixels: Int, channel: Int, target: Pointer, vectors: Int, lanes: Int
) -> None:
    """target[m, o] = the number o of pixel m, from `channel` on: `vectors` whole vectors, `lanes` of the last, then 0."""
    mask, last = code.first_lanes(lanes), (vectors - 1) * code.lanes
    with code.loop(pixels) as m:
        pixel, row = code.pointer_at(addresses[m]) + channel, target + m * (last + code.lanes)
        with code.loop(vectors - 1) as j:
            (row + j * code.lanes).store(pixel.vector(j * code.lanes))
        (row + last).store(pixel.vector(last, mask))
