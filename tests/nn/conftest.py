"""Layers are tested on the reference: that the backends agree is the operators' affair, and `test_models` looks at whole networks."""

from __future__ import annotations

import pytest

import npconv


@pytest.fixture(autouse=True)
def reference():
    with npconv.backend("numpy"):
        yield
