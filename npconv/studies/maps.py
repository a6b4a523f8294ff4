"""What feature maps are like: how well one of them is predicted from another, and where a picture's energy lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from npconv.geometry import Array, check_array, integer
from npconv.nn import Layer, watch_layers


def pair_errors(maps: Array, kernel: int) -> Array:
    """How badly the best d x d depthwise filter predicts each map from the map that predicts it best.

    The filter is that of least squares, over all images and pixels. GhostNet's toy experiment (arXiv 1911.11907, section
    4.1, table 1) has the mean squared error of hand-picked pairs; here each map is divided by its variance and gets the
    best of all others.

    Parameters
    ----------
    maps : array (N, C, H, W)
        Of at least two channels.
    kernel : int
        The odd size d of the filter.

    Returns
    -------
    array (C,)
        The share of each map's variance that is left, 0 for a map that is a filtered copy of another.

    Raises
    ------
    ValueError, TypeError
        Fewer than two channels, an even kernel.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 1, 6, 6))
    >>> pair_errors(np.concatenate([x, 2 * x], axis=1), 1).round(9)
    array([0., 0.])
    """
    channels = check_array("maps", maps, "NCHW")[1]
    if integer("kernel", kernel, minimum=1) % 2 == 0:
        raise ValueError(f"kernel must be odd, got kernel={kernel}")
    if channels < 2:
        raise ValueError(f"maps must have at least two channels, got {channels}")
    maps = maps.astype(np.float64)
    border = kernel // 2
    padded = np.pad(maps, ((0, 0), (0, 0), (border, border), (border, border)))
    windows = sliding_window_view(padded, (kernel, kernel), axis=(2, 3))  # (N, C, H, W, d, d)
    targets = maps.transpose(1, 0, 2, 3).reshape(channels, -1)
    variances = targets.var(axis=1)
    errors = np.full((channels, channels), np.inf)
    for source in range(channels):
        taps = windows[:, source].reshape(targets.shape[1], -1)
        taps = np.concatenate([taps, np.ones((len(taps), 1))], axis=1)  # a bias: only differences count
        filters = np.linalg.lstsq(taps, targets.T, rcond=None)[0]
        left = np.square(taps @ filters - targets.T).mean(axis=0)
        errors[source] = left / np.maximum(variances, 1e-12)
        errors[source, source] = np.inf
    errors[:, variances < 1e-12] = np.nan  # a map that is the same everywhere has nothing to predict
    return errors.min(axis=0)


def maps_of(network: Layer, path: str, images: Array) -> Array:
    """The output of the layer at `path` for these images, in evaluation mode."""
    wanted = dict(network.named_layers())[path]
    kept: list[Any] = []

    def watch(layer: Layer, forward: Callable[[Any], Any], x: Any) -> Any:
        y = forward(x)
        if layer is wanted:
            kept.append(y)
        return y

    with watch_layers(watch):
        network.eval()(images)
    return kept[0]


def band_energies(image: Array, bands: int = 32) -> tuple[Array, Array]:
    """How a picture (H, W) divides its energy over frequency, as Drop an Octave's premise has it (arXiv 1904.05049, figure 1).

    Parameters
    ----------
    image : array (H, W)
        Of any dtype of numbers.
    bands : int of at least 1

    Returns
    -------
    (frequencies, energies) : arrays (bands,) of float64
        The middle of each band in cycles per pixel, up to 1/2, and the share of the energy, that of the mean left out.

    Raises
    ------
    ValueError
        No picture of two axes, bands below 1.

    Examples
    --------
    >>> x = np.cos(2 * np.pi * 0.25 * np.arange(64)) * np.ones((64, 1))
    >>> frequencies, energies = band_energies(x, 8)
    >>> frequencies[energies.argmax()], energies.max().round(6)
    (np.float64(0.28125), np.float64(1.0))
    """
    bands = integer("bands", bands, minimum=1)
    if image.ndim != 2:
        raise ValueError(f"image must have 2 axes, got {image.ndim}")
    spectrum = np.abs(np.fft.fft2(image - image.mean())) ** 2
    rows, columns = (np.fft.fftfreq(side) for side in image.shape)
    radius = np.hypot(rows[:, None], columns)
    edges = np.linspace(0, 0.5, bands + 1)
    place = np.minimum(np.digitize(radius, edges) - 1, bands - 1)
    energies = np.bincount(place.ravel(), spectrum.ravel(), minlength=bands)
    return (edges[:-1] + edges[1:]) / 2, energies / max(energies.sum(), 1e-300)
