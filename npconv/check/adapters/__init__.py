"""The other implementations: one file per framework, which does npconv's operators on NumPy arrays with that framework.

An adapter is a module, or an object, with

    NAME            the framework's name
    version()       its version
    OPERATORS       the operators of `npconv.ops` that it can do at all
    DIRECTIONS      operator -> ("forward", "backward") or ("forward",)
    forward(op, args, options)          y: in npconv's layout and in the dtype of `args`
    backward(op, dy, args, options)     a tuple of one gradient per argument, None where the argument is None
    source(op, args, options, direction)    the same call as lines of code without npconv, on arrays named as npconv's arguments

and, where the framework has any, `arithmetic_settings()`: what of its configuration decides the arithmetic;
`on_threads(count)`, a context in which it computes on so many threads, where that can be changed at any time, and
`most_threads()`, where that is another number than that of the cores;
`BFLOAT16`, whether it takes and gives arrays of ml_dtypes' bfloat16, False where it is missing; and
`use_device(name)`, after which it computes there, or which raises ValueError where there is no such device.

To write one, derive from `npconv.check.adapters.framework.Framework`, which makes all operators of a convolution with groups,
two pools, repetition, concatenation and some more, gradients of the framework's own differentiation, and reproductions of the source of
the methods: `tinygrad.py` is all that it takes. Write each function as the framework's users would write it, override the
composites that it has a function of its own for, and share nothing else with npconv: neither code nor the sizes and padding
that `npconv.geometry` works out.

A package of yours brings an adapter along by an entry point of the group ``npconv.adapters``, whose value is where it is:

    [project.entry-points."npconv.adapters"]
    mine = "my_package.npconv_adapter:MINE"
"""

from __future__ import annotations

import functools
import pkgutil
from importlib import metadata
from typing import Any

_PLACES = {
    "torch": "torch:TORCH",
    "torch_channels_last": "torch:CHANNELS_LAST",
    "torch_compile": "torch:COMPILED",
    "jax": "jax:JAX",
    "tensorflow": "tensorflow:TENSORFLOW",
    "keras": "keras:KERAS",
    "onnxruntime": "onnxruntime:RUNTIME",
    "onnx_reference": "onnx:REFERENCE",
    "tinygrad": "tinygrad:TINYGRAD",
    "openvino": "openvino:FLOAT32",
    "openvino_default": "openvino:DEFAULT",
    "scipy": "scipy:SCIPY",
    "scipy_fft": "scipy:FFT",
    "npconv": "npconv",
}
ADAPTERS = {name: f"{__name__}.{place}" for name, place in _PLACES.items()}
"""Where each adapter is that is here, by the name that `load` takes: its module, and its name there."""

GROUP = "npconv.adapters"
"""Of the entry points by which other packages bring adapters."""


def known() -> dict[str, str]:
    """Where every adapter is, by its name: those of `ADAPTERS`, and those that installed packages bring."""
    return ADAPTERS | {name: module for name, module in _brought().items() if name not in ADAPTERS}


@functools.cache
def _brought() -> dict[str, str]:
    return {point.name: point.value for point in metadata.entry_points(group=GROUP)}


class Unsupported(Exception):  # noqa: N818 (no error: a result)
    """What a framework cannot do, in its own words where it has some. It is a result of the check, not a failure of it."""


def load(name: str) -> Any:
    """Import the adapter `name`, and with it its framework.

    Raises ValueError for a name that is not `known`, and ImportError where the framework is not installed.

    >>> load("npconv").NAME
    'npconv'
    """
    places = known()
    if name not in places:
        raise ValueError(f"adapter must be one of {', '.join(map(repr, places))}, got {name!r}")
    return pkgutil.resolve_name(places[name])
