"""A CSV file: each row is a class and the path of a picture, or a class and the pixels of one."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npconv import files
from npconv.data.folders import PARTS, measured, pictures
from npconv.data.source import Labelled, Source
from npconv.data.storage import allocate
from npconv.geometry import Array
from npconv.printable import printable

LONGEST_LINE = 1 << 24  # characters
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
        with files.opened("the data file", path) as stream:
            return _parsed(path, csv.reader(_lines(io.TextIOWrapper(stream, "utf-8-sig", newline=""))), size, channels)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"the data file must be a CSV file in UTF-8, got {printable(path)} ({error})") from None


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a file, in which none is longer than those of images are."""
    while line := text.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise csv.Error(f"a line has more than {LONGEST_LINE} characters")
        yield line


class _Part(NamedTuple):
    """The rows of one part: the lines they are in, their labels, and the cells that are a path, or the pixels."""

    lines: list[int]
    labels: list[str]
    cells: list[Any]


def _parsed(path: Path, lines: Any, size: tuple[int, int] | None, channels: int | None) -> Source:
    """What `read_csv` returns, of the `lines` that a reader gives: of none more is kept than is needed of it."""
    first = next(lines, None)
    if not first:
        raise ValueError(f"the data file must have rows, got none in {printable(path)}")
    names = [cell.strip().lower() for cell in first]
    named = bool(LABELS & set(names))
    label, split, others = _columns(names if named else None, len(first))
    parts: dict[str, _Part] = {}
    for row in lines if named else itertools.chain([first], lines):
        if not row:
            continue
        where = f"line {lines.line_num} of {printable(path)}"
        if len(row) != len(first):
            raise ValueError(f"each row must have {len(first)} cells, got {len(row)} in {where}")
        name = "train" if split is None else PARTS.get(row[split].strip().lower())
        if name is None:
            raise ValueError(f"split must be train, validation or test, got {row[split or 0]!r} in {where}")
        part = parts.setdefault(name, _Part([], [], []))
        part.lines.append(lines.line_num)
        part.labels.append(row[label].strip())
        part.cells.append(row[others[0]].strip() if len(others) == 1 else _pixels(row, others, where))
    if not parts:
        raise ValueError(f"the data file must have rows, got none in {printable(path)}")
    if "train" not in parts:
        raise ValueError(f"split must say train for some rows, got none in {printable(path)}")
    if len(others) == 1:
        return _of_files(path, parts, size, channels)
    shape = _shape(path, len(others))
    return Source(path.stem, {name: _of_pixels(part, shape) for name, part in parts.items()})


def _columns(names: list[str] | None, count: int) -> tuple[int, int | None, list[int]]:
    """The columns of the label, of the split, and the others: that of the path, or those of the pixels."""
    if names is None:
        return (1, None, [0]) if count == 2 else (0, None, list(range(1, count)))
    label = next(place for place, name in enumerate(names) if name in LABELS)
    split = next((place for place, name in enumerate(names) if name in SPLITS), None)
    file = next((place for place, name in enumerate(names) if name in FILES), None)
    others = [place for place in range(count) if place not in (label, split)]
    return label, split, others if file is None else [file]


def _pixels(row: list[str], columns: list[int], where: str) -> Array:
    """The pixels of a row, in a tenth of the memory that their cells take."""
    try:
        with np.errstate(over="ignore"):
            pixels = np.array([float(row[column]) for column in columns], np.float32)
    except ValueError as error:
        raise ValueError(f"pixels must be numbers, got another cell in {where} ({error})") from None
    return pixels


def _of_files(path: Path, parts: dict[str, _Part], size: tuple[int, int] | None, channels: int | None) -> Source:
    found = {name: [path.parent / cell for cell in part.cells] for name, part in parts.items()}
    for name, part in parts.items():
        for number, one in zip(part.lines, found[name], strict=True):
            if not one.is_file():
                raise ValueError(
                    f"each path must be a file that exists, got {printable(one)} in line {number} of {printable(path)}"
                )
    shape = measured([one for some in found.values() for one in some], size, channels)
    made = {name: _numbers(pictures(found[name], part.labels, shape)) for name, part in parts.items()}
    return Source(path.stem, made, white=255.0)


def _shape(path: Path, count: int) -> tuple[int, int, int]:
    """(channels, rows, columns) of an image of so many pixels."""
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side and channels * side * side == count:
            return channels, side, side
    raise ValueError(
        f"the pixels of a row must be those of a square, grey or in three colours, got {count} in {printable(path)}"
    )


def _of_pixels(part: _Part, shape: tuple[int, int, int]) -> Labelled:
    images: Array = allocate((len(part.cells), *shape), np.float32)
    for place, pixels in enumerate(part.cells):
        images[place] = pixels.reshape(shape)
    return _numbers(Labelled(images, np.array(part.labels)))


def _numbers(part: Labelled) -> Labelled:
    """Labels that all are whole numbers as integers: then 10 comes after 9, and not after 1."""
    try:
        return part._replace(labels=part.labels.astype(np.int64))
    except ValueError:
        return part
