"""Layers are tested on the reference: that the backends agree is a matter of the operators, and of whole networks."""

from __future__ import annotations

import pytest

import npconv


@pytest.fixture(autouse=True)
def reference():
    with npconv.backend("numpy"):
        yield
