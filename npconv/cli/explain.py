"""`npconv explain`: an operator's formulas, where its gradients come from, what it costs, and an example with numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from npconv import files
from npconv.cli.console import WIDE, table_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, OutFile, write_json
from npconv.cli.words import completion
from npconv.explain import EXPLANATIONS, Explanation
from npconv.geometry import Array, one_of

GAP = "    "  # between two arrays on a line


def explain(
    op: Annotated[
        str, typer.Argument(metavar="OP", help="An operator, such as conv2d.", autocompletion=completion(EXPLANATIONS))
    ],
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Explain an operator: formulas, where the gradients come from, what it costs, and an example in small numbers.

    The numbers are computed, and those of each formula, term by term, are those of npconv.
    """
    with one_line(ValueError, OSError):
        told = EXPLANATIONS[one_of("OP", op, EXPLANATIONS)]
        files.check_target("--out", out)
        write_json(_described(told), as_json, out)
    if as_json:
        return
    console = table_console()
    console.print(f"{told.op}: {told.idea}\n")
    whole = (
        not console.is_terminal and console.width == WIDE
    )  # no breaks where there is no window that lines have to fit
    for formula in told.formulas:
        console.print(str(formula) if whole else _indented(str(formula), console.width), soft_wrap=True)
    console.print("\nWhere the gradients come from")
    for number, line in enumerate(told.derivation, start=1):
        console.print(_indented(f"{number}. {line}", console.width), soft_wrap=True)
    console.print("\nWhat it costs")
    counted = f"{told.cost}; of the example: " if told.cost else "multiply-accumulates of the example: "
    console.print(f"{counted}{told.macs()}")
    letters = ", ".join(f"{name} = {value:g}" for name, value in told.letters.items())
    console.print(f"\nAn example{', with ' + letters if letters else ''}")
    arrays = [(name, value) for name, value in told.values().items() if name not in told.letters]
    for line in side_by_side(arrays, console.width):
        console.print(line, soft_wrap=True)
    console.print("gives")
    for line in side_by_side([(formula.name, value) for formula, value in told.computed()], console.width):
        console.print(line, soft_wrap=True)
    console.print(f"\nSource: {told.source}. The code: npconv show {told.op}")


def _indented(text: str, width: int) -> str:
    """The text in lines that fit, those after the first indented, so that the eye finds where the next one begins."""
    return "\n".join(textwrap.wrap(text, width, subsequent_indent="   ", break_on_hyphens=False))


def side_by_side(arrays: Iterable[tuple[str, Array]], width: int) -> list[str]:
    """Arrays of few numbers as matrices beside each other, as many as fit; channels and images below each other."""
    lines: list[str] = []
    row: list[list[str]] = []
    for name, array in arrays:
        block = _block(name, array)
        if row and sum(len(one[0]) + len(GAP) for one in [*row, block]) > width:
            lines += [*_joined(row), ""]
            row = []
        row.append(block)
    return [*lines, *_joined(row)] if row else lines


def _block(name: str, array: Array) -> list[str]:
    """One array: its name, and a matrix for each of its first indices; all lines are of one length."""
    matrices = array.reshape(-1, *array.shape[-2:]) if array.ndim > 2 else array.reshape(1, 1, -1)
    if array.ndim == 4 and array.shape[2:] == (1, 1):  # channels alone: in a row
        matrices = array.reshape(1, array.shape[0], array.shape[1])
    texts = [[[f"{number + 0.0:.4g}" for number in row] for row in matrix] for matrix in matrices]
    wide = max((len(text) for matrix in texts for row in matrix for text in row), default=0)
    lines = [name]
    for number, matrix in enumerate(texts):
        lines += [""] * (number > 0) + [" ".join(text.rjust(wide) for text in row) for row in matrix]
    longest = max(map(len, lines))
    return [line.ljust(longest) for line in lines]


def _joined(blocks: list[list[str]]) -> list[str]:
    height = max(map(len, blocks))
    filled = [block + [" " * len(block[0])] * (height - len(block)) for block in blocks]
    return [GAP.join(parts).rstrip() for parts in zip(*filled, strict=True)]


def _described(told: Explanation) -> dict[str, Any]:
    return {
        "op": told.op,
        "idea": told.idea,
        "formulas": [str(formula) for formula in told.formulas],
        "derivation": list(told.derivation),
        "cost": told.cost,
        "macs": told.macs(),
        "example": {name: getattr(value, "tolist", lambda v=value: v)() for name, value in told.values().items()},
        "results": {formula.name: value.tolist() for formula, value in told.computed()},
        "source": told.source,
    }
