"""Words that must be one of a few, on the command line: what is meant by a misspelt one is suggested."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from npconv.models import NETWORKS


def one_of(argument: str, given: str, known: Iterable[str]) -> str:
    """`given`, which is among `known`; ValueError otherwise, with the nearest names and then all of them.

    >>> one_of("OP", "conv2d", ["conv2d", "linear"])
    'conv2d'
    >>> one_of("OP", "conf2d", ["conv2d", "linear"])
    Traceback (most recent call last):
        ...
    ValueError: OP must be one of conv2d, linear, got 'conf2d'; did you mean conv2d?
    """
    names = list(known)
    if given in names:
        return given
    near = difflib.get_close_matches(given.replace("-", "_").lower(), names, n=3, cutoff=0.6)
    near += [name for name in names if given and given.lower() in name and name not in near][:3]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"{argument} must be one of {', '.join(names)}, got {given!r}{hint}")


def network_name(argument: str, given: str) -> str:
    """The name of a network of `npconv.models.NETWORKS`.

    >>> network_name("MODEL", "mobilenet_v1")
    'mobilenet_v1'
    """
    return one_of(argument, given, sorted(NETWORKS))
