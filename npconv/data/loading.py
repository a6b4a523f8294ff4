"""One function for data of any kind: by name, or found out from the file or the folder."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from npconv import files
from npconv.data.cifar import is_cifar, read_cifar
from npconv.data.dataset import Dataset, Part, digits, from_source, normalised
from npconv.data.folders import read_folder
from npconv.data.idx import fashion_mnist, is_idx, read_idx
from npconv.data.labels import numbered
from npconv.data.npz import read_npz
from npconv.data.source import Labelled, Source
from npconv.data.storage import planar
from npconv.data.tables import read_csv
from npconv.geometry import Array
from npconv.printable import printable

NAMES = ("digits", "fashion-mnist")
KINDS = (
    "an .npz file, an IDX pair (its images file, or the folder), a CIFAR folder, "
    "a CSV file, or a folder with a folder of pictures for each class"
)


def load(
    data: str | PathLike[str],
    *,
    validation: str | PathLike[str] | None = None,
    test: str | PathLike[str] | None = None,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> Dataset:
    """A data set by its name, or from a file or a folder whose kind shows in its contents.

    Parameters
    ----------
    data : str or path
        "digits"; "fashion-mnist", where Debian's package `dataset-fashion-mnist` is installed; an .npz of arrays as
        `from_arrays` takes them, ``images`` and ``labels``, or ``x_train``, ``y_train``, ``x_test``, ``y_test``; a pair of IDX
        files, as of MNIST; the folder of CIFAR-10 or CIFAR-100, binary or pickled; a folder of pictures by class; a CSV file.
    validation, test : path, optional
        Where these parts are, if not in `data`: of any of these kinds.
    seed : int
        Decides which images are split off for the parts that are nowhere.
    size : (rows, columns), optional
        What pictures are scaled and cut to.

    Returns
    -------
    Dataset

    Raises
    ------
    ImportError
        A package is missing that reads these data.
    ValueError, TypeError
        No such name or file, a damaged or unknown one, or other contents than `from_arrays` takes; the message names the file.

    Examples
    --------
    >>> load("digits").classes
    10
    """
    if isinstance(data, str) and data == "digits":
        if validation is not None or test is not None:
            raise ValueError("validation and test must not be given with digits, which are split by the seed")
        return digits(seed)
    source = _source(data, size)
    first = source.parts["train"].images
    for name, path in (("validation", validation), ("test", test)):
        if path is not None:
            other = _source(path, size or _size(first))
            source = source._replace(parts={**source.parts, name: _whole(other, source)})
    try:
        return from_source(source, seed=seed)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{printable(data)}: {error}") from None


def load_all(
    data: str | PathLike[str],
    *,
    class_names: Sequence[str],
    mean: Array,
    std: Array,
    size: tuple[int, int] | None = None,
) -> Part:
    """All images of a data set, of whatever part, for a network that learned from other data.

    Parameters
    ----------
    data : str or path
        A file or folder, as for `load`, or "fashion-mnist".
    class_names : sequence of str
        The network's: labels get their numbers by these names, where the data has names.
    mean, std : array (C,)
        The network's, by which the images are normalised.
    size : (rows, columns), optional
        The network's, to which pictures are scaled and cut.

    Returns
    -------
    Part

    Raises
    ------
    ValueError, TypeError
        As by `load`, and where a class is none of the network's.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/new.npz", images=np.zeros((3, 2, 2)), labels=np.array([0, 1, 1]))
    ...     load_all(f"{folder}/new.npz", class_names=("a", "b"), mean=np.zeros(1), std=np.ones(1)).images.shape
    (3, 1, 2, 2)
    """
    source = _source(data, size)
    images, labels = _whole(source, source)
    images = planar(images)
    if images.shape[1] != len(mean):
        raise ValueError(
            f"images must have {len(mean)} channels for this network, got {images.shape[1]} in {printable(data)}"
        )
    (numbers,), names = numbered([labels], [len(images)], source.class_names)
    if not set(names) <= set(class_names):
        if not all(name.isdecimal() for name in names):
            unknown = next(name for name in names if name not in class_names)
            raise ValueError(f"classes must be among {', '.join(class_names)}, got {unknown!r} in {printable(data)}")
        names = tuple(class_names[: len(names)])  # numbers, of which the data has no names
    places = np.array([class_names.index(name) for name in names])
    return Part(normalised(images, np.arange(len(images)), mean, std), places[numbers])


def _whole(other: Source, source: Source) -> Labelled:
    """All images of another file, as one part; its labels are names where those of `source` are."""
    if source.class_names and other.class_names and source.class_names != other.class_names:
        raise ValueError(f"{other.name} must have the classes of {source.name}, got others")
    parts = list(other.parts.values())
    if len(parts) == 1:
        return parts[0]
    return Labelled(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _size(images: Array) -> tuple[int, int]:
    """(rows, columns) of pictures (N, C, H, W)."""
    return images.shape[-2], images.shape[-1]


def _source(data: str | PathLike[str], size: tuple[int, int] | None) -> Source:
    if isinstance(data, str) and data == "fashion-mnist" and not Path(data).exists():
        return fashion_mnist()
    path = files.as_path("data", data)
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise ValueError(f"the data must be {', '.join(NAMES)}, or a file or folder that exists, got {str(data)!r}")
    try:
        if is_idx(path):
            return read_idx(path)
        if path.is_dir():
            return read_cifar(path) if is_cifar(path) else read_folder(path, size)
        if path.suffix.lower() in (".csv", ".tsv"):
            return read_csv(path, size)
        if path.suffix.lower() == ".npz" or zipfile.is_zipfile(path):
            return read_npz(path)
    except OSError as error:
        raise ValueError(f"the data must be readable, got {error.filename} ({error.strerror})") from None
    raise ValueError(f"the data must be {KINDS}, got {printable(path)}")
