"""How long a network takes beside another process with as many busy threads, and who decides how threads wait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

# Prints the lower quartile of its times, in seconds, for each line that it is sent.
NETWORK = """
import sys, time
import numpy as np
import npconv
from npconv.models import mobilenet_v1

rng = np.random.default_rng(0)
network, x = mobilenet_v1(width=0.5, rng=rng).eval(), rng.normal(size=(1, 3, 160, 160)).astype(np.float32)
network.forward(x)
print("ready", flush=True)
for line in sys.stdin:
    times, end = [], time.perf_counter() + float(line)
    while time.perf_counter() < end:
        start = time.perf_counter()
        network.forward(x)
        times.append(time.perf_counter() - start)
    print(sorted(times)[len(times) // 4], flush=True)
"""


def start(first: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    environment = os.environ | {"NPCONV_BACKEND": "numba"} | environment
    return subprocess.Popen(
        [sys.executable, "-c", first + NETWORK],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def ask(process: subprocess.Popen[str], seconds: float) -> float:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def slowdown(first: str = "", rounds: int = 3, **environment: str) -> list[tuple[float, float]]:
    """Seconds alone and beside another that never rests, for each of some rounds; `first` is run before anything else."""
    timed, other = start(first, environment), start(first, environment)
    found = []
    try:
        for process in (timed, other):
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        assert other.stdin
        other.stdin.write("1000\n")
        other.stdin.flush()
        for _ in range(rounds):
            other.send_signal(signal.SIGSTOP)
            alone = ask(timed, 0.5)
            other.send_signal(signal.SIGCONT)
            found.append((alone, ask(timed, 1.0)))
    finally:
        for process in (timed, other):
            process.kill()
            process.communicate()
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="stops and continues a process, and knows GNU's OpenMP")
def test_a_network_beside_another_takes_at_most_three_times_as_long() -> None:
    """Half of the cores are left to it, so twice as long is fair; 78 times, where the threads that wait keep their cores.

    The best of some rounds, because a third process may be busy, too.
    """
    found = slowdown(NUMBA_THREADING_LAYER="omp")
    assert min(beside / alone for alone, beside in found) <= 3, found


SPINNING = """
import json, time
import numpy as np
import npconv
from npconv.kernels.jit import configuration

x = np.ones(1 << 14, np.float32)
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


needs_gnu = pytest.mark.skipif(sys.platform != "linux", reason="Numba uses GNU's OpenMP on Linux only")


@needs_gnu
def test_threads_that_wait_sleep_soon() -> None:
    """And nothing is set in the environment, which children would inherit."""
    used, layer, variables = spinning()
    assert used < 0.3e-3
    assert (layer, variables) == ("omp", [])


@needs_gnu
def test_what_the_user_says_of_waiting_holds() -> None:
    used, layer, variables = spinning(GOMP_SPINCOUNT="30000000")
    assert used > 1e-3
    assert (layer, variables) == ("omp", ["GOMP_SPINCOUNT"])


@needs_gnu
def test_the_configuration_says_where_it_is_too_late() -> None:
    """As after `import torch`, which loads OpenMP before the kernels can."""
    _, layer, variables = spinning('import ctypes; ctypes.CDLL("libgomp.so.1")\n')
    assert layer.startswith("omp, slow beside busy processes: another package loaded OpenMP first")
    assert variables == []
