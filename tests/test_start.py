"""How soon there is something to see: what an import loads, and what a first call does once kernels are on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from npconv.cli import compile as cli
from npconv.testing.strategies import OPERATORS

EXTRAS = {"numba", "llvmlite", "scipy", "sklearn", "typer", "rich", "matplotlib", "hypothesis", "torch"}


def run(code: str) -> dict[str, object]:
    """What a fresh process prints as JSON."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_import_loads_neither_numba_nor_an_extra() -> None:
    """And takes little more than NumPy: under 0.1 s on one machine, of which half is left over for slower ones."""
    code = """
import json, sys, time
import numpy
start = time.process_time()
import npconv
print(json.dumps([time.process_time() - start, sorted(sys.modules)]))
"""
    seconds, modules = min(run(code) for _ in range(3))
    assert not EXTRAS & set(modules)
    assert seconds < 0.2


@pytest.mark.slow
def test_kernels_on_disk_start_without_the_compiler() -> None:
    """Numba included: 0.3 s on one machine. Filling its compiler's tables would take as long again."""
    code = """
import json, sys, time
import numpy as np
import npconv
x, w = np.ones((1, 8, 4, 4), np.float32), np.ones((8, 8, 3, 3), np.float32)
start = time.process_time()
with npconv.backend("numba"):
    npconv.conv2d(x, w, padding=1)
print(json.dumps([time.process_time() - start, "numba.np.arraymath" in sys.modules]))
"""
    run(code)  # after which they are there
    seconds, compiled = min(run(code) for _ in range(3))
    assert not compiled
    assert seconds < 1


EVERYTHING = """
import json
import numpy as np
from npconv import backends, ops
from npconv.cli.compile import DTYPES, JOINS, UPDATES, examples, run
from npconv.kernels.jit import LOOPS

for dtype in DTYPES:
    for op in (*examples(dtype), *UPDATES, *JOINS):
        run(op, dtype)
compiled = [str(loop.py_func) for loop in LOOPS if loop.stats.cache_misses]
equal = {}
for dtype in DTYPES:
    for op, calls in examples(dtype).items():
        for number, (args, options) in enumerate(calls):
            results = []
            for name in backends.BACKENDS:
                with backends.backend(name):
                    y = getattr(ops, op)(*args, **options)
                    gradients = getattr(ops, f"{op}_backward")(np.ones_like(y), *args, **options)
                    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
                    results.append([array for array in (y, *gradients) if array is not None])
            equal[op, number, dtype] = all(np.allclose(a, b, rtol=1e-5) for a, b in zip(*results))
print(json.dumps({
    "compiled": compiled,
    "types": {loop.py_func.__name__: len(loop.signatures) for loop in LOOPS},
    "wrong": [key for key, value in equal.items() if not value],
}))
"""


@pytest.mark.slow
def test_compile_leaves_nothing_to_compile() -> None:
    """Its examples run every loop in both dtypes; a process that finds all of them on disk has a compiler for none."""
    run(EVERYTHING)
    found = run(EVERYTHING)
    assert set(found["types"].values()) == {len(cli.DTYPES)}, found["types"]
    assert found["wrong"] == []
    assert found["compiled"] == []


def test_examples_are_of_operators() -> None:
    assert set(cli.examples("float32")) <= set(OPERATORS)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--dtype", "int8"], ["--dtype"]])
def test_a_wrong_dtype_is_refused(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "npconv", "compile", *words], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 2
    if words[1:]:
        assert done.stderr == "npconv: --dtype must be one of float32, float64, got 'int8'\n"


@pytest.mark.slow
def test_the_command_says_what_it_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "npconv", "compile", "--dtype", "float32"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith("compiling kernels for float32 into ")
    assert last.startswith("done in ")
