"""The .npz files of NumPy, Keras and MedMNIST. Nothing is unpickled, and nothing is read before its size is known."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from npconv import files
from npconv.data.source import Labelled, Source
from npconv.data.storage import allocate, planar
from npconv.geometry import Array
from npconv.printable import printable

# (images, labels) of each part, as they are called by: this library, Keras, MedMNIST.
LAYOUTS: tuple[dict[str, tuple[str, str]], ...] = (
    {"train": ("images", "labels")},
    {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")},
    {
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
)
NAMES = "class_names"
STEP = 1 << 24  # bytes read at a time


def read_npz(path: Path) -> Source:
    """The parts that the file holds, by the names of one of `LAYOUTS`, and ``class_names`` where it has them.

    Raises
    ------
    ValueError
        The file is no whole .npz of plain arrays, or lacks some; the message names them.
    """
    try:
        with files.opened("the data file", path) as stream, zipfile.ZipFile(stream) as file:
            names = {Path(name).stem: name for name in file.namelist() if name.endswith(".npy")}
            layout = next((layout for layout in LAYOUTS if set(layout["train"]) & set(names)), LAYOUTS[0])
            wanted = {part: pair for part, pair in layout.items() if part == "train" or set(pair) & set(names)}
            missing = [name for pair in wanted.values() for name in pair if name not in names]
            if missing:
                known = "; ".join(", ".join(name for pair in layout.values() for name in pair) for layout in LAYOUTS)
                raise _MissingError(
                    f"the data file must hold the arrays 'images' and 'labels', got no {missing[0]!r} in {printable(path)} "
                    f"(it may also have the names of: {known})"
                )
            parts = {part: Labelled(*(_array(file, names[name]) for name in pair)) for part, pair in wanted.items()}
            class_names = tuple(map(str, _array(file, names[NAMES]))) if NAMES in names else ()
    except _MissingError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # NumPy and zipfile have a dozen kinds for a damaged file, all meaning the same
        raise ValueError(
            f"the data file must be a whole .npz of plain arrays, got {printable(path)} ({error})"
        ) from None
    return Source(path.stem, parts, class_names)


def read_images(path: Path) -> Array:
    """The images (N, C, H, W) of a file, whatever labels it has; of several parts those for testing.

    Raises ValueError where the file is no whole .npz of plain arrays, or holds no images.
    """
    wanted = [pair[0] for layout in LAYOUTS for _, pair in sorted(layout.items())]  # test before train
    try:
        with files.opened("the data file", path) as stream, zipfile.ZipFile(stream) as file:
            names = {Path(name).stem: name for name in file.namelist() if name.endswith(".npy")}
            found = next((name for name in wanted if name in names), None)
            images = None if found is None else _array(file, names[found])
    except Exception as error:
        raise ValueError(
            f"the data file must be a whole .npz of plain arrays, got {printable(path)} ({error})"
        ) from None
    if images is None:
        raise ValueError(f"the data file must hold images, got none of {', '.join(wanted)} in {printable(path)}")
    return planar(images)


class _MissingError(Exception):
    pass


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[np.generic]


def _array(file: zipfile.ZipFile, name: str) -> Array:
    """One array, read piece by piece into room that is known to be there."""
    with file.open(name) as member:
        header = _header(member)
        size = file.getinfo(name).file_size - member.tell()
        expected = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
        if size != expected:
            raise ValueError(f"{name} has {size} bytes for an array of {expected}")
        array = allocate(header.shape[::-1] if header.fortran else header.shape, header.dtype)
        room = array.reshape(-1).view(np.uint8)
        for start in range(0, expected, STEP):
            piece = member.read(min(STEP, expected - start))
            room[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        if member.read(1):
            raise ValueError(f"{name} is longer than it says")
    return array.T if header.fortran else array


def _header(member: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"the format version {version} is not known")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header = _Header(*read(member))
    if header.dtype.hasobject:
        raise ValueError("it holds Python objects, which only pickle reads; of names, .astype(str) makes plain texts")
    return header
