"""Convolutions that go wrong in every way that a function can, for the process that they run in."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

import numpy as np

from npconv import ops

right, right_backward = ops.conv2d, ops.conv2d_backward


class Strange:
    """Of a class that only this module has."""


def wrong_shape(*args, **options):
    return right(*args, **options)[..., np.newaxis]


def wrong_dtype(*args, **options):
    return right(*args, **options).astype(np.float64)


def nan(*args, **options):
    return right(*args, **options) * np.float32("nan")


def raising(*args, **options):
    raise RuntimeError("out of paper\nand of ink")


def declining(*args, **options):
    raise NotImplementedError("not on this machine")


def exiting(*args, **options):
    os._exit(7)


def segfault(*args, **options):
    ctypes.string_at(0)


def endless(*args, **options):
    time.sleep(3600)


def exiting_at_dilation(x, w, b=None, **options):
    if options["dilation"] not in (1, (1, 1)):
        os._exit(7)
    return right(x, w, b, **options)


def endless_at_stride(dy, x, w, b=None, **options):
    if options["stride"] not in (1, (1, 1)):
        time.sleep(3600)
    return right_backward(dy, x, w, b, **options)


def as_list(*args, **options):
    return [right(*args, **options)]


def junk(*args, **options):
    """Writes to the standard streams, below Python too."""
    print("junk" * 10_000)
    os.write(1, b"\x00\xff" * 10_000)
    os.write(2, b"\x80" * 10_000)
    print("junk", file=sys.stderr)
    return right(*args, **options)


def in_place(x, *args, **options):
    y = right(x, *args, **options)
    x *= 2
    return y


def strides_of(x, w):
    return np.array([*x.strides, x.flags.writeable, x.flags.aligned])


def strange(*args, **options):
    return Strange()


def strange_numbers(*args, **options):
    return np.array([Strange()])


def too_few(dy, x, w, b=None, **options):
    return right_backward(dy, x, w, b, **options)[:2]


def slow(*args, **options):
    """Says in a file that it has begun, where it is told one."""
    if "BEGUN_FILE" in os.environ:
        Path(os.environ["BEGUN_FILE"]).touch()
    time.sleep(0.02)
    return right(*args, **options)


def last_row_lost(*args, **options):
    y = right(*args, **options)
    y[..., -1, :] = 0
    return y


not_callable = 3


def of_tensors(x, w, b=None):
    """As it should be, but for a bias, which it forgets."""
    import torch

    assert isinstance(x, torch.Tensor)
    return torch.nn.functional.conv2d(x, w)


of_tensors.takes_arrays = "torch"
