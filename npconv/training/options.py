"""Options of a network and sizes of an image, as they are written on the command line."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from typing import Any

from npconv.geometry import integer, shown

LONGEST_LITERAL = 200  # characters: Python's parser can be made to run out of its stack


def parse_options(texts: Sequence[str], **given: Any) -> dict[str, Any]:
    """The options in NAME=VALUE `texts`, and those `given` by a name of their own, unless they are None; none of them twice."""
    options = {name: value for name, value in given.items() if value is not None}
    for name, value in map(_parse_option, texts):
        if name in options:
            raise ValueError(f"an option must be given once, got {name} twice")
        options[name] = value
    return options


def _parse_option(text: str) -> tuple[str, Any]:
    """NAME=VALUE: numbers, true, false, none and (a, b) are what they look like, anything else is a string."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"--option must be NAME=VALUE, got {shown(text)}")
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return name, words[value.lower()]
    if len(value) > LONGEST_LITERAL:
        return name, value
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, about numbers that it nearly cannot read
            literal = ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return name, value
    if not isinstance(literal, int | float | str | tuple):
        raise ValueError(f"--option must be a number, a word or a tuple, got {shown(text)}")
    return name, literal


def parse_size(text: str) -> tuple[int, int]:
    """PIXELS, of a square, or ROWSxCOLUMNS."""
    rows, by, columns = text.partition("x")
    try:
        size = int(rows), int(columns if by else rows)
    except ValueError:
        raise ValueError(f"--size must be pixels such as 224 or 49x10, got {shown(text)}") from None
    return integer("--size", size[0], minimum=1), integer("--size", size[1], minimum=1)
