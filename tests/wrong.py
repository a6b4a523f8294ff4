"""Wrong implementations for the cross-check to find: callables with the signatures of `npconv.ops`."""

from __future__ import annotations

from typing import NamedTuple
from unittest import mock

import numpy as np
from planted import BUGS, SHARED

from npconv import ops, reference
from npconv.backends import backend, divert


class Wrong(NamedTuple):
    """An operator, and a forward and a backward at least one of which is wrong."""

    op: str
    forward: object
    backward: object


def right(name):
    """npconv's own function, on the reference."""

    def call(*args, **options):
        with backend("numpy"):
            return getattr(ops, name)(*args, **options)

    return call


def with_primitives(op, planted):
    """Both directions of `op` with other primitives than the reference's, by name."""

    def run(primitive, *arguments):
        return planted.get(primitive, getattr(reference, primitive))(*arguments)

    def diverted(name):
        def call(*args, **options):
            with divert(run):
                return getattr(ops, name)(*args, **options)

        return call

    return Wrong(op, diverted(op), diverted(f"{op}_backward"))


def with_parts(bug):
    """Both directions of a composite that finds a wrong primitive in its own file."""
    planted = bug.plant(getattr(bug.module, bug.primitive))

    def patched(name):
        def call(*args, **options):
            with mock.patch.object(bug.module, bug.primitive, planted), backend("numpy"):
                return getattr(ops, name)(*args, **options)

        return call

    return Wrong(bug.op, patched(bug.op), patched(f"{bug.op}_backward"))


def of_bug(bug):
    """A bug of the table that npconv's own suite has to find."""
    if bug.module is ops:
        return Wrong(bug.op, bug.plant(right(bug.primitive)), right(f"{bug.op}_backward"))
    if bug.module is not reference:
        return with_parts(bug)
    return with_primitives(bug.op, {bug.primitive: bug.plant(getattr(reference, bug.primitive))})


def forward_of(op, change):
    """The right y, changed: ``change(y, args, options)``."""
    return Wrong(op, lambda *args, **options: change(right(op)(*args, **options), args, options), None)


def backward_of(op, change):
    """The right gradients, changed: ``change(gradients, args, options)``."""
    correct = right(f"{op}_backward")
    return Wrong(op, right(op), lambda dy, *args, **options: change(correct(dy, *args, **options), args, options))


def one_in_a_million(y, args, options):
    if y.size > 1_000_000:
        y[..., -1, -1, -1] += 1
    return y


def heavier_tap(x, w, b=None, **options):
    """3 ulp for each of the K terms, in the first tap alone."""
    w = w.copy()
    w[..., 0, 0] *= 1 + 3 * w[0].size * np.finfo(w.dtype).eps
    return right("conv2d")(x, w, b, **options)


def summed_in_half_precision(x, w, b=None, **options):
    """Each tap's products are right; the sum over taps is kept in float16."""
    total = np.float16(0) if b is None else b[:, None, None].astype(np.float16)
    for tap in np.ndindex(w.shape[2:]):
        one = np.zeros_like(w)
        at = (slice(None), slice(None), *tap)
        one[at] = w[at]
        total = (total + right("conv2d")(x, one, None, **options)).astype(np.float16)
    return total.astype(x.dtype)


def truncated(y, args, options):
    """The float64 result cut off, not rounded."""
    exact = right("conv2d")(*(None if a is None else a.astype(np.float64) for a in args), **options)
    near = exact.astype(y.dtype)
    return np.where(np.abs(near) > np.abs(exact), np.nextafter(near, np.zeros_like(near)), near)


def swapped_strides(x, w, b=None, *, stride=1, **options):
    swapped = stride if isinstance(stride, int) else stride[::-1]
    return right("conv2d")(x, w, b, stride=swapped, **options)


def needs_an_image(x, w, b=None, **options):
    if not len(x):
        raise RuntimeError("expected a batch")
    return right("conv2d")(x, w, b, **options)


def in_place(x, w, b=None, **options):
    x *= 2
    return right("conv2d")(x, w, b, **options) / 2


def not_a_number(y, args, options):
    """A division of 0 by 0 at the border."""
    y[:, :, :1] = np.where(y[:, :, :1] == 0, np.nan, y[:, :, :1])
    return y


def negated_last(y, args, options):
    y[..., -1:] *= -1
    return y


def scaled_group(gradients, args, options):
    dx, dw, db = gradients
    groups = options.get("groups", 1)
    if groups > 1:
        dw[: len(dw) // groups] /= groups
    return dx, dw, db


def without_bias(gradients, args, options):
    return (*gradients[:-1], None)


def of_one_image(gradients, args, options):
    """A mean over the batch where there must be a sum."""
    dx, dw, *rest = gradients
    return dx, dw / np.float32(max(len(args[0]), 1)), *rest


def without_dilation(dy, x, w, b=None, **options):
    """dw of the undilated kernel, where that has the same output size."""
    gradients = right("conv2d_backward")(dy, x, w, b, **options)
    try:
        _, dw, _ = right("conv2d_backward")(dy, x, w, b, **options | {"dilation": 1})
    except ValueError:
        return gradients
    return gradients[0], dw, gradients[2]


CHOICES = {"tie to the last": "the gradient of a tie goes to the last maximum (npconv: the first)"}
"""Bugs of npconv that are another implementation's right choice: what a report calls them."""

PRIMITIVES = {
    **{name: of_bug(bug) for name, bug in BUGS.items() if name not in CHOICES},
    **{
        name: with_primitives("conv2d", {key: plant(getattr(reference, key)) for key, plant in plants.items()})
        for name, plants in SHARED.items()
    },
}
"""npconv's own operators, on primitives that are wrong."""

SUBJECTS = {
    "the inverse shuffle": Wrong("channel_shuffle", right("channel_unshuffle"), right("channel_unshuffle_backward")),
    "an element wrong in a million": forward_of("conv2d", one_in_a_million),
    "3 ulp per term in one tap": Wrong("conv2d", heavier_tap, None),
    "sums in half precision": Wrong("conv2d", summed_in_half_precision, None),
    "rounding toward zero": forward_of("conv2d", truncated),
    "rows and columns of the stride swapped": Wrong("conv2d", swapped_strides, None),
    "no empty batch": Wrong("conv2d", needs_an_image, None),
    "x changed in place": Wrong("conv2d", in_place, None),
    "NaN at the border": forward_of("conv2d", not_a_number),
    "last column negated": forward_of("pointwise_conv2d", negated_last),
    "float64 for float32": forward_of("conv2d", lambda y, args, options: y.astype(np.float64)),
    "channels last": forward_of("conv2d", lambda y, args, options: y.transpose(0, 2, 3, 1)),
    "a list of lists": forward_of("linear", lambda y, args, options: y.tolist()),
    "low map missing": forward_of("octave_conv2d", lambda y, args, options: (y[0], None)),
    "first group's dw averaged": backward_of("conv2d", scaled_group),
    "db forgotten": backward_of("conv2d", without_bias),
    "dw averaged over the batch": backward_of("depthwise_conv2d", of_one_image),
    "dx alone": backward_of("linear", lambda gradients, args, options: gradients[0]),
    "dw without dilation": Wrong("conv2d", right("conv2d"), without_dilation),
    "db of a row": backward_of("linear", lambda gradients, args, options: (*gradients[:2], gradients[0][:1])),
    "dx and dw swapped": backward_of("separable_conv2d", lambda g, args, options: (g[1], g[0], *g[2:])),
}
"""Functions that are wrong themselves."""

WRONG = PRIMITIVES | SUBJECTS
