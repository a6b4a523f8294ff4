"""`npconv config`: what would run here."""

from __future__ import annotations

from npconv.backends import show_config
from npconv.cli.errors import one_line


def config() -> None:
    """Print versions, backend, threads, threading layer, cache folder and vector width."""
    with one_line(ValueError, ImportError):
        show_config()
