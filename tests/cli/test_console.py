"""Tables in narrow windows: what tells the rows apart stays, and what is left out is said."""

from __future__ import annotations

import io
import re

import pytest
from commands import call
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from npconv.cli.console import line_console, print_table, table_console
from npconv.cli.summary import SPARE, _layers
from npconv.models import NETWORKS
from npconv.papers import PAPERS, judge
from npconv.papers.walks import Walk


def printed(table: Table, width: int, *spare: str) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    print_table(console, table, spare=spare)
    return console.file.getvalue().splitlines()


def example() -> Table:
    table = Table("name", "much", "more", box=None, pad_edge=False)
    table.add_row("a long name, one", "1" * 10, "2" * 10)
    table.add_row("a long name, two", "3" * 10, "4" * 10)
    return table


def test_a_wide_window_shows_everything() -> None:
    assert [" ".join(line.split()) for line in printed(example(), 60, "much")] == [
        "name much more",
        "a long name, one 1111111111 2222222222",
        "a long name, two 3333333333 4444444444",
    ]


def test_a_narrow_one_leaves_out_what_is_spare_and_says_so() -> None:
    lines = printed(example(), 30, "much")
    assert [line.split() for line in lines[:2]] == [["name", "more"], ["a", "long", "name,", "one", "2222222222"]]
    assert " ".join(line.strip() for line in lines[3:]) == "(a wider window shows much too; --json has everything)"


def test_the_first_column_is_never_cut_off() -> None:
    lines = printed(example(), 14, "much", "more")
    assert "".join(line.strip() for line in lines[1:3]).replace(" ", "") == "alongname,one"


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("network", sorted({*NETWORKS} - {"oct_resnet152_v1f", "conv_mobilenet"}))
def test_every_layer_of_every_summary_is_told_apart(network: str, width: int) -> None:
    cost = Walk.of(network).cost()
    lines = printed(_layers(cost, every=False), width, *SPARE)
    assert max(map(len, lines)) <= width
    names = [layer.layer for layer in cost.layers if layer.cost.macs]
    text = "\n".join(lines)
    assert all(f"\n{name} " in text for name in names)
    assert all(f"{layer.cost.macs:,}" in text for layer in cost.layers if layer.cost.macs)


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("paper", PAPERS)
def test_every_figure_of_every_paper_fits(paper: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    _, text, _ = call("tables", paper)
    table = text.partition("(a wider window")[0]
    assert max(map(len, table.splitlines())) <= width
    for row in PAPERS[paper].rows:
        assert re.search(rf" {re.escape(row.published)}( {re.escape(row.unit)})? ", table)
        computed = judge(row).computed
        assert row.unit == "%" or f" {int(computed):,}" in table


words = st.text("xy ", max_size=30)


@given(st.lists(st.tuples(words, words, st.integers(0, 10**12)), min_size=1, max_size=5), st.integers(14, 90))
def test_nothing_is_cut_off(rows: list[tuple[str, str, int]], width: int) -> None:
    table = Table("first", "second", box=None, pad_edge=False)
    table.add_column("number", justify="right")
    for *texts, number in rows:
        table.add_row(*texts, str(number))
    lines = printed(table, width)
    assert max(map(len, lines)) <= max(width, 14)
    letters = sorted("".join(text for row in rows for text in row[:2]).replace(" ", ""))
    assert sorted(re.sub("[^xy]", "", "".join(lines[1:]))) == letters
    if width >= 60:
        assert all(re.search(rf"\b{number}\b", "\n".join(lines)) for *_, number in rows)


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
