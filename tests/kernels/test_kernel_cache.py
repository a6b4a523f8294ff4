"""Compiled loops on disk: read back by other processes, never stale, and no condition for anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher

import npconv
from npconv import kernels
from npconv.kernels.jit import cache, releases
from npconv.kernels.jit.cache import LoopCache

FACTOR = """
from numba import njit

@njit
def factor():
    return {}
"""

SCALE = """
from numba import prange
from npconv.kernels.jit import compiled
from npconv.kernels.factor import factor

@compiled(terms=1)
def scale(x, y):
    for i in prange(x.size):
        y[i] = factor() * x[i]
"""

# Only a compiler needs Numba's tables for arrays.
RUN = """
import sys
import numpy as np
from npconv.kernels.scale import scale

x = np.ones(3, sys.argv[1])
y = np.empty_like(x)
scale(x, y)
print(int(y[0]), "compiled" if "numba.np.arraymath" in sys.modules else "read")
"""


class Package:
    """A copy of the package with two kernel files more, where a loop of one calls a function of the other."""

    def __init__(self, root: Path) -> None:
        self.root, self.cache = root, root / "cache"
        source = Path(npconv.__file__).parent
        shutil.copytree(source, root / "npconv", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "npconv/kernels/scale.py").write_text(SCALE, encoding="utf-8")
        self.edit(2)
        self.environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment |= {"NUMBA_CACHE_DIR": str(self.cache)}

    def edit(self, factor: int) -> None:
        (self.root / "npconv/kernels/factor.py").write_text(FACTOR.format(factor), encoding="utf-8")

    def start(self, code: str = RUN, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *(arguments or ["float32"])]
        return subprocess.Popen(
            command, cwd=self.root, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, code: str = RUN, *arguments: str) -> str:
        return finished(self.start(code, *arguments))

    def files(self) -> list[Path]:
        return sorted(self.cache.rglob("*scale*"))


def finished(process: subprocess.Popen[str]) -> str:
    stdout, stderr = process.communicate(timeout=600)
    assert (process.returncode, stderr) == (0, "")
    return stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path)


def test_an_edit_of_another_file_is_compiled_once(package: Package) -> None:
    """And takes the place of the old code: what is kept does not grow."""
    assert [package.run(), package.run()] == ["2 compiled", "2 read"]
    before = package.files()
    package.edit(3)
    assert [package.run(), package.run()] == ["3 compiled", "3 read"]
    assert package.files() == before
    assert len(before) == 1


def test_half_a_file_is_compiled_again(package: Package) -> None:
    package.run()
    (file,) = package.files()
    file.write_bytes(file.read_bytes()[:-1])
    assert [package.run(), package.run()] == ["2 compiled", "2 read"]


def test_processes_may_compile_at_once(package: Package) -> None:
    """Each dtype has a file of its own, so that none can be taken for another."""
    dtypes = ["float32", "float64"]
    assert [finished(process) for process in [package.start(RUN, dtype) for dtype in dtypes]] == 2 * ["2 compiled"]
    assert len(package.files()) == 2
    assert [package.run(RUN, dtype) for dtype in dtypes] == 2 * ["2 read"]


def test_what_others_can_write_is_not_read(package: Package) -> None:
    """It is unpickled, so it could be a program. Neither a file nor a folder that others can write is used, or written to."""
    package.run()
    (file,) = package.files()
    assert (file.stat().st_mode | file.parent.stat().st_mode) & 0o022 == 0
    for path in (file, file.parent):
        before = path.stat().st_mode
        path.chmod(before | 0o020)
        assert package.run() == "2 compiled"
        path.chmod(before)
    file.unlink()
    file.parent.chmod(0o777)
    assert package.run() == "2 compiled"
    assert package.files() == []


@pytest.mark.parametrize(
    ("owner", "mode", "expected"),
    [(1000, 0o755, True), (0, 0o700, True), (1001, 0o755, False), (1000, 0o775, False), (1000, 0o757, False)],
)
def test_whose_files_are_trusted(monkeypatch: pytest.MonkeyPatch, owner: int, mode: int, expected: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    status = os.stat_result((0o100000 | mode, 1, 1, 1, owner, 1000, 0, 0, 0, 0))
    assert cache._nobody_else_writes(status) is expected


CONFIG = "import npconv; npconv.show_config()"


def shown_folder(package: Package) -> str:
    (line,) = [line for line in package.run(CONFIG).splitlines() if line.startswith("kernel cache")]
    return line.removeprefix("kernel cache").strip()


def test_a_folder_that_cannot_be_written_is_replaced_by_the_users(package: Package) -> None:
    """As in an installation that belongs to somebody else. A file stands in for it, which stops root as well."""
    (package.root / "npconv/kernels/__pycache__").touch()
    del package.environment["NUMBA_CACHE_DIR"]
    package.environment["XDG_CACHE_HOME"] = str(package.cache)
    assert [package.run(), package.run()] == ["2 compiled", "2 read"]
    assert package.files()[0].parent.parent == Path(shown_folder(package))


def test_without_any_folder_kernels_run(package: Package) -> None:
    (package.root / "npconv/kernels/__pycache__").touch()
    package.cache.touch()
    package.environment |= {"HOME": str(package.cache), "XDG_CACHE_HOME": str(package.cache)}
    assert package.run() == "2 compiled"
    assert shown_folder(package) == "none: no folder can be written"


def test_numbas_own_cache_is_used_for_nothing() -> None:
    """It would not notice that a function of another file was edited, nor would the loops made of what it gives."""
    modules = [module for name, module in sys.modules.items() if name.startswith(kernels.__name__)]
    functions = {
        function for module in modules for function in vars(module).values() if isinstance(function, Dispatcher)
    }
    assert functions
    stale = [
        function.py_func.__qualname__
        for function in functions
        if not isinstance(function._cache, NullCache | LoopCache)
    ]
    assert not stale


# --- `linking` ---------------------------------------------------------------------------------------------------

OPTIMIZED = """
from collections import Counter
from numba.core.codegen import CPUCodeLibrary

optimized, plain = Counter(), CPUCodeLibrary._optimize_final_module

def counted(library):
    optimized[library.name] += 1
    plain(library)

CPUCodeLibrary._optimize_final_module = counted
"""


@pytest.mark.skipif(not releases.may_link(), reason="this Numba compiles in its own way")
def test_a_loop_is_optimised_once_and_its_parts_never(package: Package) -> None:
    """But for Numba's own runtime, which every process makes."""
    code = OPTIMIZED + RUN + "\noptimized.pop('nrt', None)\nprint(dict(optimized))"
    assert package.run(code).splitlines() == ["2 compiled", "{'scale': 1}"]


AROUND = """
import numba
import numpy as np
from npconv.kernels.factor import factor

@numba.njit(parallel=True)
def mine(x):
    y = np.empty_like(x)
    for i in numba.prange(x.size):
        y[i] = max(factor(), x[i])
    return y

def call():
    return factor(), *mine(np.arange(4.0)).tolist()
"""


@pytest.mark.parametrize("before", ["", "print(call())"])
def test_what_a_loop_calls_can_be_called_by_anybody(before: str, package: Package) -> None:
    """From Python and from functions of users, compiled before or after it was compiled into a loop, which gives it no address."""
    out = package.run(AROUND + before + RUN + "print(call())").splitlines()
    assert [line for line in out if line != "2 compiled"] == ["(2, 2.0, 2.0, 2.0, 3.0)"] * (2 if before else 1)
    assert "2 compiled" in out


def test_a_loop_that_does_not_compile_leaves_no_trace(package: Package) -> None:
    code = """
from numba.core.errors import TypingError
from npconv.kernels.jit import compiled

@compiled(terms=1)
def wrong(x):
    x.nothing()

try:
    wrong(np.ones(3))
except TypingError:
    print("refused", call())
"""
    assert package.run(AROUND + code) == "refused (2, 2.0, 2.0, 2.0, 3.0)"
