"""The words that arguments and options take: what a shell completes, and the check of those with commas between."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable
from typing import Any

from npconv.geometry import nearest


def completion(known: Iterable[str] | str, *, several: bool = False) -> Callable[[str], list[str]]:
    """What a shell completes where one of the words `known` goes, or `several` of them with commas between.

    The text ``module:name`` stands for the words in that module. It is imported when somebody completes, and not before.
    Where no word fits, the shell completes files by itself.

    >>> completion(["exact", "bound"])("b")
    ['bound']
    >>> completion(["exact", "bound"], several=True)("exact,")
    ['exact,bound']
    """

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        taken = before.split(",") if comma else []
        found = _imported(known) if isinstance(known, str) else known
        return [before + comma + word for word in found if word.startswith(last) and word not in taken]

    return complete


def _imported(place: str) -> Iterable[str]:
    """The words at ``module:name``: a collection, or a function that makes one."""
    module, _, name = place.partition(":")
    found = getattr(importlib.import_module(module), name)
    words: Iterable[str] = found() if callable(found) else found
    return words


def some(option: str, given: str, known: Collection[Any]) -> tuple[Any, ...]:
    """The words with commas between that were given, each of them known, and each once."""
    chosen = tuple(dict.fromkeys(word.strip() for word in given.split(",")))
    for word in chosen:
        if word not in known:
            raise ValueError(f"{option} must be some of {', '.join(known)}, got {word!r}{nearest(word, known)}")
    return chosen
