"""Weights on disk: a model's arrays as one safetensors file, which any framework reads and which can run no code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np

from npconv.geometry import Array

_MISSING = "weights are safetensors files, got no such package: pip install 'npconv[train]'"


class Stateful(Protocol):
    """What has weights: every layer and model of `npconv.nn`."""

    def state(self) -> Mapping[str, Array]: ...

    def load_state(self, state: Mapping[str, Array]) -> None: ...


def save(
    model: Stateful | Mapping[str, Array], path: str | PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write the parameters and buffers of `model` to `path`, in one step: nobody ever sees half a file.

    Parameters
    ----------
    model : layer, or mapping of names to arrays
    path : path
        An existing file is replaced.
    metadata : mapping of str to str, optional
        Kept in the file's header; `load` returns it.

    Raises
    ------
    ImportError
        safetensors is not installed.
    OSError
        The file cannot be written; what was there before is as it was.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from npconv import nn, weights
    >>> layer = nn.Linear(2, 1, rng=np.random.default_rng(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     weights.save(layer, f"{folder}/linear.safetensors", {"made by": "hand"})
    ...     weights.load(layer, f"{folder}/linear.safetensors")
    {'made by': 'hand'}
    """
    try:
        from safetensors.numpy import save as serialize
    except ImportError:
        raise ImportError(_MISSING) from None
    path = Path(path)
    state = model if isinstance(model, Mapping) else model.state()
    contents = serialize(
        {name: np.asarray(array, order="C") for name, array in state.items()}, dict(metadata) if metadata else None
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # of the same folder, so that the renaming is one step
    try:
        temporary.write_bytes(contents)
        os.replace(temporary, path)
    except BaseException:  # an interrupt too must leave nothing behind
        temporary.unlink(missing_ok=True)
        raise


def load(model: Stateful, path: str | PathLike[str]) -> dict[str, str]:
    """Read the file `path` that `save` wrote into `model`, and return its metadata.

    Raises
    ------
    ImportError
        safetensors is not installed.
    ValueError
        The file is missing or damaged, or its arrays are not the model's by name and shape; the message names the file
        and the array, and the model is as it was.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError(_MISSING) from None
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"the weights file must exist, got {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"the weights file must be a whole safetensors file, got {path} ({error})") from None
    try:
        model.load_state(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return metadata
