"""What two studies find besides accuracies: in the maps of a network that was trained, and in a photograph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from npconv.data import Dataset
from npconv.geometry import Array
from npconv.nn import Sequential
from npconv.studies.maps import band_energies, maps_of, pair_errors

KERNELS = (1, 3, 5, 7)  # of the filters that predict one map from another
IMAGES = 64  # whose maps are looked at
LAYER = "block1"  # whose output they are


class Finding(NamedTuple):
    """Lines of a diagram, and what they say.

    Attributes
    ----------
    title, xlabel, ylabel : str
    lines : mapping of str to (x, y)
        By their labels; arrays of equal length.
    sentence : str
    logarithmic : bool
        Whether the y axis is.
    """

    title: str
    xlabel: str
    ylabel: str
    lines: Mapping[str, tuple[Array, Array]]
    sentence: str
    logarithmic: bool = False


def predicted_maps(networks: Mapping[str, Sequential], dataset: Dataset) -> Finding:
    """GhostNet's toy experiment, on the plain network that was trained: how well one map is predicted from another.

    Parameters
    ----------
    networks : mapping of str to Sequential
        Trained ones by the labels of their variants.
    dataset : Dataset

    Returns
    -------
    Finding

    Raises
    ------
    KeyError
        The plain network is missing.

    Notes
    -----
    `pair_errors` has the details; the paper is arXiv 1911.11907, table 1.

    Examples
    --------
    >>> from npconv import data, models
    >>> untrained = models.tiny_resnet(rng=np.random.default_rng(0))
    >>> list(predicted_maps({"s = 1, plain": untrained}, data.digits()).lines)
    ['d = 1', 'd = 3', 'd = 5', 'd = 7']
    """
    maps = maps_of(networks["s = 1, plain"], LAYER, dataset.test.images[:IMAGES])
    errors = {kernel: np.sort(pair_errors(maps, kernel)) for kernel in KERNELS}
    listed = ", ".join(f"{np.nanmedian(error):.2f} with d = {kernel}" for kernel, error in errors.items())
    return Finding(
        title="one map predicted from another",
        xlabel="share of the maps",
        ylabel="share of the variance that is left",
        lines={f"d = {kernel}": (np.linspace(0, 1, len(error)), error) for kernel, error in errors.items()},
        sentence=f"of the maps of {LAYER}, a d x d filter of the best other map leaves this share of the variance (median): {listed}",
    )


def photograph_energies(networks: Mapping[str, Sequential], dataset: Dataset) -> Finding:
    """Where the energy of a photograph of scikit-learn lies, and that of its half-size version; no network is looked at.

    Parameters
    ----------
    networks : mapping of str to Sequential
    dataset : Dataset
        Both are those of the study.

    Returns
    -------
    Finding

    Raises
    ------
    ImportError
        scikit-learn is not installed.

    Notes
    -----
    The premise of Drop an Octave (arXiv 1904.05049), figure 1.

    Examples
    --------
    >>> from npconv import data
    >>> list(photograph_energies({}, data.digits()).lines)
    ['photograph', 'what half the size keeps', 'what it loses']
    """
    from sklearn.datasets import load_sample_image

    image = load_sample_image("china.jpg")[:420, :640].mean(axis=2) / 255
    low = image.reshape(210, 2, 320, 2).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1)
    frequencies, whole = band_energies(image)
    total = float(np.square(image - image.mean()).sum())
    parts = {"photograph": whole, "what half the size keeps": band_energies(low)[1] * np.square(low - low.mean()).sum() / total,
             "what it loses": band_energies(image - low)[1] * np.square(image - low).sum() / total}  # fmt: skip
    below = float(whole[frequencies < 0.25].sum())
    return Finding(
        title="energy of a photograph",
        xlabel="cycles per pixel",
        ylabel="share of the energy",
        lines={label: (frequencies, energies) for label, energies in parts.items()},
        sentence=f"{below:.1%} of the photograph's energy lies below a quarter of a cycle per pixel, which half the size can show",
        logarithmic=True,
    )


FINDINGS: dict[str, Callable[[Mapping[str, Sequential], Dataset], Finding]] = {
    "ghost": predicted_maps,
    "octave": photograph_energies,
}
"""By the names of their studies."""
