"""`npconv cases`: problems with their right results as files, for programs that cannot call Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from npconv.cli.errors import one_line
from npconv.cli.words import completion
from npconv.geometry import integer, one_of

DTYPES = "float16", "float32", "float64"


def cases(
    op: Annotated[
        str,
        typer.Argument(
            metavar="OP", help="The operator, such as conv2d.", autocompletion=completion("npconv.check.hard:OPERATORS")
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder; it is made.")],
    count: Annotated[
        int, typer.Option("--cases", help="How many cases, each of whole numbers and of real ones.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Of the cases.")] = 0,
    dtype: Annotated[
        str, typer.Option(help=f"Of all arrays: {', '.join(DTYPES)}.", autocompletion=completion(DTYPES))
    ] = "float32",
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="npy, safetensors, or onnx: the layout of ONNX's own tests of backends.",
            autocompletion=completion("npconv.check.golden_formats:FORMATS"),
        ),
    ] = "npy",
) -> None:
    """Write problems of an operator, right results and gradients, and how far each number may be off, as files.

    A program of any language reads them, writes its own results beside them, and npconv check --results DIR judges these.
    problems.txt has a line for each problem, manifest.json all of it; examples/golden has readers in C and in Rust.
    """
    with one_line(ValueError, TypeError, OSError, ImportError, status=2):
        from npconv.check import golden
        from npconv.check.golden_formats import FORMATS
        from npconv.check.hard import OPERATORS

        one_of("OP", op, OPERATORS)
        one_of("--dtype", dtype, DTYPES)
        one_of("--format", format_, FORMATS)
        integer("--cases", count, minimum=1)
        integer("--seed", seed, minimum=0)
        written = golden.write(op, out, cases=count, seed=seed, dtype=dtype, format=format_)
    print(f"{written} problems of {op} in {out}")
