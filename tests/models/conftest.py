"""Networks are tested on the reference, except where a test is about the backends."""

from __future__ import annotations

import pytest

import npconv


@pytest.fixture(autouse=True)
def reference():
    with npconv.backend("numpy"):
        yield
