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
    import torch

    before = numba.get_num_threads(), torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    yield
    numba.set_num_threads(before[0])
    torch.set_num_threads(before[1])
