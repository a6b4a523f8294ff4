"""`npconv config`: what would run here."""

from __future__ import annotations

from npconv import backends, files
from npconv.cli.console import line_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, OutFile, write_json


def config(as_json: AsJson = False, out: OutFile = None) -> None:
    """Print versions, backend, threads, threading layer, cache folder and vector width."""
    with one_line(ValueError, ImportError, OSError):
        files.check_target("--out", out)
        found = backends.configuration()
        write_json(found, as_json, out)
    if not as_json:
        for label, value in found.items():
            line_console().print(f"{label:<16} {value}")
