"""Where the largest number of a window is, for a row of windows in the lanes of planes: what the gradient of max pooling asks.

A window's numbers are read twice, once for the largest and once for who has it, and no index is kept: written as loops over
arrays of largest numbers and of indices it was 28 ms for 8 x 64 maps of 112 x 112 where it takes 3, because LLVM cannot know
that these arrays do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npconv.kernels.simd import BIT, INT, Vectors, data_of


@intrinsic
def hand_to_largest(
    typing_context, dy, dy_at, image, image_at, gradient, gradient_at, pitch, rows, first, last, taps, first_tap
):
    """Add dy[dy_at + q * lanes] to the gradient of the largest number of window q, for each q < len(first_tap).

    Window q holds image[image_at + h * pitch + taps[t] + q * lanes] for h < rows, t from first_tap[q] on; of equals the first is
    the largest, and so is the first NaN. Its gradient is at the same place from `gradient_at` on, and only rows from
    `first` to `last` (excluded) have one. All of that for each lane.
    """
    index = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        dy, dy_at, image, image_at, gradient, gradient_at, pitch, rows, first, last, taps, first_tap = arguments
        kinds = signature.args
        v = Vectors(context, builder, kinds[0].dtype)
        dy_data = v.at(data_of(context, builder, kinds[0], dy), dy_at)
        image_data = v.at(data_of(context, builder, kinds[2], image), image_at)
        gradient_data = v.at(data_of(context, builder, kinds[4], gradient), gradient_at)
        tap_data, first_data = (
            data_of(context, builder, kinds[10], taps),
            data_of(context, builder, kinds[11], first_tap),
        )
        tap_count = context.make_array(kinds[10])(context, builder, taps).nitems
        window_count = context.make_array(kinds[11])(context, builder, first_tap).nitems
        lowest = ir.Constant(v.type, [float("-inf")] * v.lanes)
        nobody = ir.Constant(ir.VectorType(BIT, v.lanes), [0] * v.lanes)
        # mem2reg turns these slots into registers: their address is never taken
        largest, found = (cgutils.alloca_once_value(builder, value) for value in (lowest, nobody))

        with cgutils.for_range(builder, window_count, intp=INT) as windows:
            window = builder.mul(windows.index, INT(v.lanes))
            first_column = builder.load(v.at(first_data, windows.index))
            builder.store(lowest, largest)
            builder.store(nobody, found)

            def for_each_pixel(see: Callable[[Any, Any, Any], None]) -> None:
                """``see(row, place, number)`` in the order of taps."""
                with cgutils.for_range(builder, rows, intp=INT) as over_rows:
                    begin = builder.add(window, builder.mul(over_rows.index, pitch))
                    with cgutils.for_range_slice(builder, first_column, tap_count, INT(1), INT) as (tap, _):
                        place = builder.add(begin, builder.load(v.at(tap_data, tap)))
                        see(over_rows.index, place, v.load(v.at(image_data, place)))

            def keep_larger(row: Any, place: Any, number: Any) -> None:
                old = builder.load(largest)
                first_nan = builder.and_(
                    builder.fcmp_unordered("uno", number, number), builder.fcmp_ordered("ord", old, old)
                )
                larger = builder.or_(builder.fcmp_ordered(">", number, old), first_nan)
                builder.store(builder.select(larger, number, old), largest)

            def hand(row: Any, place: Any, number: Any) -> None:
                wanted, taken = builder.load(largest), builder.load(found)
                both_nan = builder.and_(
                    builder.fcmp_unordered("uno", number, number), builder.fcmp_unordered("uno", wanted, wanted)
                )
                same = builder.or_(builder.fcmp_ordered("==", number, wanted), both_nan)
                won = builder.and_(same, builder.not_(taken))
                builder.store(builder.or_(taken, same), found)
                inside = builder.and_(builder.icmp_signed(">=", row, first), builder.icmp_signed("<", row, last))
                with builder.if_then(inside):
                    pointer = v.at(gradient_data, place)
                    v.store(builder.fadd(v.load(pointer), builder.select(won, share, v.zero)), pointer)

            for_each_pixel(keep_larger)
            share = v.load(v.at(dy_data, window))
            for_each_pixel(hand)
        return context.get_dummy_value()

    arguments = dy, index, image, index, gradient, index, index, index, index, index, taps, first_tap
    return types.void(*arguments), generate
