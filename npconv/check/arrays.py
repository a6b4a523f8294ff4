"""Arrays of PyTorch, JAX and TensorFlow: a checked function gets them where it asks, and may return them in any case.

It asks by the annotation of its first parameter, ``def conv2d(x: torch.Tensor, w: torch.Tensor): ...``, or by an attribute,
``conv2d.takes_arrays = "torch"``. What it returns is taken by the protocols ``__array__`` and ``__dlpack__``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from npconv.check.bfloat16 import NAME, dtype_named
from npconv.geometry import Array
from npconv.testing import Tree, map_arrays, named_arrays

LIBRARIES = "torch", "jax", "tensorflow"

_devices: dict[str, str] = {}
"""Library -> device, where one is used."""


def library_of(function: Callable[..., Any]) -> str | None:
    """The one of `LIBRARIES` whose arrays `function` asks for; None for those of NumPy.

    Raises ValueError where its attribute is none of them.

    >>> def double(x):
    ...     return x + x
    >>> double.takes_arrays = "torch"
    >>> library_of(double)
    'torch'
    """
    told = getattr(function, "takes_arrays", None)
    if told is not None:
        if told not in LIBRARIES:
            raise ValueError(f"takes_arrays must be one of {', '.join(LIBRARIES)}, got {told!r}")
        return str(told)
    try:
        first = next(iter(inspect.signature(function).parameters.values())).annotation
    except (TypeError, ValueError, StopIteration):
        return None
    if isinstance(first, str):  # the words of it: "torch.Tensor", or a name of the function's module
        root = re.split(r"\W", first)[0]
        found = getattr(inspect.unwrap(function), "__globals__", {}).get(root)
        if found is None:
            return root if root in LIBRARIES else None
        first = found
    first = next(iter(typing.get_args(first)), first)  # of "torch.Tensor | None"
    named = getattr(first, "__module__", None) or getattr(first, "__name__", "")
    root = str(named).partition(".")[0].removesuffix("lib")  # jaxlib makes the arrays of jax
    return root if root in LIBRARIES else None


def use_device(library: str, name: str) -> None:
    """Give arrays of that library on the device `name`, "cuda:0" for example.

    Raises ValueError where there is none.
    """
    try:
        _given(np.ones(1, np.float32), library, name)
    except Exception as error:  # each library has its own
        words = str(error).partition("\n")[0]
        raise ValueError(f"--device must be one that {library} has here, got {name}: {words}") from None
    _devices[library] = name


def device_of(library: str | None) -> str | None:
    """The device on which a function gets the library's arrays, where one was said."""
    return None if library is None else _devices.get(library)


def adapted(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of NumPy arrays, which is given those that it asks for, and whose results are taken."""
    library = library_of(function)

    @functools.wraps(function, updated=())
    def call(*args: Tree, **options: Any) -> Any:
        if library is None:
            return taken(function(*args, **options))
        give = functools.partial(_given, library=library, device=device_of(library))
        with _precision(library, args):
            given = {name: map_arrays(give, value) for name, value in options.items()}
            return taken(function(*map_arrays(give, args), **given))

    return call


def taken(value: Any) -> Any:
    """A result as NumPy arrays, in tuples and lists as they are; what is no array of any library stays what it is."""
    if isinstance(value, tuple | list):
        parts = [taken(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if value is None or isinstance(value, np.ndarray | np.generic | bool | int | float | complex | str):
        return value
    for name in ("detach", "cpu"):  # PyTorch gives arrays of no tensor that has a gradient, or is elsewhere
        step = getattr(value, name, None)
        value = step() if callable(step) else value
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # of which NumPy takes the bits alone
        import torch

        return value.view(torch.int16).numpy().view(dtype_named(NAME))
    if hasattr(value, "__array__"):
        return np.asarray(value)
    return np.from_dlpack(value) if hasattr(value, "__dlpack__") else value


def _given(array: Array, library: str, device: str | None) -> Any:
    """`array` as one of the library's, on the same memory where it can be."""
    if library == "torch":
        import torch

        direct = array.flags.writeable and array.flags.aligned and all(step >= 0 for step in array.strides)
        array = array if direct else array.copy()
        if array.dtype.name == NAME:
            tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(array)
        return tensor if device is None else tensor.to(device)
    if library == "jax":
        import jax

        if device is None:
            return jax.numpy.asarray(array)
        platform, _, number = device.partition(":")
        return jax.device_put(array, jax.devices(platform)[int(number or 0)])
    tensorflow = importlib.import_module("tensorflow")
    with tensorflow.device(device):
        return tensorflow.convert_to_tensor(array)


def _precision(library: str, args: tuple[Tree, ...]) -> contextlib.AbstractContextManager[Any]:
    """JAX makes float32 of float64 unless told otherwise; it is told so only where there is some."""
    if library != "jax":
        return contextlib.nullcontext()
    import jax

    context: contextlib.AbstractContextManager[Any] = jax.enable_x64(
        any(array.dtype == np.float64 for _, array in named_arrays(args))
    )
    return context


_SOURCE = {
    "torch": ("import torch", "torch.tensor(a{})", ", device={!r}", "a.detach().cpu().numpy()"),
    "torch, bfloat16": (
        "import torch",
        'torch.tensor(a.astype("float32"){0}).bfloat16() if a.dtype == bfloat16 else torch.tensor(a{0})',
        ", device={!r}",
        "a.detach().cpu().float().numpy()",
    ),
    "jax": ("import jax", "jax.numpy.asarray(a)", "", "np.asarray(a)"),
    "tensorflow": ("import tensorflow", "tensorflow.convert_to_tensor(a)", "", "a.numpy()"),
}


def source_lines(library: str, device: str | None, dtype: np.dtype[Any]) -> list[str]:
    """Lines that define `given`, which makes the library's arrays, and `taken`, which makes those of NumPy again."""
    imported, give, place, take = _SOURCE.get(f"{library}, {dtype.name}", _SOURCE[library])
    give = give.format(place.format(device) if device else "")
    each = "    return tuple(map({0}, a)) if isinstance(a, (tuple, list)) else None if a is None else {1}"
    return [
        imported,
        "",
        "def given(a):",
        each.format("given", give),
        "",
        "def taken(a):",
        each.format("taken", take),
        "",
    ]
