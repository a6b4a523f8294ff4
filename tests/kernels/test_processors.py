"""Kernels for a processor that has nothing but what all of its kind have: neither wide vectors nor fused multiply-adds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import numpy as np
import npconv

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    def draw(*shape):
        return rng.integers(-4, 5, shape).astype(dtype)

    x, dy = draw(2, 20, 7, 6), draw(2, 20, 7, 6)
    calls = [
        (npconv.conv2d_backward, (dy, x, draw(20, 20, 3, 3), draw(20)), {"padding": 1}),
        (npconv.conv2d_backward, (dy, x, draw(20, 5, 3, 3), None), {"padding": 1, "groups": 4}),
        (npconv.depthwise_conv2d_backward, (dy, x, draw(20, 1, 3, 3), draw(20)), {"padding": 1}),
        (npconv.conv2d, (x, draw(20, 20, 3, 3), draw(20)), {"padding": 1}),
        (npconv.depthwise_conv2d, (x, draw(20, 1, 3, 3), None), {"padding": 1}),
        (npconv.linear_backward, (draw(9, 5), draw(9, 7), draw(5, 7), draw(5)), {}),
        (npconv.max_pool2d, (x, 2), {}),
    ]
    for function, arguments, options in calls:
        results = []
        for name in ("numpy", "numba"):
            with npconv.backend(name):
                got = function(*arguments, **options)
                results.append(got if isinstance(got, tuple) else (got,))
        for expected, found in zip(*results):
            if expected is not None:
                np.testing.assert_array_equal(found, expected)
print("equal")
"""


def test_a_processor_without_extras(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    environment |= {"NPCONV_QUIET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "equal\n"
