"""One function for data of any kind: by name, or found out from the file or the folder."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from os import PathLike

import numpy as np

from npconv import files
from npconv.data.cifar import is_cifar, read_cifar
from npconv.data.dataset import Dataset, Part, checked, from_source, normalised, read_digits, white_of
from npconv.data.folders import read_folder
from npconv.data.idx import fashion_mnist, is_idx, read_idx
from npconv.data.labels import numbered, renumbered
from npconv.data.npz import read_npz
from npconv.data.source import Labelled, Source
from npconv.data.storage import allocate, chunks, planar
from npconv.data.tables import read_csv
from npconv.geometry import Array, IntOrPair, nearest, pair, shown
from npconv.printable import printable

NAMES: dict[str, Callable[[], Source]] = {"digits": read_digits, "fashion-mnist": fashion_mnist}
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
    size: IntOrPair | None = None,
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
    size : int or (rows, columns), optional
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
    source = read(data, size)
    try:
        if validation is not None or test is not None:
            source = _with_names(source)
            source = source._replace(
                white=source.white or white_of(checked(part.images) for part in source.parts.values())
            )
    except (ValueError, TypeError) as error:
        raise type(error)(f"{printable(data)}: {error}") from None
    for name, path in (("validation", validation), ("test", test)):
        if path is not None:
            channels, *own = planar(source.parts["train"].images).shape[1:]
            other = _whole(read(path, size or (own[0], own[1]), channels), source.class_names, source.white, path)
            source = source._replace(parts={**source.parts, name: other})
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
    white: float | None = None,
    size: IntOrPair | None = None,
) -> Part:
    """All images of a data set, of whatever part, for a network that learned from other data.

    Parameters
    ----------
    data : str or path
        A name, a file or a folder, as for `load`.
    class_names : sequence of str
        The network's: labels get their numbers by these names, where the data has names.
    mean, std : array (C,)
        The network's, by which the images are normalised.
    white : float, optional
        What a white pixel was in the images that the network learned from; pictures are scaled to it.
    size : int or (rows, columns), optional
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
    images, labels = _whole(read(data, size, len(mean)), class_names, white, data)
    images = planar(images)
    if images.shape[1] != len(mean):
        raise ValueError(
            f"images must have {len(mean)} channels for this network, got {images.shape[1]} in {printable(data)}"
        )
    return Part(normalised(images, np.arange(len(images)), mean, std), labels)


def _with_names(source: Source) -> Source:
    """The source with labels that are class numbers, and names for all of them."""
    parts = source.parts
    counts = [len(part.images) for part in parts.values()]
    numbers, names = numbered([part.labels for part in parts.values()], counts, source.class_names)
    made = {name: part._replace(labels=own) for (name, part), own in zip(parts.items(), numbers, strict=True)}
    return source._replace(parts=made, class_names=names)


def _whole(other: Source, class_names: Sequence[str], white: float | None, data: str | PathLike[str]) -> Labelled:
    """All images of other data as one part, with labels that are numbers of `class_names`.

    Where both are known, what is white in them becomes what is white for the network.
    """
    parts = list(other.parts.values())
    images, labels = (
        parts[0] if len(parts) == 1 else Labelled(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    )
    try:
        labels = renumbered(labels, len(images), other.class_names, class_names)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{printable(data)}: {error}") from None
    if white is None or other.white in (None, white):
        return Labelled(images, labels)
    scaled = allocate(images.shape, np.float32)
    for some in chunks(len(images)):
        scaled[some] = images[some] * np.float32(white / other.white)
    return Labelled(scaled, labels)


def read(data: str | PathLike[str], size: IntOrPair | None = None, channels: int | None = None) -> Source:
    """What is there by this name, or in this file or folder.

    Pictures get `size` and 1 or 3 `channels`, where these are given; ValueError where other images have not that size.

    >>> read("digits").parts["train"].images.shape
    (1797, 8, 8)
    """
    if not isinstance(data, str | PathLike):
        raise TypeError(f"the data must be a name, or the path of a file or folder, got {shown(data)}")
    size = None if size is None else pair("size", size, minimum=1)
    source = _read_kind(data, size, channels)
    if size is not None:
        for part in source.parts.values():
            rows, columns = planar(part.images).shape[2:]
            if (rows, columns) != size:
                raise ValueError(
                    f"images must be {size[0]}x{size[1]}, got {rows}x{columns} in {printable(data)}: only picture files are scaled"
                )
    return source


def _read_kind(data: str | PathLike[str], size: tuple[int, int] | None, channels: int | None) -> Source:
    if isinstance(data, str) and data in NAMES:
        return NAMES[data]()
    path = files.as_path("data", data)
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise ValueError(
            f"the data must be {', '.join(NAMES)}, or a file or folder that exists, got {str(data)!r}{nearest(str(data), NAMES)}"
        )
    try:
        if is_idx(path):
            return read_idx(path)
        if path.is_dir():
            return read_cifar(path) if is_cifar(path) else read_folder(path, size, channels)
        if path.suffix.lower() in (".csv", ".tsv"):
            return read_csv(path, size, channels)
        if path.suffix.lower() == ".npz" or zipfile.is_zipfile(path):
            return read_npz(path)
    except OSError as error:
        raise ValueError(f"the data must be readable, got {error.filename} ({error.strerror})") from None
    raise ValueError(f"the data must be {KINDS}, got {printable(path)}")
