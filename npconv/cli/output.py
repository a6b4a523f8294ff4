"""What every command does with its result: text, or JSON with --json, and JSON in a file with -o."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from npconv import files

AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON instead of text.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write everything as JSON into this file, too.")
]


def write_json(told: Any, as_json: bool, out: Path | None) -> None:
    """`told` as JSON: to standard output where that was asked for, and to the file where one was named."""
    text = json.dumps(told, indent=2, default=lambda array: array.tolist())
    if out is not None:
        files.write(out, text + "\n")
    if as_json:
        print(text)
