"""What a file or a folder holds, before it is split and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from npconv.geometry import Array


class Labelled(NamedTuple):
    """Images and their labels, as they were found.

    Attributes
    ----------
    images : array (N, H, W), (N, C, H, W) or (N, H, W, C)
        Of numbers of any kind.
    labels : array (N,), (N, 1) or (N, K)
        Of any kind that `numbered` takes.
    """

    images: Array
    labels: Array


class Source(NamedTuple):
    """Labelled images as they were found.

    Attributes
    ----------
    name : str
        What reports and run folders call the data.
    parts : mapping of str to Labelled
        "train", and "validation" and "test" where the data itself sets them aside.
    class_names : tuple of str
        By class number; empty where the labels themselves are the names.
    white : float, optional
        What a white pixel counts, where it is known.
    """

    name: str
    parts: Mapping[str, Labelled]
    class_names: tuple[str, ...] = ()
    white: float | None = None
