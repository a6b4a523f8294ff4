"""The adapter for JAX: npconv's results, and reproductions that give JAX's own again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from adapter_checks import check_adapter
from required import framework

from npconv.check.adapters import load
from npconv.testing.strategies import OPERATORS

jax = framework("jax")


@pytest.fixture
def restored_precision() -> Iterator[None]:
    """Reproductions ask for float64."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.usefixtures("restored_precision")
@pytest.mark.parametrize("op", OPERATORS)
def test_jax(op: str) -> None:
    """Few examples: XLA compiles each one, four times."""
    check_adapter(load("jax"), op, examples=5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_kept(dtype: type) -> None:
    """Also of float64, which JAX narrows by default, and without a trace of that in its configuration."""
    adapter, x = load("jax"), np.ones((1, 2, 3, 3), dtype)
    before = jax.config.jax_enable_x64
    assert adapter.forward("relu", (x,), {}).dtype == dtype
    assert adapter.backward("relu", x, (x,), {})[0].dtype == dtype
    assert jax.config.jax_enable_x64 == before
