"""The tiles of convolutions with few channels per group: the lanes of a vector hold the channels of several groups.

They read a band of the map from scratch memory, where every pixel that is read is a whole vector, padding is zeros, and what
neighbouring outputs read at one tap are neighbours, whatever stride and dilation are. So a tap is one place in scratch, and
all other offsets are constants of the code. Filling a row of it costs one load and one store for a pixel, which a 3x3 kernel
reads nine times.
"""

from __future__ import annotations

from collections.abc import Callable

from npconv.kernels.vectors import Bit, Code, Counter, Int, Mask, Pointer, Registers, emitted, fma

WIDE, REST = 8, 4  # outputs of a row in a tile, and in those of what is left
NEIGHBOURS = 3  # columns of a kernel whose tiles are unrolled
TAPS = 9  # of a tile of weight gradients
SQUARE = 2, 4, 8  # channels per group, as many in as out, that are spread over the lanes by one instruction


@emitted
def fill_rows(
    code: Code,
    x: Pointer,
    row_pitch: Int,
    pitch: Int,
    channels: Int,
    reads: Pointer,
    rows: Int,
    spans: Pointer,
    span_count: Int,
    depth: Int,
    width: Int,
    space: Pointer,
    row_size: Int,
    plane: Int,
) -> None:
    """space[i, h, j, l] = x[reads[h], column(j), l // width * depth + i] for i < depth, h < rows, the vectors j of a row, the lanes l.

    x: the first pixel of an image, at the block's first channel; `channels` of a pixel may be read
    reads: (rows,), -1 for a row of padding, which is 0
    spans: (first column, or -1 for padding, step, how many) for each span of columns
    depth, width: channels per group, read and made
    space: rows are `row_size` numbers apart, and the planes of each i `plane`
    """
    mask = code.first_lanes(channels)

    def each(fill: Callable[[Pointer, Pointer], None]) -> None:
        with code.loop(rows) as h:
            row, place = reads[h], Counter(code)
            with code.loop(span_count) as span:
                column, step, vectors = (spans[span * 3 + part] for part in range(3))
                first = x + (row * row_pitch + column * pitch)
                target = space + (h * row_size + place.get() * code.lanes)
                place.set(place.get() + vectors)

                def pixels() -> None:
                    with code.loop(vectors) as j:
                        pixel = first + j * (step * pitch)
                        (pixel + row_pitch).prefetch()  # of the row that will be read next
                        fill(pixel, target + j * code.lanes)

                def padding() -> None:
                    with code.loop(vectors) as j, code.loop(depth) as i:
                        (target + (i * plane + j * code.lanes)).store(code.zero)

                code.either((column >= 0).both(row >= 0), pixels, padding)

    def one(pixel: Pointer, target: Pointer) -> None:
        target.store(pixel.vector(0, mask))

    def square(size: int) -> Callable[[Pointer, Pointer], None]:
        def fill(pixel: Pointer, target: Pointer) -> None:
            vector = pixel.vector(0, mask)
            for i in range(size):
                lanes = [lane // size * size + i for lane in range(code.lanes)]
                (target + plane * i).store(vector.lanes_of(vector, lanes))

        return fill

    def any_size(pixel: Pointer, target: Pointer) -> None:
        with code.loop(channels // depth) as group, code.loop(depth) as i:
            number = pixel[group * depth + i]
            with code.loop(width) as o:
                (target + (i * plane + group * width + o)).put(number)

    sizes = [size for size in SQUARE if size <= code.lanes]
    known: list[tuple[Bit, Callable[[Pointer, Pointer], None]]] = [(depth.equals(1).both(width.equals(1)), one)]
    known += [(depth.equals(size).both(width.equals(size)), square(size)) for size in sizes]
    code.first_of(known, lambda: each(any_size), lambda fill: each(fill))


@emitted
def lane_tiles(
    code: Code,
    space: Pointer,
    w: Pointer,
    rows: Pointer,
    row_count: Int,
    pairs: Pointer,
    classes: Pointer,
    class_count: Int,
    bias: Pointer,
    limits: Pointer,
    y: Pointer,
    row_pitch: Int,
    pitch: Int,
    lanes: Int,
) -> None:
    """y[p, q, l] = bias[l] + the sum over kernel rows r and columns s that p and q have of w[r + s, l] * space[r(p) + s(q) + j, l].

    pairs: (place in w, place in space), in vectors
    rows: for each of `row_count` rows p: a number of no use here, where its pairs begin, how many there are
    classes: of columns: the first q, the step to the next, how many, where their pairs begin, how many there are
    j: which column of its class q is
    limits: (2,), between which results are cut; NaN cuts nothing
    y: the first row, at the block's first channel, rows `row_pitch` and pixels `pitch` apart; lanes: that are channels
    """
    mask = code.first_lanes(lanes)
    plain = mask.full.both(limits[0].is_nan()).both(limits[1].is_nan())
    low, high, start = limits[0].splat(), limits[1].splat(), bias.vector(0, mask)

    def outputs(
        row: Pointer, row_taps: Int, columns: Pointer, column_taps: Int, out: Pointer, step: Int, count: Int
    ) -> None:
        """The `count` outputs of one row and one class of columns, `step` apart."""

        def tile(size: int, taps: int | None, first: Int, here: Int | None) -> None:
            """`size` neighbouring outputs from `first` on, of which `here` are there."""
            total = Registers(code)
            for i in range(size):
                total[i] = start
            with code.loop(row_taps) as r:
                weights, pixels = w + row[r * 2] * code.lanes, space + (row[r * 2 + 1] + first) * code.lanes
                if taps is None:
                    with code.loop(column_taps) as tap:
                        one = (weights + columns[tap * 2] * code.lanes).vector()
                        pixel = pixels + columns[tap * 2 + 1] * code.lanes
                        for i in range(size):
                            total[i] = fma(pixel.vector(i * code.lanes), one, total[i])
                else:
                    # Each pixel is loaded once for all taps: a third of the loads, which else are the limit (1.3x).
                    weight = [(weights + columns[2 * s] * code.lanes).vector() for s in range(taps)]
                    pixel = pixels + columns[1] * code.lanes
                    for j in range(size + taps - 1):
                        number = pixel.vector(j * code.lanes)
                        for s in range(taps):
                            if 0 <= j - s < size:
                                total[j - s] = fma(number, weight[s], total[j - s])

            def store(limited: bool, lanes: Mask | None) -> None:
                for i in range(size):
                    result = total[i].limited(low, high) if limited else total[i]
                    place = out + (first + i) * step
                    if here is None:
                        place.store(result, lanes)
                    else:
                        with code.when(here - i >= 1):
                            place.store(result, lanes)

            # Limits cost a third of a 3x3 kernel's time where they do nothing.
            code.either(plain, lambda: store(False, None), lambda: store(True, mask))

        def tiles(taps: int | None) -> None:
            whole = count // WIDE
            with code.loop(whole) as number:
                tile(WIDE, taps, number * WIDE, None)
            done = whole * WIDE
            with code.loop((count - done + (REST - 1)) // REST) as number:
                first = done + number * REST
                tile(REST, taps, first, count - first)

        # Beyond a shorter list of columns is the next row's pair, or nothing that could be so many columns.
        neighbours = column_taps.equals(NEIGHBOURS)
        for s in range(1, NEIGHBOURS):
            neighbours = neighbours.both(columns[(column_taps - 1).at_most(s) * 2 + 1].equals(columns[1] + s))
        code.either(neighbours, lambda: tiles(NEIGHBOURS), lambda: tiles(None))

    with code.loop(row_count) as p, code.loop(class_count) as k:
        first, step, count, begin, column_taps = (classes[k * 5 + part] for part in range(5))
        outputs(
            pairs + rows[p * 3 + 1] * 2, rows[p * 3 + 2], pairs + begin * 2, column_taps,
            y + (p * row_pitch + first * pitch), step * pitch, count,
        )  # fmt: skip


@emitted
def lane_outer_tiles(
    code: Code,
    space: Pointer,
    slots: Pointer,
    rows: Int,
    row_taps: Int,
    taps: Pointer,
    tap_count: Int,
    dy: Pointer,
    row_pitch: Int,
    pitch: Int,
    count: Int,
    lanes: Int,
    dw: Pointer,
) -> None:
    """dw[t, l] += the sum over p < rows and q < count of space[slots[p, r(t)] + place(t) + q, l] * dy[p * row_pitch + q * pitch, l].

    slots: (rows, row_taps), places in space, in vectors
    taps: pairs (r, place in space) for each tap
    """
    mask = code.first_lanes(lanes)
    with code.loop((tap_count + (TAPS - 1)) // TAPS) as number:
        first = number * TAPS
        # The last tile may have fewer taps: it computes the last one again and again.
        own = [first + (tap_count - first - 1).at_most(t) for t in range(TAPS)]
        total = Registers(code)
        for t in range(TAPS):
            total[t] = (dw + own[t] * code.lanes).vector()
        with code.loop(rows) as p:
            pixel = [space + (slots[p * row_taps + taps[tap * 2]] + taps[tap * 2 + 1]) * code.lanes for tap in own]
            with code.loop(count) as q:
                gradient = (dy + (p * row_pitch + q * pitch)).vector(0, mask)
                for t in range(TAPS):
                    total[t] = fma((pixel[t] + q * code.lanes).vector(), gradient, total[t])
        for t in range(TAPS):
            (dw + own[t] * code.lanes).store(total[t])
