"""Numbas that were tested, and what happens on one that was not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import npconv
from npconv.kernels.jit import releases

PLAIN = """
import numba
from numba.core.caching import NullCache

numba.version_info = numba.version_info._replace(short={short})
import numpy as np
import npconv
from npconv.kernels.jit import LOOPS

with npconv.backend("numba"):
    print(*npconv.relu(np.array([-1.0, 2.0])))
    npconv.show_config()
linked = [loop for loop in LOOPS if loop._compiler.compile.__qualname__.startswith("link_before_optimizing")]
kept = [loop for loop in LOOPS if not isinstance(loop._cache, NullCache)]
print(len(linked) == len(LOOPS), len(linked), len(kept) == len(LOOPS), len(kept))
"""


def shown(short: tuple[int, int]) -> list[str]:
    """What a process prints in which Numba says that it is the release `short`."""
    command = [sys.executable, "-c", PLAIN.format(short=short)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_newer_numba_compiles_plainly_and_says_so() -> None:
    lines = shown((0, 99))
    assert lines[0] == "0.0 2.0"
    note = "(not tested: kernels compile slower, in every process anew)"
    assert [line for line in lines if line.startswith("Numba")] == [f"Numba            {numba.__version__} {note}"]
    assert "kernel cache     none: this Numba was not tested" in lines
    assert lines[-1] == "False 0 False 0"


def test_an_older_numba_keeps_its_loops_and_says_that_it_compiles_slower() -> None:
    lines = shown((0, 60))
    assert lines[0] == "0.0 2.0"
    assert f"Numba            {numba.__version__} (kernels compile slower than on 0.68)" in lines
    assert re.fullmatch(r"False 0 True \d+", lines[-1])


@pytest.mark.skipif(not releases.may_link(), reason="another Numba than it would say")
def test_the_newest_numba_is_linked_and_says_nothing() -> None:
    lines = shown(releases.NEWEST)
    assert f"Numba            {numba.__version__}" in lines
    assert re.fullmatch(r"True \d+ True \d+", lines[-1])


def test_the_package_allows_what_was_tested() -> None:
    project = Path(npconv.__file__).parents[1] / "pyproject.toml"
    if not project.exists():
        pytest.skip("an installed package")
    (oldest, above) = re.search(r'"numba>=0\.(\d+),<0\.(\d+)"', project.read_text(encoding="utf-8")).groups()
    assert ((0, int(oldest)), (0, int(above) - 1)) == (releases.OLDEST, releases.NEWEST)
