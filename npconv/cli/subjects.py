"""The subjects of `npconv check`: those that are named on the command line, and those that are known by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from npconv.cli.console import print_table
from npconv.geometry import one_of
from npconv.printable import printable

if TYPE_CHECKING:  # it loads half of npconv, which no other command needs
    from npconv.check.isolation import Isolated


def isolated(
    subjects: list[str], ops: list[str], backward: str | None, timeout: float, device: str | None
) -> Iterator[Isolated]:
    """The subjects, none of them started."""
    from npconv.check.adapters import known
    from npconv.check.hard import OPERATORS
    from npconv.check.isolation import Isolated

    if not subjects:
        raise ValueError(f"SUBJECT must be given: module:function, or one of {', '.join(known())}")
    for op in ops:
        one_of("--op", op, OPERATORS)
    functions = [name for name in subjects if ":" in name]
    if functions and len(ops) != 1:
        raise ValueError(f"--op must name the one operator that {functions[0]} is, got {', '.join(ops) or 'none'}")
    if backward is not None and len(functions) != 1:
        raise ValueError(f"--backward goes with one function of yours, got {len(functions)}")
    for name in dict.fromkeys(subjects):
        if name in functions:
            yield Isolated(name, op=ops[0], backward=backward, timeout=timeout, device=device)
        else:
            yield Isolated(name, timeout=timeout, device=device)


def print_adapters(console: Console) -> None:
    """Every adapter with its framework's version, or why there is none."""
    from npconv.check.adapters import known
    from npconv.check.isolation import Isolated

    table = Table("name", "framework", "version", "operators", box=None, pad_edge=False)
    for name in known():
        with console.status(escape(printable(f"loading {name}"))), Isolated(name) as subject:
            try:
                told = subject.describe()
            except ImportError as error:
                table.add_row(name, "", "", str(error).partition(": ")[2], style="dim")
                continue
        backward = sum("backward" in directions for directions in told.directions.values())
        table.add_row(name, told.name, told.version, f"{len(told.directions)} forward, {backward} backward")
    print_table(console, table)
