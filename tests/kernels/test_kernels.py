"""How the kernels cut their work: results do not depend on the memory that they are given, nor on the number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npconv
from npconv import kernels, reference
from npconv.geometry import Conv2dGeometry
from npconv.kernels import activations, lane_sums, sums, winograd
from npconv.kernels.jit import launching
from npconv.memory import empty_channels_last
from npconv.testing import named_arrays
from npconv.testing.strategies import OPERATORS, problems_with_dy

PROBLEMS = [
    Conv2dGeometry.of((2, 40, 23, 37), (50, 40, 3, 3), padding=1),
    Conv2dGeometry.of((1, 66, 40, 31), (42, 33, 3, 3), stride=2, padding=((0, 1), (1, 0)), groups=2),
    Conv2dGeometry.of((3, 12, 17, 70), (7, 12, 5, 2), stride=(3, 1), padding="same", dilation=(1, 3)),
    Conv2dGeometry.of((2, 300, 9, 11), (70, 300, 1, 1)),
    Conv2dGeometry.of((2, 64, 16, 15), (32, 32, 1, 1), stride=2, groups=2),
    Conv2dGeometry.of((1, 3, 61, 64), (13, 3, 7, 7), stride=2, padding=3),
    Conv2dGeometry.of((2, 70, 20, 20), (300, 70, 3, 3), padding=1),
    Conv2dGeometry.of_depthwise((2, 37, 31, 29), (37, 1, 3, 3), padding=1),
    Conv2dGeometry.of_depthwise((2, 37, 31, 29), (37, 1, 4, 3), padding=1),
    Conv2dGeometry.of_depthwise((3, 18, 40, 21), (36, 1, 5, 5), stride=2, padding="same_lower"),
    Conv2dGeometry.of_depthwise((9, 70, 7, 7), (70, 1, 3, 3), padding=1),
]


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So little scratch that everything is cut: pixels into chunks, rows into bands."""
    plans = sums.plan_of, lane_sums._plan, winograd._plan, winograd._weight_plan
    for plan in plans:
        plan.cache_clear()
    monkeypatch.setattr(sums, "CACHE", 1 << 10)
    monkeypatch.setattr(sums, "ADDRESSES", 1 << 8)
    monkeypatch.setattr(lane_sums, "BAND", 1 << 10)
    monkeypatch.setattr(winograd, "SCRATCH", 1 << 12)
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
        package.conv2d(x, w, b, None, geometry),
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


@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
@settings(max_examples=8)
def test_the_number_of_threads_changes_no_bit_of_any_operator(op: str, data: st.DataObject) -> None:
    """Also where the work is too small for more than one: `SMALL` is 0 here."""
    problem, dy = data.draw(problems_with_dy(op, whole=False, largest=40))
    before, results = numba.get_num_threads(), []
    with pytest.MonkeyPatch.context() as patch, npconv.backend("numba"):
        patch.setattr(launching, "SMALL", 0)
        for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
            numba.set_num_threads(threads)
            results.append([array for _, array in named_arrays((problem.forward(), problem.backward(dy)), "y")])
    numba.set_num_threads(before)
    for arrays in results[1:]:
        for got, expected in zip(arrays, results[0], strict=True):
            np.testing.assert_array_equal(got, expected)


def test_small_work_runs_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small has no large array: two by two pixels may meet a million weights."""
    small, large = np.ones(launching.SMALL - 1, np.float32), np.ones(launching.SMALL, np.float32)
    x, w = empty_channels_last((1, 32, 2, 2), np.float32), np.ones((32, 32, 3, 3), np.float32)
    x[...] = 1
    kernels.relu(small)  # after which Numba has chosen its threads
    threads, chosen = numba.get_num_threads() + 1, list[int]()  # several, wherever this test runs
    monkeypatch.setattr(launching.pool, "_get_num_threads", lambda: threads)
    monkeypatch.setattr(launching.pool, "_set_num_threads", chosen.append)
    kernels.relu(small)
    assert chosen == [1, threads]
    kernels.relu(large)
    kernels.conv2d_input_grad(x, w, Conv2dGeometry.of(x.shape, w.shape, padding=1))
    assert chosen == [1, threads]


def test_calls_leave_the_number_of_threads_as_it_was() -> None:
    """Small work runs on one, even where it fails."""
    before, x = numba.get_num_threads(), np.ones(3, np.float32)
    kernels.relu(x)  # after which Numba has chosen its threads
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        numba.set_num_threads(threads)
        kernels.relu(x)
        with pytest.raises(numba.TypingError):
            activations._relu(x, np.array("no number"))
        assert launching.thread_count() == numba.get_num_threads() == threads
    numba.set_num_threads(before)


MEMORY = """
import re
from pathlib import Path
import numpy as np
import numba
from npconv import kernels
from npconv.geometry import Conv2dGeometry
from npconv.memory import empty_channels_last

def resident(what):
    return int(re.search(what + r":\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10

def touched(geometry):
    w, b = (np.ones(s, np.float32) for s in (geometry.w_shape, geometry.out_channels))
    x, dy = (empty_channels_last(s, np.float32) for s in (geometry.x_shape, geometry.y_shape))
    x[...], dy[...] = 1, 1
    results = []
    for run, args in (
        (kernels.conv2d, (x, w, b, None)), (kernels.conv2d_input_grad, (dy, w)), (kernels.conv2d_weight_grad, (dy, x))
    ):
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        result = run(*args, geometry)
        results.append(resident("VmHWM") - before - result.nbytes)
        del result
    return results

of, of_depthwise = Conv2dGeometry.of, Conv2dGeometry.of_depthwise
for geometry in (
    of((1, 8, 9, 9), (8, 8, 3, 3)),
    of((1, 32, 16, 16), (32, 32, 3, 3), padding=1),  # by transforms
    of_depthwise((1, 8, 9, 9), (8, 1, 3, 3)),
):
    touched(geometry)  # the compiled code
for geometry in (
    of((4, 64, 224, 224), (64, 64, 3, 3), padding=1),
    of((4, 64, 224, 224), (64, 64, 1, 1)),
    of((4, 64, 224, 224), (64, 32, 5, 5), stride=2, padding=2, groups=2),
    of_depthwise((4, 64, 224, 224), (64, 1, 3, 3), padding=1),
):
    allowed = numba.get_num_threads() * (2 << 20) + 4 * 64 * 64 * 25 + (1 << 20)  # scratch, packed weights, tables and pages
    assert max(touched(geometry)) < allowed, (geometry, allowed)
print("small")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak")
def test_scratch_stays_small() -> None:
    """Under 2 MiB for each thread, whatever the size of the input: here 51 MB, whose im2col would be 460 MB."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (0, "small\n"), done.stderr


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


@pytest.mark.parametrize("layer", ["omp", "workqueue", "tbb"])
def test_threads_and_forked_children_get_the_same_sums(layer: str) -> None:
    environment = os.environ | {"NUMBA_THREADING_LAYER": layer, "NPCONV_BACKEND": "numba"}
    command = [sys.executable, "-W", "ignore", "-c", LAYERS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"Numba has no {layer} here")
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
