"""Planes in lanes: as many planes as a vector has lanes, transposed pixel by pixel, so that each pixel of all is one vector.

Then no load crosses lanes, a stride is an offset, and a map of 7 x 7 costs no more per pixel than a large one.
"""

from __future__ import annotations

from numba import njit

from npconv.kernels.simd import VECTOR_BITS, transpose_block


@njit
def lanes_of(itemsize):
    """How many numbers of `itemsize` bytes a vector holds."""
    return VECTOR_BITS // (8 * itemsize)


@njit
def find_planes(starts, first, count, pixels):
    """Where the planes first, first + 1, ... of `count` start in a flat array; lanes beyond the last repeat it."""
    for lane in range(len(starts)):
        starts[lane] = min(first + lane, count - 1) * pixels


@njit
def pixels_in(source, starts, first_pixel, count, target, places):
    """Pixel first_pixel + i < first_pixel + count of all planes becomes the vector target[places[i]:]."""
    lanes = len(starts)
    if count < lanes:
        for i in range(count):
            for lane in range(lanes):
                target[places[i] + lane] = source[starts[lane] + first_pixel + i]
        return
    for i in range(0, count, lanes):
        block = min(i, count - lanes)  # the last block laps over the one before it
        transpose_block(source, starts, 0, first_pixel + block, target, places, block, 0)


@njit
def pixels_out(source, places, target, starts, first_pixel, count):
    """The inverse of `pixels_in`: the vector source[places[i]:] becomes pixel first_pixel + i of all planes."""
    lanes = len(starts)
    if count < lanes:
        for i in range(count):
            for lane in range(lanes):
                target[starts[lane] + first_pixel + i] = source[places[i] + lane]
        return
    for i in range(0, count, lanes):
        block = min(i, count - lanes)
        transpose_block(source, places, block, 0, target, starts, 0, first_pixel + block)
