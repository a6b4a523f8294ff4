"""The IDX files of MNIST, Fashion-MNIST and their kin: a pair of files, images and labels, for training and for testing.

A file is: two zero bytes, the type of its numbers, the number of axes, the length of each axis as a big-endian int32, the
numbers. Source: http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path
from typing import IO

import numpy as np

from npconv import files
from npconv.data.source import Labelled, Source
from npconv.data.storage import allocate
from npconv.geometry import Array
from npconv.printable import printable

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
STEP = 1 << 24  # bytes read at a time
IMAGES = re.compile(r"(?P<part>.*?)[-_.]?images[-.]idx3[-.]ubyte(\.gz)?$")

# Debian's package `dataset-fashion-mnist`, and the names that its paper (arXiv 1708.07747, table 2) gives to the classes.
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION_MNIST_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def is_idx(path: Path) -> bool:
    """Whether this is the images file of a pair, or a folder with one."""
    if path.is_dir():
        return any(IMAGES.match(file.name) for file in path.iterdir())
    return IMAGES.match(path.name) is not None


def fashion_mnist(folder: Path = FASHION_MNIST) -> Source:
    """60,000 training and 10,000 test images of 28x28 pixels in ten classes of clothes (arXiv 1708.07747).

    Raises ValueError, with the command that installs it, where the package is not there.
    """
    if not folder.is_dir():
        raise ValueError(
            f"fashion-mnist must be installed, got no folder {printable(folder)}: `apt install dataset-fashion-mnist` on Debian and "
            "Ubuntu, or give --data the folder with its four IDX files"
        )
    return read_idx(folder)


def read_idx(path: Path) -> Source:
    """The pair that `path`, its images file, belongs to; of a folder its training and its test pair.

    Raises
    ------
    ValueError
        A file is missing or damaged, or a pair does not fit; the message names the file.
    """
    if not path.is_dir():
        part = _pair(path)
        return Source(path.name.partition("-images")[0], {"train": part}, _classes(path.parent, part))
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):  # where a file is there twice, gzip and not, the plain one comes first
        match = IMAGES.match(file.name)
        if match:
            found.setdefault("test" if re.search("t10k|test", match["part"]) else "train", file)
    if "train" not in found:
        raise ValueError(f"the data folder must hold train-images-idx3-ubyte, got none in {printable(path)}")
    parts = {name: _pair(file) for name, file in found.items()}
    return Source(path.resolve().name, parts, _classes(path, parts["train"]))


def _classes(folder: Path, part: Labelled) -> tuple[str, ...]:
    return FASHION_MNIST_CLASSES if "fashion" in folder.resolve().name.lower() and part.labels.max() < 10 else ()


def _pair(images: Path) -> Labelled:
    """The images of this file, and the labels of the file that belongs to it."""
    plain = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    labels = next((images.with_name(name) for name in (plain, f"{plain}.gz") if images.with_name(name).is_file()), None)
    if labels is None:
        raise ValueError(f"the labels must lie beside the images, got no {plain} for {printable(images)}")
    part = Labelled(_read(images, 3), _read(labels, 1))
    if len(part.images) != len(part.labels):
        raise ValueError(
            f"images and labels must be equally many, got {len(part.images)} in {printable(images)} and {len(part.labels)} in {printable(labels)}"
        )
    return part


def _read(path: Path, axes: int) -> Array:
    try:
        with files.opened("the data file", path) as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return _array(gzip.GzipFile(fileobj=raw) if packed else raw, axes)
    except ValueError as error:
        raise ValueError(f"the data file must be a whole IDX file, got {printable(path)} ({error})") from None
    except Exception as error:  # gzip and zlib have several kinds for a damaged file
        raise ValueError(f"the data file must be a whole IDX file, got {printable(path)} ({error!r})") from None


def _array(file: IO[bytes] | gzip.GzipFile, axes: int) -> Array:
    head = file.read(4 + 4 * axes)
    if len(head) != 4 + 4 * axes or head[:2] != b"\0\0" or head[2] not in TYPES or head[3] != axes:
        raise ValueError(f"it does not begin as one with {axes} axes")
    shape = tuple(int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4))
    dtype = np.dtype(TYPES[head[2]])
    size = math.prod(shape) * dtype.itemsize
    array: Array | None = None
    start = 0
    while start < size:
        piece = file.read(min(STEP, size - start))
        if not piece:
            raise ValueError(f"it ends after {start} of {size} bytes")
        if array is None:  # only when there is something to be stored
            array = allocate(shape, dtype)
            room = array.reshape(-1).view(np.uint8)
        room[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        start += len(piece)
    if file.read(1):
        raise ValueError(f"it goes on after its {size} bytes")
    return np.empty(shape, dtype) if array is None else array
