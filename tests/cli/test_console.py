"""What is printed is text: no markup, no control characters."""

from __future__ import annotations

import pytest
from rich.table import Table

from npconv.cli.console import line_console, table_console


@pytest.mark.parametrize("make", [line_console, table_console])
def test_foreign_text_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], make) -> None:
    console = make()
    console.print("[bold]red[/bold] \x1b[31m \u202e 12\nnext\tline")
    table = Table("label\x07")
    table.add_row("[red]a\x1b]0;title\x07")
    console.print(table)
    out = capsys.readouterr().out
    assert out.startswith("[bold]red[/bold] \\x1b[31m \\u202e 12\nnext")
    assert "label\\x07" in out
    assert "[red]a\\x1b]0;title\\x07" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
