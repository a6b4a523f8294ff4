"""The other implementations: one file per framework, which does npconv's operators on NumPy arrays with that framework.

An adapter is a module with

    NAME            the framework's name
    version()       its version
    OPERATORS       the operators of `npconv.ops` that it can do at all
    DIRECTIONS      operator -> ("forward", "backward") or ("forward",)
    forward(op, args, options)          y: in npconv's layout and in the dtype of `args`
    backward(op, dy, args, options)     a tuple of one gradient per argument, None where the argument is None
    source(op, options, direction)      the same call as lines of code without npconv, on arrays named as npconv's arguments

and, where the framework has any, `arithmetic_settings()`: what of its configuration decides the arithmetic; and
`on_threads(count)`, a context in which it computes on so many threads, where that can be changed at any time.

Each operator is written as the framework's users would write it, and shares nothing with npconv's own: neither code nor
the sizes and padding that `npconv.geometry` works out.
"""

from __future__ import annotations

import importlib
from types import ModuleType

ADAPTERS: dict[str, str] = {
    "torch": "npconv.check.adapters.torch",
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
"""The module of every adapter, by the name that `load` takes."""


class Unsupported(Exception):  # noqa: N818 (no error: a result)
    """What a framework cannot do, in its own words where it has some. It is a result of the check, not a failure of it."""


def load(name: str) -> ModuleType:
    """Import the adapter `name`, and with it its framework.

    Raises ValueError for a name that is not in `ADAPTERS`, and ImportError where the framework is not installed.

    >>> load("npconv").NAME
    'npconv'
    """
    if name not in ADAPTERS:
        raise ValueError(f"adapter must be one of {', '.join(map(repr, ADAPTERS))}, got {name!r}")
    return importlib.import_module(ADAPTERS[name])
