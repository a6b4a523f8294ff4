"""Text of foreign origin, made harmless before it is printed: names of files, labels, what exceptions say.

Imports nothing else of npconv.
"""

from __future__ import annotations

import unicodedata


def printable(text: object, keep: str = "") -> str:
    r"""`text`, as a string, with every character that prints no sign of its own escaped, as Python would write it.

    Control characters can hide or forge what a terminal shows, and some turn the direction of the text around them; half of a
    surrogate pair, as in a file name that is no UTF-8, cannot be printed at all. Spaces stay, and so do the characters in `keep`.

    >>> print(printable("a\x1b[2Jb"), printable("größe 東"), printable("\u202edoc"), printable("\udcff"))
    a\x1b[2Jb größe 東 \u202edoc \udcff
    >>> printable("one\ntwo"), printable("one\ntwo", keep="\n")
    ('one\\ntwo', 'one\ntwo')
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        character if _is_shown(character) or character in keep else _escaped(character) for character in text
    )


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
