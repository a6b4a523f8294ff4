"""Reading and writing safetensors files, which any framework reads and which can run no code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from npconv import files
from npconv.geometry import Array, check_plain, shown
from npconv.nn import Layer
from npconv.printable import printable
from npconv.weights.sources import check_numbers, load_state_dict

LARGEST_HEADER = 1 << 24  # bytes, of JSON that describes a hundred thousand arrays
NUMPY_DTYPES = "F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"
RUN_WEIGHTS = "weights.safetensors"  # what `npconv train` calls the weights in a run's folder
STORED = {np.dtype(kind) for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")}
_MISSING = "weights are safetensors files, got no such package: pip install 'npconv[train]'"


def save(
    model: Layer | Mapping[str, Array], path: str | PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write the parameters and buffers of `model` to `path`, in one step: nobody ever sees half a file.

    Parameters
    ----------
    model : layer, or mapping of names to arrays
    path : path
        An existing file is replaced, as `npconv.files.write` does it.
    metadata : mapping of str to str, optional
        Kept in the file's header; `load` returns it.

    Raises
    ------
    ImportError
        safetensors is not installed.
    TypeError, ValueError
        An array or a text is none that such a file can hold, or `path` is a folder, a device or another thing that is no file.
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
    if not isinstance(model, Mapping | Layer):
        raise TypeError(f"model must be a layer or a mapping of names to arrays, got {type(model).__name__}")
    state = model if isinstance(model, Mapping) else model.state()
    _check_texts("the names of arrays", state)
    about = {} if metadata is None else metadata
    if not isinstance(about, Mapping):
        raise TypeError(f"metadata must be a mapping of texts, got {type(metadata).__name__}")
    _check_texts("metadata", (*about, *about.values()))
    files.write(path, serialize({name: _storable(name, array) for name, array in state.items()}, dict(about) or None))


def _check_texts(what: str, texts: Iterable[object]) -> None:
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{what} must be texts, got {shown(text)}")
        if not files.is_unicode(text):
            raise ValueError(f"{what} must be texts in Unicode, got {shown(text)}")


def _storable(name: str, array: object) -> Array:
    """`array` in C order and the machine's byte order, once it is known to be one that such files have."""
    array = check_plain(name, array)
    if array.dtype.newbyteorder("=") not in STORED:
        raise TypeError(f"{name} must have a dtype of safetensors files, got {array.dtype}")
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def load(model: Layer, path: str | PathLike[str], source: str | Mapping[str, str] | None = None) -> dict[str, str]:
    """Read the file `path` into `model`, and return its metadata.

    Parameters
    ----------
    model : layer
    path : path
        A file that `save` wrote, or the folder of a run of `npconv train`; or, where `source` is given, one with the arrays of another package's model. Such packages
        write it by ``safetensors.torch.save_file(model.state_dict(), path)``.
    source : str or mapping, optional
        Whose names the file has: one of `SOURCES`, or names there by names here, see `load_state_dict`. Not needed for names
        of npconv's own, or for those that differ only as PyTorch's do.

    Returns
    -------
    dict of str to str

    Raises
    ------
    ImportError
        safetensors is not installed.
    TypeError, ValueError
        The file is missing or damaged, its arrays are not the model's by name, shape and dtype, one holds a NaN or an infinity,
        or a running variance is negative; the message names the file and the array, and the model is as it was.

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
    about, state = read(path)
    try:
        if source is None and model.state().keys() == state.keys():
            check_numbers(state)
            model.load_state(state)
        else:
            load_state_dict(model, state, source)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{printable(path)}: {error}") from None
    return about


def metadata(path: str | PathLike[str]) -> dict[str, str]:
    """What the file `path` says of itself, as `load` returns it, for whoever has to make the model first.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to str

    Raises
    ------
    ImportError
        safetensors is not installed.
    ValueError
        The file is missing or damaged.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from npconv import weights
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     weights.save({"w": np.zeros(2)}, f"{folder}/w.safetensors", {"made by": "hand"})
    ...     weights.metadata(f"{folder}/w.safetensors")
    {'made by': 'hand'}
    """
    return read(path, arrays=False)[0]


def read(path: str | PathLike[str], *, arrays: bool = True) -> tuple[dict[str, str], dict[str, Array]]:
    """What a safetensors file holds; bfloat16 comes as float32.

    Parameters
    ----------
    path : path
    arrays : bool
        Whether the arrays are wanted.

    Returns
    -------
    (metadata, arrays) : dicts by name

    Raises
    ------
    ImportError
        safetensors is not installed.
    ValueError
        The file is missing or damaged, or holds floats of 8 bits.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from npconv import weights
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     weights.save({"w": np.zeros(2)}, f"{folder}/w.safetensors")
    ...     weights.read(f"{folder}/w.safetensors")
    ({}, {'w': array([0., 0.])})
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError(_MISSING) from None
    path = file_of(files.as_path("path", path))
    if not os.path.isfile(path):
        raise ValueError(f"the weights must be a file that exists, got {printable(path)}")
    try:
        with files.opened("the weights", path) as start:
            first = start.read(8)
        header = int.from_bytes(first, "little")
        if header > LARGEST_HEADER:
            if first.startswith((b"PK", b"\x80")):  # a zip as torch.save makes it, or a pickle
                raise OSError(
                    "torch.save writes pickles, which can run code; safetensors.torch.save_file(model.state_dict(), path) does not"
                )
            raise OSError(f"its header must have at most {LARGEST_HEADER} bytes, got {header}")
        with safe_open(path, framework="numpy") as file:  # it has found that the arrays lie inside the file
            about, found = file.metadata() or {}, {}
            for name in file.keys() if arrays else ():
                kind = file.get_slice(name).get_dtype()
                if kind not in (*NUMPY_DTYPES, "BF16"):
                    raise _KindError(
                        f"the weights must be floats of at least 16 bits, got {name} in {kind} in {printable(path)}: "
                        "convert them, as tensor.float() does"
                    )
                found[name] = _bfloat16(path, name) if kind == "BF16" else file.get_tensor(name)
            return about, found
    except _KindError as error:
        raise ValueError(str(error)) from None
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(
            f"the weights file must be a whole safetensors file, got {printable(path)} ({error})"
        ) from None


def file_of(path: str | PathLike[str]) -> Path:
    """`path` itself, or where it is a folder the weights of a run in it.

    >>> file_of("weights.safetensors").name
    'weights.safetensors'
    """
    path = Path(path)
    return path / RUN_WEIGHTS if path.is_dir() else path


class _KindError(Exception):
    pass


def _bfloat16(path: Path, name: str) -> Array:
    """A tensor of which NumPy has no dtype: the upper half of a float32."""
    with files.opened("the weights", path) as file:
        length = int.from_bytes(file.read(8), "little")
        about = json.loads(file.read(length))[name]
        start, end = about["data_offsets"]
        file.seek(8 + length + start)
        upper = np.frombuffer(file.read(end - start), "<u2")
    return (upper.astype(np.uint32) << 16).view(np.float32).reshape(about["shape"])
