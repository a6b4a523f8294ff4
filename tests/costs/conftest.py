"""What is counted does not depend on the backend; NumPy has nothing to compile."""

from __future__ import annotations

import pytest

import npconv


@pytest.fixture(autouse=True)
def reference():
    with npconv.backend("numpy"):
        yield
