"""Tables in narrow windows: what tells the rows apart stays, and what is left out is said."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from npconv.cli.console import print_table
from npconv.cli.summary import SPARE, _layers
from npconv.models import NETWORKS
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
