"""CIFAR-10 and CIFAR-100 in their two forms: binary, and the pickled batches, read by a reader that can run no code.

Source: https://www.cs.toronto.edu/~kriz/cifar.html. An image is 3072 bytes, the red plane, the green one, the blue one. In the
binary form its class stands before it, in CIFAR-100 the superclass before that.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from npconv import files
from npconv.data.source import Labelled, Source
from npconv.geometry import Array
from npconv.printable import printable

PIXELS = 3 * 32 * 32
TEN = [f"data_batch_{number}" for number in range(1, 6)]
LARGEST = 1 << 30  # bytes of a file; those of CIFAR have at most 155 million


def is_cifar(path: Path) -> bool:
    """Whether a folder holds batches of CIFAR-10 or CIFAR-100."""
    return path.is_dir() and any(
        (path / name).is_file() for name in ("data_batch_1.bin", "data_batch_1", "train.bin", "meta", "train")
    )


def read_cifar(path: Path) -> Source:
    """The training and test images of a folder as it comes out of the archive.

    Raises ValueError where a file is missing, damaged, or holds anything but what CIFAR's do; the message names it.
    """
    ten = any(path.glob("data_batch_*"))
    suffix = ".bin" if any(path.glob("*.bin")) else ""
    read = _binary if suffix else _pickled
    labels = 1 if ten else 2
    train = [path / f"{name}{suffix}" for name in (TEN if ten else ["train"]) if (path / f"{name}{suffix}").exists()]
    test = path / f"{'test_batch' if ten else 'test'}{suffix}"
    parts = [read(file, labels) for file in train]
    whole = Labelled(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    made = {"train": whole} | ({"test": read(test, labels)} if test.exists() else {})
    return Source(f"cifar{10 if ten else 100}", made, _names(path, ten))


def _binary(path: Path, labels: int) -> Labelled:
    contents = files.read("the data file", path, LARGEST)
    record = labels + PIXELS
    if not contents or len(contents) % record:
        raise ValueError(
            f"the data file must be whole records of {record} bytes, got {printable(path)} with {len(contents)} bytes"
        )
    rows = np.frombuffer(contents, np.uint8).reshape(-1, record)
    return Labelled(rows[:, labels:].reshape(-1, 3, 32, 32), rows[:, labels - 1])


def _pickled(path: Path, labels: int) -> Labelled:
    batch = _unpickled(path)
    numbers = batch.get(b"fine_labels" if labels == 2 else b"labels")
    pixels = batch.get(b"data")
    rows = pixels.array() if isinstance(pixels, _Array) else None
    whole = isinstance(numbers, list) and all(type(label) is int and 0 <= label < 100 for label in numbers)
    if not whole or rows is None or rows.shape != (len(numbers or ()), PIXELS):
        raise ValueError(f"the data file must be a batch of CIFAR, got {printable(path)} with other contents")
    return Labelled(rows.reshape(-1, 3, 32, 32), np.array(numbers))


def _names(path: Path, ten: bool) -> tuple[str, ...]:
    """The names of the classes, where the folder has them."""
    text = path / ("batches.meta.txt" if ten else "fine_label_names.txt")
    meta = path / ("batches.meta" if ten else "meta")
    if text.is_file():
        return tuple(line for line in files.read("the data file", text).decode(errors="replace").splitlines() if line)
    if meta.is_file():
        names = _unpickled(meta).get(b"label_names" if ten else b"fine_label_names", [])
        return tuple(name.decode("utf-8", "replace") for name in names if isinstance(name, bytes))
    return ()


class _Dtype:
    """Stands for `numpy.dtype`: remembers what it is called."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        pass  # byte order and alignment, which bytes have not


class _Array:
    """Stands for `numpy.ndarray`: remembers its state, and makes an array of it if that is one of bytes."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def array(self) -> Array | None:
        """The array of two axes; None for whatever else the state is."""
        if not (isinstance(self.state, tuple) and len(self.state) == 5):
            return None
        _, shape, dtype, fortran, data = self.state
        named = isinstance(dtype, _Dtype) and dtype.name in ("u1", b"u1") and isinstance(data, bytes)
        sized = isinstance(shape, tuple) and len(shape) == 2 and all(type(size) is int and size >= 0 for size in shape)
        if not (named and sized and shape[0] * shape[1] == len(data)):
            return None
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: object, encoding: object = "latin1", *_: object) -> bytes:
    """Python 3 pickles bytes for Python 2 as text to be encoded."""
    if not (isinstance(text, str) and encoding in ("latin1", "latin-1")):
        raise pickle.UnpicklingError("only latin1 is encoded")
    return text.encode("latin1")


# All that a batch of CIFAR names, and what stands for it: nothing of NumPy's, nothing that does anything.
STANDS_FOR: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle._Unpickler):  # the one in Python: C's fills a memo of any length that a file asks for
    """Reads pickles that name nothing but what is in `STANDS_FOR`."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STANDS_FOR:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which batches of CIFAR do not")
        return STANDS_FOR[module, name]


def _unpickled(path: Path) -> dict[Any, Any]:
    try:
        stored = files.read("the data file", path, LARGEST)
        contents = _Reader(io.BytesIO(stored), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises whatever its instructions run into
        raise ValueError(f"the data file must be a batch of CIFAR, got {printable(path)} ({error})") from None
    if not isinstance(contents, dict):
        raise ValueError(
            f"the data file must be a batch of CIFAR, got {printable(path)} with a {type(contents).__name__}"
        )
    return contents
