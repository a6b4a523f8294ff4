"""How the kernels cut their work: results do not depend on the memory that they are given, nor on the number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numba
import numpy as np
import pytest

from npconv import kernels, reference
from npconv.geometry import Conv2dGeometry
from npconv.kernels import depthwise, planes

PROBLEMS = [
    Conv2dGeometry.of((2, 40, 23, 37), (50, 40, 3, 3), padding=1),
    Conv2dGeometry.of((1, 66, 40, 31), (42, 33, 3, 3), stride=2, padding=((0, 1), (1, 0)), groups=2),
    Conv2dGeometry.of((3, 12, 17, 70), (7, 12, 5, 2), stride=(3, 1), padding="same", dilation=(1, 3)),
    Conv2dGeometry.of((2, 300, 9, 11), (70, 300, 1, 1)),
    Conv2dGeometry.of((2, 64, 16, 15), (32, 32, 1, 1), stride=2, groups=2),
    Conv2dGeometry.of((1, 3, 61, 64), (13, 3, 7, 7), stride=2, padding=3),
    Conv2dGeometry.of_depthwise((2, 37, 31, 29), (37, 1, 3, 3), padding=1),
    Conv2dGeometry.of_depthwise((3, 18, 40, 21), (36, 1, 5, 5), stride=2, padding="same_lower"),
    Conv2dGeometry.of_depthwise((9, 70, 7, 7), (70, 1, 3, 3), padding=1),
]


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So little scratch that everything is cut: rows into chunks, source channels into blocks."""
    plans = (planes._product_plan, planes._pixel_plan, depthwise._rows_plan)
    for plan in plans:
        plan.cache_clear()
    monkeypatch.setattr(planes, "SCRATCH_BYTES", 1 << 12)
    monkeypatch.setattr(depthwise, "SCRATCH_BYTES", 1 << 12)
    yield
    for plan in plans:
        plan.cache_clear()


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(threads)


def results(geometry: Conv2dGeometry, arrays: tuple[np.ndarray, ...], package) -> list[np.ndarray]:
    x, w, b, dy = arrays
    return [
        package.conv2d(x, w, b, geometry),
        package.conv2d_input_grad(dy, w, geometry),
        package.conv2d_weight_grad(dy, x, geometry),
    ]


def arrays_of(geometry: Conv2dGeometry, dtype: type, *, whole: bool) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    shapes = geometry.x_shape, geometry.w_shape, (geometry.out_channels,), geometry.y_shape
    draw = (lambda shape: rng.integers(-3, 4, shape)) if whole else (lambda shape: rng.normal(size=shape))
    return tuple(draw(shape).astype(dtype) for shape in shapes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", PROBLEMS, ids=lambda g: f"{g.x_shape}x{g.w_shape}")
def test_little_memory_gives_the_same_sums(geometry: Conv2dGeometry, dtype: type, little_memory: None) -> None:
    arrays = arrays_of(geometry, dtype, whole=True)
    for got, expected in zip(results(geometry, arrays, kernels), results(geometry, arrays, reference), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("geometry", PROBLEMS, ids=lambda g: f"{g.x_shape}x{g.w_shape}")
def test_the_number_of_threads_changes_no_bit(geometry: Conv2dGeometry, request: pytest.FixtureRequest) -> None:
    arrays = arrays_of(geometry, np.float32, whole=False)
    with_all = results(geometry, arrays, kernels)
    request.getfixturevalue("one_thread")
    for got, expected in zip(results(geometry, arrays, kernels), with_all, strict=True):
        np.testing.assert_array_equal(got, expected)


LAYERS = """
import os, sys, threading
import numpy as np
import npconv

rng = np.random.default_rng(0)
x = rng.integers(-3, 4, (2, 24, 20, 20)).astype(np.float32)
w, filters = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((16, 24, 3, 3), (24, 1, 3, 3)))
with npconv.backend("numpy"):
    expected = npconv.conv2d(x, w, padding=1), npconv.depthwise_conv2d(x, filters, padding=1)

def check():
    for _ in range(20):
        got = npconv.conv2d(x, w, padding=1), npconv.depthwise_conv2d(x, filters, padding=1)
        right.append(all((a == b).all() for a, b in zip(got, expected)))

right = []
threads = [threading.Thread(target=check) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert right == 160 * [True], right.count(True)
child = os.fork()
if child == 0:
    check()
    os._exit(0 if all(right) else 1)
assert os.waitpid(child, 0)[1] == 0
print("right")
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_threads_and_forked_children_get_the_same_sums(layer: str) -> None:
    environment = os.environ | {"NUMBA_THREADING_LAYER": layer, "NPCONV_BACKEND": "numba"}
    command = [sys.executable, "-W", "ignore", "-c", LAYERS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"Numba has no {layer} here")
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
