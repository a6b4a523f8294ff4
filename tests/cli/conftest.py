"""What tests of several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from trainings import write_dots


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small file of three easy classes."""
    return write_dots(tmp_path / "dots.npz")
