"""A CSV file: each row is a class and the path of a picture, or a class and the pixels of one."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from npconv.data.folders import PARTS, measured, pictures
from npconv.data.source import Labelled, Source

LABELS, FILES, SPLITS = (
    {"label", "class", "target", "category", "y"},
    {"path", "file", "filename", "image"},
    {"split", "part", "set"},
)


def read_csv(path: Path, size: tuple[int, int] | None = None, channels: int | None = None) -> Source:
    """The rows of a CSV file.

    With a first line of names, the columns are found by them: ``label`` (or class, target, category), ``path`` (or file,
    filename, image) or else pixels, and ``split`` where the file says which part a row belongs to. Without one, a row of two
    is (path, label), and a longer one is a label and its pixels, as MNIST is given away. Pixels are those of a square, grey or
    red, green and blue one plane after the other. Paths are relative to the file's folder.

    Raises ValueError, with the line, where a row does not fit.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            first = next(lines, None)
            if not first:
                raise ValueError(f"the data file must have rows, got none in {path}")
            names = [cell.strip().lower() for cell in first]
            named = bool(LABELS & set(names))
            rows = [(lines.line_num, row) for row in lines if row]
            if not named:
                rows.insert(0, (1, first))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"the data file must be a CSV file in UTF-8, got {path} ({error})") from None
    if not rows:
        raise ValueError(f"the data file must have rows, got none in {path}")
    label, split, others = _columns(names if named else None, len(first))
    for number, row in rows:
        if len(row) != len(first):
            raise ValueError(f"each row must have {len(first)} cells, got {len(row)} in line {number} of {path}")
    parts: dict[str, list[tuple[int, list[str]]]] = {}
    for number, row in rows:
        part = "train" if split is None else PARTS.get(row[split].strip().lower())
        if part is None:
            raise ValueError(
                f"split must be train, validation or test, got {row[split or 0]!r} in line {number} of {path}"
            )
        parts.setdefault(part, []).append((number, row))
    if "train" not in parts:
        raise ValueError(f"split must say train for some rows, got none in {path}")
    if len(others) == 1:
        return _of_files(path, parts, label, others[0], size, channels)
    return Source(path.stem, {name: _of_pixels(path, listed, label, others) for name, listed in parts.items()})


def _columns(names: list[str] | None, count: int) -> tuple[int, int | None, list[int]]:
    """The columns of the label, of the split, and the others: that of the path, or those of the pixels."""
    if names is None:
        return (1, None, [0]) if count == 2 else (0, None, list(range(1, count)))
    label = next(place for place, name in enumerate(names) if name in LABELS)
    split = next((place for place, name in enumerate(names) if name in SPLITS), None)
    file = next((place for place, name in enumerate(names) if name in FILES), None)
    others = [place for place in range(count) if place not in (label, split)]
    return label, split, others if file is None else [file]


def _of_files(
    path: Path,
    parts: dict[str, list[tuple[int, list[str]]]],
    label: int,
    file: int,
    size: tuple[int, int] | None,
    channels: int | None,
) -> Source:
    found: dict[str, list[Path]] = {}
    for name, rows in parts.items():
        found[name] = [path.parent / row[file].strip() for _, row in rows]
        for (number, _), one in zip(rows, found[name], strict=True):
            if not one.is_file():
                raise ValueError(f"each path must be a file that exists, got {one} in line {number} of {path}")
    shape = measured([one for files in found.values() for one in files], size, channels)
    made = {name: pictures(found[name], [row[label].strip() for _, row in rows], shape) for name, rows in parts.items()}
    return Source(path.stem, {name: _numbers(part) for name, part in made.items()}, white=255.0)


def _of_pixels(path: Path, rows: list[tuple[int, list[str]]], label: int, pixels: list[int]) -> Labelled:
    side, channels = math.isqrt(len(pixels)), 1
    if side * side != len(pixels):
        side, channels = math.isqrt(len(pixels) // 3), 3
    if channels * side * side != len(pixels) or side == 0:
        raise ValueError(
            f"the pixels of a row must be those of a square, grey or in three colours, got {len(pixels)} in {path}"
        )
    images = np.empty((len(rows), len(pixels)), np.float32)
    for place, (number, row) in enumerate(rows):
        try:
            images[place] = [float(row[column]) for column in pixels]
        except ValueError as error:
            raise ValueError(f"pixels must be numbers, got another cell in line {number} of {path} ({error})") from None
    labels = np.array([row[label].strip() for _, row in rows])
    return _numbers(Labelled(images.reshape(-1, channels, side, side), labels))


def _numbers(part: Labelled) -> Labelled:
    """Labels that all are whole numbers as integers: then 10 comes after 9, and not after 1."""
    try:
        return part._replace(labels=part.labels.astype(np.int64))
    except ValueError:
        return part
