"""An error is one line, whatever is in it."""

from __future__ import annotations

import pytest
import typer

from npconv.cli.errors import one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("x must be 1, got 2"), "x must be 1, got 2"),
        (ValueError("got a\nb\x1b[31m\x9b\r"), r"got a\nb\x1b[31m\x9b\r"),
        (MemoryError(), "there is too little memory"),
        (MemoryError("Unable to allocate 3 GiB"), "Unable to allocate 3 GiB"),
    ],
)
def test_the_sentence(capsys: pytest.CaptureFixture[str], error: Exception, line: str) -> None:
    with pytest.raises(typer.Exit) as end, one_line(ValueError, status=2):
        raise error
    assert end.value.exit_code == 2
    assert capsys.readouterr() == ("", f"npconv: {line}\n")


def test_a_defect_stays_one() -> None:
    with pytest.raises(KeyError), one_line(ValueError):
        raise KeyError("foreign")
