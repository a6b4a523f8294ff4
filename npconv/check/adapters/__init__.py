"""The other implementations: one file per framework, which does npconv's operators on NumPy arrays with that framework.

An adapter is a module with

    NAME            the framework's name
    version()       its version
    OPERATORS       the operators of `npconv.ops` that it can do at all
    DIRECTIONS      operator -> ("forward", "backward") or ("forward",)
    forward(op, args, options)          y: in npconv's layout and in the dtype of `args`
    backward(op, dy, args, options)     a tuple of one gradient per argument, None where the argument is None
    source(op, options, direction)      the same call as lines of code without npconv, on arrays named as npconv's arguments

and, where the framework has any, `arithmetic_settings()`: what of its configuration decides the arithmetic;
`on_threads(count)`, a context in which it computes on so many threads, where that can be changed at any time, and
`most_threads()`, where that is another number than that of the cores; and
`use_device(name)`, after which it computes there, or which raises ValueError where there is no such device.

A package of yours brings an adapter along by an entry point of the group ``npconv.adapters``, whose value is the module:

    [project.entry-points."npconv.adapters"]
    mine = "my_package.npconv_adapter"

Each operator is written as the framework's users would write it, and shares nothing with npconv's own: neither code nor
the sizes and padding that `npconv.geometry` works out.
"""

from __future__ import annotations

import functools
import importlib
from importlib import metadata
from types import ModuleType

ADAPTERS: dict[str, str] = {
    "torch": "npconv.check.adapters.torch",
    "torch_channels_last": "npconv.check.adapters.torch_channels_last",
    "torch_compile": "npconv.check.adapters.torch_compile",
    "jax": "npconv.check.adapters.jax",
    "tensorflow": "npconv.check.adapters.tensorflow",
    "keras": "npconv.check.adapters.keras",
    "onnxruntime": "npconv.check.adapters.onnxruntime",
    "onnx_reference": "npconv.check.adapters.onnx_reference",
    "tinygrad": "npconv.check.adapters.tinygrad",
    "openvino": "npconv.check.adapters.openvino",
    "openvino_default": "npconv.check.adapters.openvino_default",
    "scipy": "npconv.check.adapters.scipy",
    "scipy_fft": "npconv.check.adapters.scipy_fft",
    "npconv": "npconv.check.adapters.npconv",
}
"""The module of every adapter that is here, by the name that `load` takes."""

GROUP = "npconv.adapters"
"""Of the entry points by which other packages bring adapters."""


def known() -> dict[str, str]:
    """The module of every adapter, by its name: those of `ADAPTERS`, and those that installed packages bring."""
    return ADAPTERS | {name: module for name, module in _brought().items() if name not in ADAPTERS}


@functools.cache
def _brought() -> dict[str, str]:
    return {point.name: point.value for point in metadata.entry_points(group=GROUP)}


class Unsupported(Exception):  # noqa: N818 (no error: a result)
    """What a framework cannot do, in its own words where it has some. It is a result of the check, not a failure of it."""


def load(name: str) -> ModuleType:
    """Import the adapter `name`, and with it its framework.

    Raises ValueError for a name that is not `known`, and ImportError where the framework is not installed.

    >>> load("npconv").NAME
    'npconv'
    """
    modules = known()
    if name not in modules:
        raise ValueError(f"adapter must be one of {', '.join(map(repr, modules))}, got {name!r}")
    return importlib.import_module(modules[name])
