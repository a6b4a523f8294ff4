"""A folder of pictures: one folder inside it for each class, or one for each part with those of the classes inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npconv.data.pictures import fitted, look, open_picture, picture_files
from npconv.data.source import Labelled, Source
from npconv.data.storage import allocate
from npconv.geometry import Array
from npconv.printable import printable

PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
         "test": "test", "testing": "test"}  # fmt: skip
LARGEST_SIDE = 96  # of pictures that are taken as they are
SIDE = 64  # of those that are larger, or of several sizes


def read_folder(path: Path, size: tuple[int, int] | None = None, channels: int | None = None) -> Source:
    """The pictures of a folder of classes; folders ``train``, ``validation`` and ``test`` are parts with classes inside.

    Parameters
    ----------
    path : folder
    size : (rows, columns), optional
        What all pictures are scaled and cut to. By default their own, where that is the same for all and at most 96, else 64.
    channels : 1 or 3, optional
        Grey or colour. By default colour where a picture has colours.

    Raises
    ------
    ValueError
        There are fewer than two classes, a class without pictures, or a file that is no whole picture; the message names it.
    """
    inside = _folders(path)
    parts = {PARTS[folder.name.lower()]: folder for folder in inside if folder.name.lower() in PARTS}
    if parts and len(parts) == len(inside):
        if "train" not in parts:
            raise ValueError(
                f"the data folder must hold a folder train beside {', '.join(parts)}, got none in {printable(path)}"
            )
    else:
        parts = {"train": path}
    found = {name: _classes(folder) for name, folder in parts.items()}
    files = [file for listed in found.values() for file, _ in listed]
    shape = measured(files, size, channels)
    made = {
        name: pictures([file for file, _ in listed], [label for _, label in listed], shape)
        for name, listed in found.items()
    }
    return Source(path.resolve().name, made, white=255.0)


def measured(files: Sequence[Path], size: tuple[int, int] | None, channels: int | None) -> tuple[int, int, int]:
    """The (rows, columns, channels) that pictures of these files get."""
    sizes, colours = set(), False
    for file in files:
        one, colour = look(file)
        sizes.add(one)
        colours |= colour
    if size is None:
        only = next(iter(sizes))
        size = only if len(sizes) == 1 and max(only) <= LARGEST_SIDE else (SIDE, SIDE)
    return (*size, channels if channels in (1, 3) else 3 if colours else 1)


def pictures(files: Sequence[Path], labels: Sequence[str], shape: tuple[int, int, int]) -> Labelled:
    """The pictures of these files, scaled and cut to the shape (rows, columns, channels)."""
    images: Array = allocate((len(files), *shape), np.uint8)
    for place, file in enumerate(files):
        images[place] = fitted(open_picture(file, shape[2]), shape[:2], path=file)
    return Labelled(images.transpose(0, 3, 1, 2), np.array(labels))


def _folders(path: Path) -> list[Path]:
    return sorted(inside for inside in path.iterdir() if inside.is_dir() and not inside.name.startswith("."))


def _classes(path: Path) -> list[tuple[Path, str]]:
    """(file, name of its class) of all pictures."""
    listed = [(folder, picture_files(folder)) for folder in _folders(path)]
    if len(listed) < 2:
        raise ValueError(
            f"the data folder must hold a folder of pictures for each class, got {len(listed)} in {printable(path)}"
        )
    for folder, files in listed:
        if not files:
            raise ValueError(f"each class must have pictures, got none in {printable(folder)}")
    return [(file, folder.name) for folder, files in listed for file in files]
