"""`mpiexec -n 4 npconv train`: the network of one process, and a process that dies takes nothing with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import command
from required import framework

from npconv import weights
from npconv.training import Run

framework("mpi4py")
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def mpi(size: int, *words: object) -> list[str]:
    assert MPIEXEC is not None, "mpi4py is installed without an MPI"
    return [MPIEXEC, "-n", str(size), *command("train", *words)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = rng.integers(0, 100, size=(120, 8, 8), dtype=np.uint8)
    images[np.arange(120), rng.integers(8, size=120), labels * 3] = 255
    np.savez(tmp_path / "dots.npz", images=images, labels=labels)
    return tmp_path / "dots.npz"


def test_1_2_and_4_processes_train_the_same_network(data: Path, tmp_path: Path) -> None:
    states = []
    for size in (1, 2, 4):
        out = tmp_path / str(size)
        words = ("--data", data, "--epochs", 2, "--dtype", "float64", "--ema", 0.9, "--backend", "numpy", "--out", out)
        result = subprocess.run(mpi(size, *words), capture_output=True, text=True, env=ENVIRONMENT, check=False)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("test accuracy") == 1  # one of them speaks
        states.append(weights.read(out / "weights.safetensors")[1])
    for state in states[1:]:
        for name, array in states[0].items():
            np.testing.assert_allclose(state[name], array, rtol=0, atol=1e-10 * max(np.abs(array).max(), 1))


WHOLE = """
import sys
import numpy as np
from npconv import nn, optim
from npconv.training.parallel import add_up, share, world
processes, rng = world(), np.random.default_rng(0)
net = nn.Sequential(conv=nn.Conv2d(1, 3, 3, rng=rng), flatten=nn.Flatten(), head=nn.Linear(27, 2, rng=rng))
for _, array in net.named_params():
    array[...] = rng.integers(-3, 4, array.shape)
sgd, own = optim.SGD(1.0), share(7, processes)
for _ in range(2):
    x, dy = rng.integers(-3, 4, (7, 1, 5, 5)).astype(np.float32), rng.integers(-3, 4, (7, 2)).astype(np.float32)
    net(x[own])
    net.backward_params(dy[own])
    add_up([grad for _, grad in net.named_grads()], [], processes)
    sgd.step(net)
if processes.rank == 0:
    np.savez(sys.argv[1], size=processes.size, **net.state())
"""


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_1_2_and_4_processes_have_the_same_weights_exactly_where_numbers_are_whole(
    tmp_path: Path, backend: str
) -> None:
    states = []
    for size in (1, 2, 4):
        path = tmp_path / f"{size}.npz"
        words = [str(MPIEXEC), "-n", str(size), sys.executable, "-c", WHOLE, str(path)]
        subprocess.run(words, env=ENVIRONMENT | {"NPCONV_BACKEND": backend, "NUMBA_NUM_THREADS": "1"}, check=True)
        states.append(dict(np.load(path)))
        assert states[-1].pop("size") == size
    assert np.abs(states[0]["conv.w"]).max() > 100  # both steps count
    for state in states[1:]:
        for name, array in states[0].items():
            np.testing.assert_array_equal(state[name], array)


def ranks(out: Path) -> dict[int, int]:
    """The process of each rank that trains into this folder."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words, variables = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        if str(out).encode() in words and b"\0PMI_RANK=" in variables:
            rank = variables.split(b"\0PMI_RANK=")[1].split(b"\0")[0]
            found[int(rank)] = int(path.name)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_hit_ends_the_run_and_leaves_a_whole_checkpoint(
    data: Path, tmp_path: Path, number: signal.Signals, rank: int
) -> None:
    out = tmp_path / "run"
    words = ("--data", data, "--epochs", 2000, "--backend", "numpy", "--out", out)
    with subprocess.Popen(
        mpi(2, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        metrics = out / "metrics.jsonl"
        while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 2):
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(ranks(out)[rank], number)
        stdout, stderr = process.communicate()
    assert process.returncode != 0
    assert f"npconv train --resume {out} goes on" in stdout, stderr
    if number != signal.SIGKILL:
        assert "interrupted after " in stdout
    run = Run.resume(out)
    assert len(run.epochs) >= 1
    assert len(metrics.read_text().splitlines()) == len(run.epochs)


def test_an_error_is_told_and_ends_all(data: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        mpi(2, "--data", data, "--batch", 1, "--out", tmp_path / "run"), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )  # fmt: skip
    assert result.returncode != 0
    assert result.stderr.count("npconv: --batch must have an image for each of 2 processes, got batch=1") == 1
    assert not (tmp_path / "run").exists()
