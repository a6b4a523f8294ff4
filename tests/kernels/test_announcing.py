"""Who waits for the compiler is told so, once, after a second, and nobody else is told anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
import numpy as np
from npconv import conv2d, conv2d_backward
from npconv.kernels.jit import announcing
announcing.PATIENCE = float(sys.argv[1])
x, w = np.ones((1, 8, 6, 6), np.float32), np.ones((8, 8, 3, 3), np.float32)
conv2d_backward(conv2d(x, w, padding=1), x, w, padding=1)
"""


def told(cache: Path, patience: float = 1.0, **variables: str) -> str:
    """What a process that convolves prints on stderr."""
    environment = {name: value for name, value in os.environ.items() if name != "NPCONV_QUIET"}
    environment |= {"NUMBA_CACHE_DIR": str(cache), "NPCONV_BACKEND": "numba"} | variables
    words = [sys.executable, "-c", SCRIPT, str(patience)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=True).stderr


def test_a_second_of_compiling_is_told_once_and_only_where_there_is_one(tmp_path: Path) -> None:
    message = "npconv: compiling kernels, once per machine; `npconv compile` does all of them ahead\n"
    assert told(tmp_path) == message  # several loops, one line
    assert told(tmp_path) == ""  # they are read from disk


@pytest.mark.parametrize(("patience", "variables"), [(1e6, {}), (1.0, {"NPCONV_QUIET": "1"})])
def test_a_short_wait_and_a_quiet_one_are_not_told(tmp_path: Path, patience: float, variables: dict[str, str]) -> None:
    assert told(tmp_path, patience, **variables) == ""
