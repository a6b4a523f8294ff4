"""A data set: labelled images in three parts, normalised, with the names of their classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from npconv.data.labels import numbered
from npconv.data.source import Labelled, Source
from npconv.data.storage import allocate, chunks, planar
from npconv.geometry import Array, integer

VALIDATION, TEST = 0.1, 0.2  # of the images of each class; training gets the rest
WHITES = 1.0, 16.0, 255.0, 65535.0  # what a white pixel counts: floats, scikit-learn's digits, 8 and 16 bits


class Part(NamedTuple):
    """Normalised images and their labels.

    Attributes
    ----------
    images : array (N, C, H, W)
        float32, channels-last in memory.
    labels : array (N,)
        int64.
    """

    images: Array
    labels: Array


class Dataset(NamedTuple):
    """Labelled images in three disjoint parts, normalised by the training images' own mean and standard deviation.

    New images are prepared for a network that learned from it by ``(image - mean[:, None, None]) / std[:, None, None]``.

    Attributes
    ----------
    name : str
    classes : int
    train, validation, test : Part
    mean, std : array (C,)
        float32.
    class_names : tuple of str
        One for each class.
    white : float
        What a white pixel counts before normalisation.
    """

    name: str
    classes: int
    train: Part
    validation: Part
    test: Part
    mean: Array
    std: Array
    class_names: tuple[str, ...]
    white: float


def digits(seed: int = 0) -> Dataset:
    """The 1,797 handwritten digits of 8x8 pixels that scikit-learn brings along, as x (N, 1, 8, 8) in 10 classes.

    Parameters
    ----------
    seed : int
        Decides which image is in which part, and nothing else. Results compare as long as it stays.

    Returns
    -------
    Dataset

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
    return from_source(read_digits(), seed=seed)


def read_digits() -> Source:
    """The digits as they come: what is white in them counts 16."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError(
            "the digits come with scikit-learn, got no such package: pip install 'npconv[train]'"
        ) from None
    bunch = load_digits()
    return Source("digits", {"train": Labelled(bunch.images, bunch.target)}, white=16.0)


def from_arrays(
    images: Array,
    labels: Array,
    *,
    name: str = "images",
    seed: int = 0,
    class_names: Sequence[str] = (),
    validation: tuple[Array, Array] | None = None,
    test: tuple[Array, Array] | None = None,
) -> Dataset:
    """Split labelled images into 70 % for training, 10 % for validation and 20 % for testing, and normalise them.

    Parameters
    ----------
    images : array (N, H, W), (N, C, H, W) or (N, H, W, C)
        Integers or floats of any range; never modified. The channels are last where the last axis has at most 4 places and
        the second one more.
    labels : array (N,), (N, 1) or (N, K)
        Class numbers 0 to K - 1 or 1 to K, names, or rows with a single 1. Each class is split by itself, so that all parts
        have the same mixture, and needs an image for each part that is split off, and one to learn from.
    name : str
        What reports and run folders call the data.
    seed : int
        Decides which image is in which part.
    class_names : sequence of str
        Of class numbers, by default "0", "1", ...
    validation, test : (images, labels), optional
        Parts that are already set apart. Without a validation part, a tenth of the others is split off for it.

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError
        Images that are no numbers, or labels that are neither integers nor names.
    ValueError
        Shapes that do not fit, images that are all alike or hold a NaN or an infinity, a class with too few images.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).normal(size=(20, 6, 6, 3))
    >>> from_arrays(images, np.array(["cat", "dog"] * 10), name="pets", seed=0).train.images.shape
    (14, 3, 6, 6)
    """
    parts = {"train": Labelled(images, labels)}
    for place, part in (("validation", validation), ("test", test)):
        if part is not None:
            if not (isinstance(part, tuple | list) and len(part) == 2):
                raise TypeError(f"{place} must be (images, labels), got {type(part).__name__}")
            parts[place] = Labelled(*part)
    return from_source(Source(name, parts, tuple(class_names)), seed=seed)


def from_source(source: Source, *, seed: int) -> Dataset:
    """The data set that `source` holds.

    Parameters
    ----------
    source : Source
    seed : int
        Decides which images are split off for the parts that it does not have.

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        As by `from_arrays`.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv.data import Labelled, Source
    >>> images, labels = np.arange(20.0 * 4).reshape(20, 2, 2), np.arange(20) % 2
    >>> from_source(Source("squares", {"train": Labelled(images, labels)}), seed=0).train.images.shape
    (14, 1, 2, 2)
    """
    rng = np.random.default_rng(integer("seed", seed, minimum=0))
    pixels = {name: checked(part.images) for name, part in source.parts.items()}
    train = pixels["train"]
    for name, array in pixels.items():
        if array.shape[1:] != train.shape[1:]:
            sizes = ["x".join(map(str, one.shape[1:])) for one in (train, array)]
            raise ValueError(f"images must have one size, got {sizes[0]} for training and {sizes[1]} for {name}")
    given, counts = [part.labels for part in source.parts.values()], [len(images) for images in pixels.values()]
    numbers, class_names = numbered(given, counts, source.class_names)
    labels = dict(zip(pixels, numbers, strict=True))
    shares = {"validation": VALIDATION, "test": TEST}
    index = _split(
        labels["train"], class_names, {name: share for name, share in shares.items() if name not in pixels}, rng
    )
    mean, std = _moments(train, index["train"])
    if not std.all():
        same = ", ".join(map(str, np.flatnonzero(std == 0)))
        raise ValueError(
            f"images must vary in each channel, got one number everywhere in channel {same} of {len(std)}: leave it out"
        )

    def part(name: str) -> Part:
        if name in index:
            return Part(normalised(train, index[name], mean, std), labels["train"][index[name]])
        return Part(normalised(pixels[name], np.arange(len(pixels[name])), mean, std), labels[name])

    white = source.white or white_of(pixels.values())
    made = part("train"), part("validation"), part("test")
    return Dataset(source.name, len(class_names), *made, mean, std, class_names, white)


def checked(images: Array) -> Array:
    """A view of `images` as (N, C, H, W), of finite numbers."""
    images = planar(images)
    count = len(images)
    if images.dtype.kind not in "iuf":
        fix = ": images.astype(np.uint8) makes numbers of them" if images.dtype == bool else ""
        raise TypeError(f"images must be integers or floats, got dtype {images.dtype}{fix}")
    if count == 0:
        raise ValueError("images must hold at least one image, got none")
    if images.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = sum(np.count_nonzero(~np.isfinite(images[part].astype(np.float32))) for part in chunks(count))
        if bad:
            raise ValueError(f"images must be finite in float32, got {bad} numbers that are not")
    return images


def _split(
    labels: Array, class_names: Sequence[str], shares: dict[str, float], rng: np.random.Generator
) -> dict[str, Array]:
    """The indices of the training images and of each part with one of `shares`, in the order of the data.

    Every class is in each part.
    """
    classes = len(class_names)
    sizes = np.bincount(labels, minlength=classes)
    least = 1 + len(shares)
    if classes < 2 or sizes.min() < least:
        raise ValueError(
            f"labels must be of at least 2 classes, each with at least {least} images, "
            f"got {sizes.min()} images of class {class_names[int(sizes.argmin())]} in {classes} classes"
        )
    parts: dict[str, list[Array]] = {"train": [], **{name: [] for name in shares}}
    for label in range(classes):
        left = rng.permutation(np.flatnonzero(labels == label))
        for name, share in reversed(shares.items()):
            count = max(1, round(share * sizes[label]))
            parts[name].append(left[len(left) - count :])
            left = left[: len(left) - count]
        parts["train"].append(left)
    return {name: np.sort(np.concatenate(chosen)) for name, chosen in parts.items()}


def _moments(images: Array, index: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (C,) of the chosen images, in two sweeps and in float64, rounded once."""
    numbers = len(index) * images[0, 0].size
    mean = sum(images[index[part]].sum(axis=(0, 2, 3), dtype=np.float64) for part in chunks(len(index))) / numbers
    var = sum(np.square(images[index[part]] - mean[:, None, None]).sum(axis=(0, 2, 3)) for part in chunks(len(index)))
    return mean.astype(np.float32), np.sqrt(var / numbers).astype(np.float32)


def normalised(images: Array, index: Array, mean: Array, std: Array) -> Array:
    """The chosen images, float32, channels-last in memory."""
    _, channels, height, width = images.shape
    made = allocate((len(index), height, width, channels), np.float32)
    for part in chunks(len(index)):
        made[part] = (images[index[part]].transpose(0, 2, 3, 1).astype(np.float32) - mean) / std
    return made.transpose(0, 3, 1, 2)


def white_of(parts: Iterable[Array]) -> float:
    """What a white pixel counts: the least of `WHITES` that no number is above, or else the brightest one."""
    brightest = float(max(array.max() for array in parts))
    return next((white for white in WHITES if brightest < white * (1 + 1e-5)), brightest)
