"""Augmentation: training images moved, mirrored, turned and coloured at random, each by itself.

Each function takes normalised images (N, C, H, W) and a generator, and gives new images; `parse_augmentation` puts them in a row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npconv.geometry import Array, check_array, check_dtypes, check_rng, fraction, integer, nearest, positive, shown

Augment: TypeAlias = Callable[[Array, np.random.Generator], Array]


def random_shift(images: Array, rng: np.random.Generator, pixels: int = 1) -> Array:
    """Each image (C, H, W) of `images` moved by up to `pixels` rows and columns, edges repeated: a light augmentation.

    Parameters
    ----------
    images : array (N, C, H, W)
        Of any dtype; never modified.
    rng : numpy.random.Generator
    pixels : int

    Returns
    -------
    array (N, C, H, W)
        Of the dtype of images.

    Examples
    --------
    >>> import numpy as np
    >>> random_shift(np.arange(3.0).reshape(1, 1, 1, 3), np.random.default_rng(2))
    array([[[[0., 0., 1.]]]])
    """
    return _moved(images, rng, pixels, "edge")


def pad_crop(images: Array, rng: np.random.Generator, pixels: int = 4) -> Array:
    """Each image padded by `pixels` zeros on every side, its mean colour, and cut out at a random place.

    As CIFAR's images are augmented (He et al., arXiv 1512.03385, section 4.2).

    Parameters
    ----------
    images : array (N, C, H, W)
        Normalised, of any dtype; never modified.
    rng : numpy.random.Generator
    pixels : int

    Returns
    -------
    array (N, C, H, W)
        Of the dtype of images.

    Examples
    --------
    >>> import numpy as np
    >>> pad_crop(np.arange(1.0, 4.0).reshape(1, 1, 1, 3), np.random.default_rng(9), 1)
    array([[[[2., 3., 0.]]]])
    """
    return _moved(images, rng, pixels, "constant")


def _moved(images: Array, rng: np.random.Generator, pixels: int, mode: str) -> Array:
    pixels, rng = integer("pixels", pixels, minimum=0), check_rng(rng)
    count, _, height, width = check_array("images", images, "NCHW")
    down, right = rng.integers(0, 2 * pixels + 1, size=(2, count))
    around = (0, 0), (pixels, pixels), (pixels, pixels), (0, 0)
    padded = np.pad(images.transpose(0, 2, 3, 1), around, mode=mode)  # type: ignore[call-overload]
    every_shift = sliding_window_view(padded, (height, width), axis=(1, 2))  # (N, down, right, C, H, W), no copy
    return _map(every_shift.transpose(0, 1, 2, 4, 5, 3)[np.arange(count), down, right])


def flip(images: Array, rng: np.random.Generator) -> Array:
    """Each image mirrored, left for right, with probability 1/2.

    Parameters
    ----------
    images : array (N, C, H, W)
        Of any dtype; never modified.
    rng : numpy.random.Generator

    Returns
    -------
    array (N, C, H, W)
        Of the dtype of images.

    Examples
    --------
    >>> import numpy as np
    >>> flip(np.arange(3.0).reshape(1, 1, 1, 3), np.random.default_rng(3)).ravel()
    array([2., 1., 0.])
    """
    count, rng = check_array("images", images, "NCHW")[0], check_rng(rng)
    mirrored = rng.random(count) < 0.5
    made = images.transpose(0, 2, 3, 1).copy()
    made[mirrored] = made[mirrored, :, ::-1]
    return _map(made)


def rotate(images: Array, rng: np.random.Generator, degrees: float = 15.0) -> Array:
    """Each image turned about its middle by up to `degrees` to either side, between its pixels linear, edges repeated.

    Parameters
    ----------
    images : array (N, C, H, W)
        float32 or float64; never modified.
    rng : numpy.random.Generator
    degrees : float

    Returns
    -------
    array (N, C, H, W)
        Of the dtype of images.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.ones((1, 1, 3, 3))
    >>> bool((rotate(x, np.random.default_rng(0)) == x).all())
    True
    """
    degrees, rng = positive("degrees", degrees, zero=True), check_rng(rng)
    if degrees > 180:
        raise ValueError(f"degrees must be at most 180, got degrees={degrees}")
    check_dtypes([("images", images)])
    count, _, height, width = check_array("images", images, "NCHW")
    angle = np.radians(rng.uniform(-degrees, degrees, size=count)).astype(images.dtype)[:, None, None]
    rows = np.arange(height, dtype=images.dtype)[:, None] - (height - 1) / 2
    columns = np.arange(width, dtype=images.dtype) - (width - 1) / 2
    # where each pixel of the turned image is read: the rotation by the opposite angle
    row = np.clip(np.cos(angle) * rows - np.sin(angle) * columns + (height - 1) / 2, 0, height - 1)
    column = np.clip(np.sin(angle) * rows + np.cos(angle) * columns + (width - 1) / 2, 0, width - 1)
    top, left = np.floor(row).astype(np.intp), np.floor(column).astype(np.intp)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, along = (row - top).astype(images.dtype)[..., None], (column - left).astype(images.dtype)[..., None]
    pixels, n = images.transpose(0, 2, 3, 1), np.arange(count)[:, None, None]
    # a + t (b - a) gives a again where a and b are equal, which (1 - t) a + t b does not
    upper = pixels[n, top, left] + along * (pixels[n, top, right] - pixels[n, top, left])
    lower = pixels[n, bottom, left] + along * (pixels[n, bottom, right] - pixels[n, bottom, left])
    return _map(upper + down * (lower - upper))


def color(images: Array, rng: np.random.Generator, strength: float = 0.2) -> Array:
    """Each image brighter or darker, with more or less contrast and, of three channels, more or less colour.

    Brightness moves by up to `strength` standard deviations of the data, the others are scaled by 1 - strength to 1 + strength.

    Parameters
    ----------
    images : array (N, C, H, W)
        Normalised; float32 or float64, never modified.
    rng : numpy.random.Generator
    strength : float

    Returns
    -------
    array (N, C, H, W)
        Of the dtype of images.

    Examples
    --------
    >>> import numpy as np
    >>> color(np.zeros((1, 1, 1, 2)), np.random.default_rng(0), 0.0).ravel()
    array([0., 0.])
    """
    strength, rng = fraction("strength", strength), check_rng(rng)
    check_dtypes([("images", images)])
    count, channels, _, _ = check_array("images", images, "NCHW")
    brightness, contrast, saturation = rng.uniform(-strength, strength, size=(3, count, 1, 1, 1)).astype(images.dtype)
    pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1))  # else the means would depend on the memory order
    if channels == 3:
        grey = pixels.mean(axis=3, keepdims=True)
        pixels = grey + (1 + saturation) * (pixels - grey)
    middle = pixels.mean(axis=(1, 2, 3), keepdims=True)
    return _map(middle + (1 + contrast) * (pixels - middle) + brightness)


def _map(pixels: Array) -> Array:
    """Images (N, H, W, C) as (N, C, H, W), channels-last in memory."""
    return np.ascontiguousarray(pixels).transpose(0, 3, 1, 2)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Augmentations one after the other, each a function and its setting; None where it has none.

    Attributes
    ----------
    steps : tuple of (function, number or None)
        Each is called as ``function(images, rng, number)``, or without a number where that is None.

    Examples
    --------
    >>> import numpy as np
    >>> Augmentation(((random_shift, 0),))(np.ones((1, 1, 2, 2)), np.random.default_rng(0)).shape
    (1, 1, 2, 2)
    """

    steps: tuple[tuple[Callable[..., Array], float | None], ...]

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        for function, setting in self.steps:
            images = function(images, rng) if setting is None else function(images, rng, setting)
        return images


AUGMENTATIONS: dict[str, Callable[..., Array]] = {
    "shift": random_shift,
    "pad-crop": pad_crop,
    "flip": flip,
    "rotate": rotate,
    "color": color,
}


def parse_augmentation(text: str) -> Augmentation | None:
    """What ``"shift=1,flip,rotate=10"`` says: names of augmentations, each with its setting where one is given.

    Parameters
    ----------
    text : str

    Returns
    -------
    Augmentation, or None where the text is "none"

    Raises
    ------
    ValueError
        Another name, or a setting that is none.

    Examples
    --------
    >>> [function.__name__ for function, _ in parse_augmentation("flip,rotate=10").steps]
    ['flip', 'rotate']
    """
    if not isinstance(text, str):
        raise TypeError(f"augment must be a text, got {shown(text)}")
    if text == "none":
        return None
    steps: list[tuple[Callable[..., Array], float | None]] = []
    for word in text.split(","):
        name, equals, value = word.strip().partition("=")
        if name not in AUGMENTATIONS:
            raise ValueError(
                f"augment must be none or some of {', '.join(AUGMENTATIONS)}, got {name!r}{nearest(name, AUGMENTATIONS)}"
            )
        function = AUGMENTATIONS[name]
        setting: float | None = None
        if equals:
            try:
                setting = int(value) if function in (random_shift, pad_crop) else float(value)
            except ValueError:
                raise ValueError(f"augment must have numbers such as rotate=10, got {word!r}") from None
            if function is flip:
                raise ValueError(f"flip has no setting, got {word!r}")
        Augmentation(((function, setting),))(np.zeros((1, 1, 1, 1), np.float32), np.random.default_rng(0))  # checks it
        steps.append((function, setting))
    return Augmentation(tuple(steps))
