"""The register tiles of `pixels`: vectors of the one array, times numbers of the other."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.simd import BIT, INT, VECTOR_BITS, Vectors, data_of


class Tile(NamedTuple):
    """Sums that stay in registers: `rows` numbers times `vectors`."""

    rows: int
    run: int  # rows whose numbers stand side by side: with an address for each, 12 rows of 2 vectors take twice as long
    vectors: int
    cycles: float  # for each multiply-add, when all is in the L1 cache


TILES = (
    # AVX2 has 16 registers, others have 32, and all have few for addresses.
    (
        Tile(4, 1, 3, 0.52),
        Tile(3, 1, 4, 0.52),
        Tile(6, 1, 2, 0.55),
        Tile(6, 3, 2, 0.52),
        Tile(12, 3, 1, 0.6),
        Tile(8, 1, 1, 0.7),
    )
    if VECTOR_BITS == 256
    else (
        Tile(9, 3, 3, 0.52),
        Tile(8, 1, 3, 0.55),
        Tile(6, 1, 4, 0.55),
        Tile(9, 3, 2, 0.56),
        Tile(8, 1, 2, 0.56),
        Tile(27, 3, 1, 0.6),
        Tile(8, 1, 1, 0.75),
    )
)


@intrinsic
def multiply_pixels(
    typing_context, tile, s, s_start, s_starts, s_first, s_image, t, t_starts, t_first, t_image,
    places, images, pixels, fresh, total, total_start,
):  # fmt: skip
    """total[i, j] (+)= sum over n < images and m < pixels of s[n, i, m] * t[n, m, j], for a tile of TILES[tile].

    Number i of s[n, m] is at s_start + s_starts[s_first + i // run] + i % run + n*s_image + places[2*m], and vector j of
    t[n, m] at t_starts[t_first + j] + n*t_image + places[2*m + 1]. total[i, j] is a vector at
    total_start + (i*vectors + j) * lanes; a `fresh` one starts from 0.
    """
    index = types.intp
    signature = types.void(
        index, s, index, s_starts, index, index, t, t_starts, index, index,
        places, index, index, types.boolean, total, index,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (number, s, s_start, s_starts, s_first, s_image, t, t_starts, t_first, t_image,
         places, images, pixels, fresh, total, total_start) = arguments  # fmt: skip
        kinds = signature.args
        v = Vectors(context, builder, kinds[1].dtype)
        s_data = v.at(data_of(context, builder, kinds[1], s), s_start)
        s_table = v.at(data_of(context, builder, kinds[3], s_starts), s_first)
        t_data = data_of(context, builder, kinds[6], t)
        t_table = v.at(data_of(context, builder, kinds[7], t_starts), t_first)
        table = data_of(context, builder, kinds[10], places)
        total_data = v.at(data_of(context, builder, kinds[14], total), total_start)
        goes_on = builder.not_(builder.trunc(fresh, BIT))

        def multiply(tile: Tile) -> None:
            numbers = [v.at(s_data, builder.load(v.at(s_table, i))) for i in range(tile.rows // tile.run)]
            vectors = [v.at(t_data, builder.load(v.at(t_table, j))) for j in range(tile.vectors)]
            sums = [(i, j) for i in range(tile.rows) for j in range(tile.vectors)]
            # mem2reg turns these slots into registers: their address is never taken
            slots = {place: cgutils.alloca_once_value(builder, v.zero) for place in sums}
            for place in sums:
                builder.store(v.zero, slots[place])
            with builder.if_then(goes_on):
                for n, place in enumerate(sums):
                    builder.store(v.load(v.at(total_data, n * v.lanes)), slots[place])
            with cgutils.for_range(builder, images, intp=INT) as over_images:
                s_shift, t_shift = builder.mul(over_images.index, s_image), builder.mul(over_images.index, t_image)
                s_here, t_here = [v.at(run, s_shift) for run in numbers], [v.at(run, t_shift) for run in vectors]

                def add_pixel(m: Any, s_here: Any = s_here, t_here: Any = t_here) -> None:
                    place_at = v.at(table, builder.add(m, m))
                    s_place, t_place = builder.load(place_at), builder.load(v.at(place_at, 1))
                    ts = [v.load(v.at(run, t_place)) for run in t_here]
                    for i in range(tile.rows):
                        run = v.at(s_here[i // tile.run], s_place)
                        factor = v.splat(builder.load(v.at(run, i % tile.run)))
                        for j in range(tile.vectors):
                            builder.store(v.fma(factor, ts[j], builder.load(slots[i, j])), slots[i, j])

                # as in `tiles`, two at a time are 2 to 5 % faster
                half = builder.sdiv(pixels, INT(2))
                with cgutils.for_range(builder, half, intp=INT) as over:
                    first = builder.add(over.index, over.index)
                    add_pixel(first)
                    add_pixel(builder.add(first, INT(1)))
                with builder.if_then(builder.icmp_signed("<", builder.add(half, half), pixels)):
                    add_pixel(builder.sub(pixels, INT(1)))
            for n, place in enumerate(sums):
                v.store(builder.load(slots[place]), v.at(total_data, n * v.lanes))

        for n, tile in enumerate(TILES):
            with builder.if_then(builder.icmp_signed("==", number, INT(n))):
                multiply(tile)
        return context.get_dummy_value()

    return signature, generate
