"""Foreign text is shown and never obeyed."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from npconv.printable import printable


@pytest.mark.slow
def test_every_character_is_shown_or_escaped() -> None:
    """All of Unicode: what is left prints a sign of its own or is a space, can be encoded, and comes back by its escape."""
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        shown = printable(character)
        shown.encode("utf-8")
        if shown == character:
            assert unicodedata.category(character)[0] not in "C", hex(number)
            assert unicodedata.category(character) not in ("Zl", "Zp"), hex(number)
        else:
            assert shown.isascii()
            assert shown.encode("ascii").decode("unicode_escape") == character


def test_spaces_and_what_is_kept() -> None:
    assert printable("a b\u3000c") == "a b\u3000c"
    assert printable("a\tb\nc\x07", keep="\t\n") == "a\tb\nc\\x07"
