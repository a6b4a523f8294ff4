"""How long networks, operators and trainings take beside other processes of busy threads, and who decides how threads wait."""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from npconv.kernels.jit import launching

# Prints how long a call takes, in seconds, in the lower quartile and on average, for each line that it is sent.
WORK = """
import sys, time
import numpy as np
import npconv
from npconv import nn, optim
from npconv.models import mobilenet_v1, tiny_mobilenet

rng = np.random.default_rng(0)
network, image = mobilenet_v1(width=0.5, rng=rng).eval(), rng.normal(size=(1, 3, 160, 160)).astype(np.float32)
x, w = rng.normal(size=(1, 32, 28, 28)).astype(np.float32), rng.normal(size=(64, 32, 3, 3)).astype(np.float32)
x = npconv.channels_last(x)
dy = npconv.conv2d(x, w, padding=1)
trained, sgd, labels = tiny_mobilenet(rng=rng), optim.SGD(0.1), np.arange(64) % 10
images = rng.normal(size=(64, 1, 8, 8)).astype(np.float32)

def step():
    logits = trained.forward(images)
    trained.backward(npconv.softmax_cross_entropy_backward(np.ones((), np.float32), logits, labels))
    sgd.step(trained)

work = {
    "network": lambda: network.forward(image),
    "convolution": lambda: npconv.conv2d_backward(dy, x, w, padding=1),
    "relu": lambda: npconv.relu(x),
    "training": step,
}
for call in work.values():
    call()
    call()
print("ready", flush=True)
for line in sys.stdin:
    name, seconds = line.split()
    times, end = [], time.perf_counter() + float(seconds)
    while time.perf_counter() < end:
        start = time.perf_counter()
        work[name]()
        times.append(time.perf_counter() - start)
    print(sorted(times)[len(times) // 4], sum(times) / len(times), flush=True)
"""


def ask(process: subprocess.Popen[str], work: str, seconds: float) -> None:
    assert process.stdin
    process.stdin.write(f"{work} {seconds}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> tuple[float, float]:
    """The lower quartile and the mean, in seconds."""
    assert process.stdout
    quartile, mean = map(float, process.stdout.readline().split())
    return quartile, mean


@contextlib.contextmanager
def processes(count: int, first: str, layer: str) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes that wait for a line; `first` is run before anything else."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    environment |= {"NPCONV_BACKEND": "numba", "NUMBA_THREADING_LAYER": layer}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", first + WORK],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="stops and continues processes, and knows GNU's OpenMP")
LAYERS = {
    "omp": ("omp", ""),
    "omp, loaded by another package": ("omp", 'import ctypes; ctypes.CDLL("libgomp.so.1")\n'),
    "workqueue": ("workqueue", ""),
}
if importlib.util.find_spec("tbb") or ctypes.util.find_library("tbb") or list(Path(sys.prefix, "lib").glob("libtbb*")):
    LAYERS["tbb"] = ("tbb", "")


@pytest.fixture(scope="module", params=LAYERS.values(), ids=LAYERS)
def three(request: pytest.FixtureRequest) -> Iterator[list[subprocess.Popen[str]]]:
    """A process that is timed, and two that never rest."""
    layer, first = request.param
    with processes(3, first, layer) as started:
        for process in started[1:]:
            ask(process, "network", 10_000)
        yield started


@on_linux
@pytest.mark.parametrize("work", ["network", "convolution", "relu"])
def test_work_beside_others_takes_at_most_twice_its_share(three: list[subprocess.Popen[str]], work: str) -> None:
    """Beside one process half of the cores are its share, beside two a third; 78 times it took, where threads that wait keep
    their cores.

    The best of some rounds, because yet another process may be busy.
    """
    timed, *others = three
    found = []
    for _ in range(3):
        times = []
        for busy in range(3):
            for place, other in enumerate(others):
                other.send_signal(signal.SIGCONT if place < busy else signal.SIGSTOP)
            ask(timed, work, 0.3 + 0.2 * busy)
            times.append(answer(timed)[0])
        found.append((times[1] / times[0], times[2] / times[0]))
    assert min(one for one, _ in found) <= 2 * 2, found
    assert min(two for _, two in found) <= 2 * 3, found


@on_linux
@pytest.mark.parametrize(("layer", "first"), LAYERS.values(), ids=LAYERS)
def test_two_trainings_at_once_take_little_more_than_twice_as_long(layer: str, first: str) -> None:
    """On average, not at best: waiting is part of it."""
    found = []
    with processes(2, first, layer) as both:
        for _ in range(4):
            ask(both[0], "training", 0.7)
            _, alone = answer(both[0])
            for process in both:
                ask(process, "training", 1.2)
            together = sum(answer(process)[1] for process in both) / 2
            found.append(together / alone)
    assert min(found) <= 2.4, found


SPINNING = """
import json, time
import numpy as np
import npconv
from npconv.kernels.jit import configuration

x = np.ones(1 << 16, np.float32)
npconv.relu(x)
npconv.relu(x)

def of_other_threads():
    return time.process_time() - time.thread_time()

start = of_other_threads()
for _ in range(50):
    npconv.relu(x)
    time.sleep(0.004)
used = (of_other_threads() - start) / 50
print(json.dumps([used, configuration()["threading layer"], sorted(name for name in os.environ if "GOMP" in name)]))
"""


def spinning(first: str = "", **environment: str) -> tuple[float, str, list[str]]:
    """Seconds of a core that all other threads use for a launch and 4 ms of waiting, the layer's name, and OpenMP's variables."""
    command = [sys.executable, "-c", f"import os\n{first}{SPINNING}"]
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = (
        kept | {"NPCONV_BACKEND": "numba", "NUMBA_THREADING_LAYER": "omp", "NUMBA_NUM_THREADS": "2"} | environment
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    used, layer, variables = json.loads(done.stdout)
    return used, layer, variables


@on_linux
def test_threads_that_wait_sleep_soon() -> None:
    """And nothing is set in the environment, which children would inherit."""
    used, layer, variables = spinning()
    assert used < 0.3e-3
    assert (layer, variables) == ("omp", [])


@on_linux
def test_what_the_user_says_of_waiting_holds() -> None:
    used, layer, variables = spinning(GOMP_SPINCOUNT="30000000")
    assert used > 1e-3
    assert (layer, variables) == ("omp", ["GOMP_SPINCOUNT"])


@on_linux
def test_threads_of_an_openmp_that_others_loaded_sleep_soon() -> None:
    """As after `import torch`, which loads OpenMP before the kernels can."""
    used, layer, variables = spinning('import ctypes; ctypes.CDLL("libgomp.so.1")\n')
    assert used < 0.3e-3
    assert (layer, variables) == ("omp", [])


def test_scratch_memory_is_kept_up_to_a_limit() -> None:
    """What a large call takes is given back when it is over; a small one finds what it had."""
    launching._kept.flat.clear()
    launching._kept.cut.clear()
    small = launching.scratch(np.float64, 1000)
    large = launching.scratch(np.float64, launching.MOST_KEPT // 8 + 1)
    assert large.shape[0] == launching.thread_count()
    assert large.shape[1] * 8 > launching.MOST_KEPT
    assert launching.scratch(np.float64, 1000) is small
    assert sum(flat.nbytes for flat in launching._kept.flat.values()) <= launching.MOST_KEPT + 2 * 4096
    assert launching.scratch(np.float64, launching.MOST_KEPT // 8 + 1) is not large
