"""What the tests against other frameworks share: `import required`, `torch_models`, and a single thread."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numba
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tens of thousands of tiny problems: Numba's and PyTorch's threads would wait for each other at every one.

    Results do not depend on the number of threads; that is tested elsewhere.
    """
    libraries = [numba, *filter(None, [sys.modules.get("torch")])]  # a test that uses PyTorch has imported it by now
    before = [library.get_num_threads() for library in libraries]
    for library in libraries:
        library.set_num_threads(1)
    yield
    for library, threads in zip(libraries, before, strict=True):
        library.set_num_threads(threads)
