"""What tests of several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from trainings import write_dots

from npconv import files
from npconv.cli import curves


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small file of three easy classes."""
    return write_dots(tmp_path / "dots.npz")


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's picture takes longer than its training on small data: only runs that a file's tests share draw it."""
    monkeypatch.setattr(curves, "draw", lambda path, *_, **__: files.write(path, b"no picture"))
