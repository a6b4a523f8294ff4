"""What the tests against other frameworks share: `import required`, `torch_models`, and a single thread."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numba
import pytest

from npconv.check import examination
from npconv.check.case import Case
from npconv.check.expected import Expected, expected

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


@pytest.fixture(scope="module")
def right_results_are_kept() -> Iterator[None]:
    """All wrong functions of one operator get the same cases, whose right results would take most of the time."""
    kept: dict[bytes, Expected] = {}
    op = ""

    def known(case: Case, *question: Any) -> Expected:
        nonlocal op
        if case.op != op:
            kept.clear()
            op = case.op
        key = blake2b(pickle.dumps((case, question))).digest()
        if key not in kept:
            kept[key] = expected(case, *question)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examination, "expected", known)
        yield
