"""What the tests against other frameworks share: `import required`, `torch_ops`, `torch_models`, and a single thread."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numba
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run Numba's kernels on one thread, as `torch_ops` does PyTorch's.

    There are tens of thousands of tiny problems, and two pools of threads on the same cores wait for each other at every
    one. Results do not depend on the number of threads.
    """
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(threads)
