"""The command line: one file per command, and `main`, which runs also where the extra that it needs is missing."""

from __future__ import annotations

import importlib.util
import sys

EXTRA = ("typer", "rich", "matplotlib", "sklearn", "safetensors")  # what `pip install "npconv[train]"` brings


def main() -> None:
    """Run the command that the process was started with, and end the process."""
    if any(importlib.util.find_spec(package) is None for package in EXTRA):
        print('npconv\'s command line needs its extra: pip install "npconv[train]"', file=sys.stderr)
        sys.exit(2)  # as for whatever else cannot be carried out: see `npconv.cli.errors`
    try:
        from npconv.cli.app import app

        app(prog_name="npconv")
    except KeyboardInterrupt:
        sys.exit(130)
