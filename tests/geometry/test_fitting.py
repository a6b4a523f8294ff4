"""What does not fit into memory is refused before any work."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from npconv.geometry import Conv2dGeometry, Pool2dGeometry, UpsampleGeometry, check_fits, fitting


def test_small_arrays_are_not_asked_about(monkeypatch):
    monkeypatch.setattr(fitting, "free_bytes", lambda: 0.0)
    check_fits("y", fitting.SURE // 4, 4)
    with pytest.raises(MemoryError, match=r"^y must fit into memory, got 0\.3 GiB for 0\.0 GiB that are free$"):
        check_fits("y", fitting.SURE // 4 + 1, 4)


def test_as_much_as_is_free_fits(monkeypatch):
    monkeypatch.setattr(fitting, "free_bytes", lambda: 2.0**30)
    check_fits("y", 2**28, 4)
    with pytest.raises(MemoryError, match=r"got 1\.0 GiB for 1\.0 GiB"):
        check_fits("y", 2**28 + 1, 4)


def test_the_least_answer_counts(monkeypatch):
    monkeypatch.setattr(fitting, "_answers", lambda: iter([5.0, 3.0, 4.0]))
    assert fitting.free_bytes() == 3
    monkeypatch.setattr(fitting, "_answers", lambda: iter([]))
    assert fitting.free_bytes() == math.inf


@pytest.mark.slow
def test_this_machine_says_what_it_has():
    free = fitting.free_bytes()
    assert 2**26 < free < 2**50
    held = np.ones(2**26)  # 512 MiB, touched
    assert fitting.free_bytes() < free + held.nbytes


def test_what_the_system_says_is_read(monkeypatch, tmp_path):
    """A machine with 8 GiB, 4 of them free, and a container of either kind that may have 1 GiB more."""
    files = {
        "/proc/meminfo": "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n",
        "/sys/fs/cgroup/memory.max": "3221225472\n",
        "/sys/fs/cgroup/memory.current": "2147483648\n",
    }

    def read(path, encoding):
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(fitting.Path, "read_text", read)
    monkeypatch.setattr(fitting.os, "sysconf", {"SC_PHYS_PAGES": 2**21, "SC_PAGE_SIZE": 2**12}.get)
    assert sorted(fitting._answers()) == [2**30, 2**32, 2**33]
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert sorted(fitting._answers()) == [2**32, 2**33]
    files["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "300"
    files["/sys/fs/cgroup/memory/memory.usage_in_bytes"] = "100"
    assert sorted(fitting._answers()) == [200, 2**32, 2**33]
    files.clear()
    assert list(fitting._answers()) == [2**33]
    monkeypatch.delattr(fitting.os, "sysconf")
    assert list(fitting._answers()) == []


@pytest.mark.parametrize(
    ("geometry", "numbers", "laid_out"),
    [
        (Conv2dGeometry.of((2, 4, 5, 7), (6, 4, 3, 1)), 2 * 4 * 5 * 7, 2 * 4 * (5 * 7 + 3 * 7 * 3)),
        (Conv2dGeometry.of((2, 4, 5, 7), (60, 4, 3, 1)), 2 * 60 * 3 * 7, 2 * 60 * 3 * 7),
        (Conv2dGeometry.of((1, 4, 5, 7), (60, 4, 3, 3)), 60 * 4 * 9, 60 * 4 * 9),
        (Conv2dGeometry.of((1, 4, 5, 5), (4, 4, 1, 1), padding=((0, 2), (3, 1)), stride=9), 100, 100),
        (
            Conv2dGeometry.of((1, 4, 5, 5), (4, 1, 3, 3), groups=4),
            100,
            100,
        ),  # a depthwise window is looked at where it is
        (Conv2dGeometry.of((1, 4, 5, 5), (4, 2, 3, 3), groups=2), 100, 4 * (25 + 81)),
        (Pool2dGeometry.of((1, 4, 5, 5), 3, stride=3, ceil_mode=True), 100, 4 * 36),
        (Pool2dGeometry.of((1, 4, 5, 5), 2, stride=4, padding=1), 100, 100),
        (Pool2dGeometry.of((1, 4, 5, 5), 2, stride=1, padding=1), 4 * 36, 4 * 49),
        (Conv2dGeometry.of((1, 4, 5, 5), (4, 1, 3, 3), groups=4, padding=99, stride=99), 100, 4 * 81),
        (UpsampleGeometry.of((2, 3, 4, 5), 2), 2 * 3 * 8 * 10, 2 * 3 * 8 * 10),
        (UpsampleGeometry.of((2, 3, 1, 1), 9, (2, 3)), 2 * 3 * 6, 2 * 3 * 6),
    ],
)
def test_how_many_numbers_are_worked_on(geometry, numbers, laid_out):
    assert (geometry.numbers(False), geometry.numbers(True)) == (numbers, laid_out)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_limit_of_the_process_counts():
    """`ulimit -v`, in a process of its own, whose limit is 1 GiB above what it has."""
    program = """
import resource
from pathlib import Path
from npconv.geometry import check_fits, fitting
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
assert 2**29 < fitting.free_bytes() <= 2**30, fitting.free_bytes()
check_fits("y", 2**27, 4)
try:
    check_fits("y", 2**28 + 1, 4)
except MemoryError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("y must fit into memory, got 1.0 GiB for 1.0 GiB that are free"), done.stderr
