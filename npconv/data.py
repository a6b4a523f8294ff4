"""Images to learn from: scikit-learn's digits, a user's own .npz, the split into three parts, batches, augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npconv.geometry import Array, check_array, check_shape, integer

VALIDATION, TEST = 0.1, 0.2  # of the images of each class; training gets the rest


class Part(NamedTuple):
    """Images (N, C, H, W), float32 and normalised, and their labels (N,), int64."""

    images: Array
    labels: Array


class Dataset(NamedTuple):
    """Labelled images in three disjoint parts, normalised by `mean` and `std` (C,), the training images' own.

    New images are prepared for a network that learned from it by ``(image - mean[:, None, None]) / std[:, None, None]``.
    """

    name: str
    classes: int
    train: Part
    validation: Part
    test: Part
    mean: Array
    std: Array


def digits(seed: int = 0) -> Dataset:
    """The 1,797 handwritten digits of 8x8 pixels that scikit-learn brings along, as x (N, 1, 8, 8) in 10 classes.

    Parameters
    ----------
    seed : int
        Decides which image is in which part, and nothing else. Results compare as long as it stays.

    Raises
    ------
    ImportError
        scikit-learn is not installed.

    Notes
    -----
    The test part of UCI's Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998).

    Examples
    --------
    >>> [part.images.shape for part in (digits().train, digits().validation, digits().test)]
    [(1259, 1, 8, 8), (179, 1, 8, 8), (359, 1, 8, 8)]
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError(
            "the digits come with scikit-learn, got no such package: pip install 'npconv[train]'"
        ) from None
    bunch = load_digits()
    return from_arrays(bunch.images, bunch.target, name="digits", seed=seed)


def load_npz(path: str | PathLike[str], *, seed: int = 0) -> Dataset:
    """The arrays ``images`` and ``labels`` of a file that `numpy.savez` wrote, as `from_arrays` takes them.

    The data set is named after the file. Nothing is unpickled, so a file of unknown origin can do no harm.

    Raises
    ------
    ValueError, TypeError
        The file is missing, is no whole .npz, lacks an array, or an array is not what `from_arrays` takes; the message
        names the file and the array.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"the data must be a file that exists, got {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("images", "labels") if name in arrays}
    except Exception as error:  # NumPy and zipfile have a dozen kinds for a damaged file, all meaning the same
        raise ValueError(f"the data file must be a whole .npz of plain arrays, got {path} ({error})") from None
    for name in ("images", "labels"):
        if name not in found:
            raise ValueError(f"the data file must hold the arrays 'images' and 'labels', got no {name!r} in {path}")
    try:
        return from_arrays(found["images"], found["labels"], name=path.stem, seed=seed)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{path}: {error}") from None


def from_arrays(images: Array, labels: Array, *, name: str, seed: int) -> Dataset:
    """Split labelled images into 70 % for training, 10 % for validation and 20 % for testing, and normalise them.

    Parameters
    ----------
    images : array (N, H, W) or (N, C, H, W)
        Integers or floats of any range; never modified.
    labels : int array (N,)
        Class numbers 0 to K - 1. Each class is split by itself, so that all parts have the same mixture, and needs at
        least 3 images, one for each part.
    name : str
        What reports and run folders call the data.
    seed : int
        Decides which image is in which part.

    Raises
    ------
    TypeError
        Images that are no numbers, or labels that are no integers.
    ValueError
        Shapes that do not fit, images that are all alike or hold a NaN or an infinity, a class with too few images.
    """
    images, classes = _checked(images, labels)
    rng = np.random.default_rng(integer("seed", seed, minimum=0))
    train, validation, test = _split(labels, classes, rng)
    mean = images[train].mean(axis=(0, 2, 3), dtype=np.float64).astype(np.float32)
    std = images[train].std(axis=(0, 2, 3), dtype=np.float64).astype(np.float32)
    if not std.all():
        raise ValueError(f"images must vary in each channel, got the standard deviations {std.tolist()}")
    images = (images - mean[:, None, None]) / std[:, None, None]

    def part(index: Array) -> Part:
        return Part(images[index], labels[index].astype(np.int64))

    return Dataset(name, classes, part(train), part(validation), part(test), mean, std)


def _checked(images: Array, labels: Array) -> tuple[Array, int]:
    """`images` as float32 (N, C, H, W), and the number of classes."""
    if isinstance(images, np.ndarray) and images.ndim == 3:
        images = images[:, None]
    count, channels, _, width = check_array("images", images, "NCHW")
    if not np.issubdtype(images.dtype, np.integer) and not np.issubdtype(images.dtype, np.floating):
        raise TypeError(f"images must be integers or floats, got dtype {images.dtype}")
    if width in (1, 3) and channels > 4:
        raise ValueError(f"images must be (N, C, H, W), got {images.shape}, where the channels seem to be last")
    check_shape("labels", labels, (count,), "one class number per image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels must be integers, got dtype {labels.dtype}")
    if count == 0:
        raise ValueError("images must hold at least one image, got none")
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(
            f"labels must be class numbers 0 to K - 1, got {labels.min()} to {labels.max()} on {count} images"
        )
    sizes = np.bincount(labels)
    if sizes.min() < 3 or len(sizes) < 2:
        raise ValueError(
            "labels must be of at least 2 classes, each with at least 3 images, "
            f"got {sizes.min()} images of class {sizes.argmin()} in {len(sizes)} classes"
        )
    with np.errstate(over="ignore"):
        images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise ValueError(f"images must be finite in float32, got {np.count_nonzero(~np.isfinite(images))} that are not")
    return images, len(sizes)


def _split(labels: Array, classes: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Indices of the training, validation and test images, in the order of the data; every class is in each part."""
    parts: tuple[list[Array], list[Array], list[Array]] = [], [], []
    for label in range(classes):
        members = rng.permutation(np.flatnonzero(labels == label))
        validation = max(1, round(VALIDATION * len(members)))
        test = max(1, round(TEST * len(members)))
        for part, chosen in zip(parts, np.split(members, [-test - validation, -test]), strict=True):
            part.append(chosen)
    train, validation_part, test_part = (np.sort(np.concatenate(part)) for part in parts)
    return train, validation_part, test_part


def batches(
    images: Array, labels: Array, batch: int, *, rng: np.random.Generator | None = None
) -> Iterator[tuple[Array, Array]]:
    """(images, labels) in parts of at most `batch`, shuffled by `rng`, or in order where that is None.

    The parts differ by at most one image: a last part of a single image would break batch normalisation.

    >>> import numpy as np
    >>> [labels.tolist() for _, labels in batches(np.zeros((5, 1, 2, 2)), np.arange(5), 4)]
    [[0, 1, 2], [3, 4]]
    """
    order = np.arange(len(images)) if rng is None else rng.permutation(len(images))
    count = batch_count(len(images), batch)
    return ((images[part], labels[part]) for part in np.array_split(order, max(count, 1)))


def batch_count(images: int, batch: int) -> int:
    """How many batches of at most `batch` images `batches` makes of this many images."""
    return -(-images // integer("batch", batch, minimum=1))


def random_shift(images: Array, rng: np.random.Generator, pixels: int = 1) -> Array:
    """Each image (C, H, W) of `images` moved by up to `pixels` rows and columns, edges repeated: a light augmentation.

    >>> import numpy as np
    >>> random_shift(np.arange(3.0).reshape(1, 1, 1, 3), np.random.default_rng(2))
    array([[[[0., 0., 1.]]]])
    """
    pixels = integer("pixels", pixels, minimum=0)
    count, _, height, width = check_array("images", images, "NCHW")
    padded = np.pad(images, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)), mode="edge")
    every_shift = sliding_window_view(padded, (height, width), axis=(2, 3))  # (N, C, down, right, H, W), no copy
    down, right = rng.integers(0, 2 * pixels + 1, size=(2, count))
    return every_shift[np.arange(count), :, down, right]
