"""Sizes, padding rules and argument checks: the one place where a problem is found to be well posed.

Everything below `npconv.ops` relies on it: a geometry that exists is right, so neither `reference` nor `kernels`
checks anything. Every error is raised here, before any work, and names the argument, its value and the rule.

Imports nothing else of npconv.
"""

from __future__ import annotations

from npconv.geometry.axis import Axis
from npconv.geometry.channels import check_shuffle_groups, ghost_channels, octave_channels
from npconv.geometry.checks import (
    FLOAT_DTYPES,
    LARGEST,
    Array,
    IntOrPair,
    Pair,
    check_array,
    check_dtype,
    check_dtypes,
    check_plain,
    check_rng,
    check_shape,
    flag,
    fraction,
    integer,
    is_plain,
    is_sequence,
    is_word,
    nearest,
    one_of,
    pair,
    positive,
    shape,
    shown,
    some,
    word,
)
from npconv.geometry.composites import GhostGeometry, SeparableGeometry
from npconv.geometry.convolution import Conv2dGeometry
from npconv.geometry.fitting import SURE, check_fits
from npconv.geometry.octave import (
    OctaveBias,
    OctaveGeometry,
    OctaveMap,
    OctavePath,
    OctaveStep,
    OctaveWeight,
    octave_paths,
)
from npconv.geometry.padding import Padding, effective_kernel, explicit_padding, same_padding
from npconv.geometry.pooling import Pool2dGeometry, UpsampleGeometry

__all__ = [
    "FLOAT_DTYPES",
    "LARGEST",
    "SURE",
    "Array",
    "Axis",
    "Conv2dGeometry",
    "GhostGeometry",
    "IntOrPair",
    "OctaveBias",
    "OctaveGeometry",
    "OctaveMap",
    "OctavePath",
    "OctaveStep",
    "OctaveWeight",
    "Padding",
    "Pair",
    "Pool2dGeometry",
    "SeparableGeometry",
    "UpsampleGeometry",
    "check_array",
    "check_dtype",
    "check_dtypes",
    "check_fits",
    "check_plain",
    "check_rng",
    "check_shape",
    "check_shuffle_groups",
    "effective_kernel",
    "explicit_padding",
    "flag",
    "fraction",
    "ghost_channels",
    "integer",
    "is_plain",
    "is_sequence",
    "is_word",
    "nearest",
    "octave_channels",
    "octave_paths",
    "one_of",
    "pair",
    "positive",
    "same_padding",
    "shape",
    "shown",
    "some",
    "word",
]
