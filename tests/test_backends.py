"""Choosing a backend: by block, by environment variable, per thread; and never another one than was chosen."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import npconv
from npconv import backends, kernels, reference

X = np.array([-1.0, 2.0])


def run(code, backend=None):
    """What a fresh Python prints, with NPCONV_BACKEND set to `backend`."""
    environment = {name: value for name, value in os.environ.items() if name != "NPCONV_BACKEND"}
    if backend is not None:
        environment["NPCONV_BACKEND"] = backend
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def printed(code, backend=None):
    result = run(code, backend)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize(("name", "package"), [("numpy", reference), ("numba", kernels)])
def test_a_block_runs_on_its_backend(monkeypatch, name, package):
    monkeypatch.setattr(package, "relu", lambda x: np.full_like(x, 42.0))
    with npconv.backend(name):
        assert npconv.current_backend() == name
        assert npconv.relu(X).tolist() == [42.0, 42.0]


def test_blocks_nest_and_end():
    before = npconv.current_backend()
    with npconv.backend("numpy"):
        with npconv.backend("numba"):
            assert npconv.current_backend() == "numba"
        assert npconv.current_backend() == "numpy"
        with pytest.raises(ZeroDivisionError), npconv.backend("numba"):
            raise ZeroDivisionError
        assert npconv.current_backend() == "numpy"
    assert npconv.current_backend() == before


def test_a_function_can_be_decorated():
    @npconv.backend("numpy")
    def which():
        return npconv.current_backend()

    assert which() == "numpy"
    assert which() == "numpy"


def test_each_thread_chooses_for_itself():
    default, seen = npconv.current_backend(), {}
    inside, done = threading.Event(), threading.Event()

    def work():
        seen["at first"] = npconv.current_backend()
        with npconv.backend("numba" if default == "numpy" else "numpy"):
            seen["inside"] = npconv.current_backend()
            inside.set()
            done.wait(10)

    with npconv.backend("numpy"):
        thread = threading.Thread(target=work)
        thread.start()
        assert inside.wait(10)
        assert npconv.current_backend() == "numpy"
        done.set()
        thread.join()
    assert seen["at first"] == default
    assert seen["inside"] != default


@pytest.mark.parametrize("name", ["torch", "NumPy", "", None, 1])
def test_an_unknown_name_is_refused(name):
    with (
        pytest.raises(ValueError, match=f"backend must be one of 'numpy', 'numba', got {name!r}"),
        npconv.backend(name),
    ):
        pass


PRINT = "import npconv; print(npconv.current_backend())"
WITHOUT_NUMBA = "import sys; sys.modules['numba'] = None\n"


def test_numba_is_the_default_where_it_is_installed():
    assert printed(PRINT) == "numba"


def test_numpy_is_the_default_elsewhere_and_works():
    code = "import numpy as np, npconv\nprint(npconv.current_backend(), npconv.relu(np.array([-1.0, 2.0])))\nnpconv.show_config()"
    lines = printed(WITHOUT_NUMBA + code).splitlines()
    assert lines[0] == "numpy [0. 2.]"
    assert not [line for line in lines if line.startswith("Numba")]


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_the_environment_chooses(name):
    assert printed(PRINT, name) == name


def test_an_empty_variable_chooses_nothing():
    assert printed(PRINT, "") == "numba"


def test_a_block_goes_before_the_environment():
    assert printed("import npconv\nwith npconv.backend('numpy'): print(npconv.current_backend())", "numba") == "numpy"


def test_the_environment_is_not_read_before_it_is_needed():
    """So that an unknown name harms nobody who chooses for himself."""
    assert printed("import npconv\nwith npconv.backend('numpy'): print(npconv.current_backend())", "cuda") == "numpy"
    result = run(PRINT, "cuda")
    assert result.returncode != 0
    assert "ValueError: NPCONV_BACKEND must be one of 'numpy', 'numba', got 'cuda'" in result.stderr


@pytest.mark.parametrize(
    ("code", "backend", "source"),
    [
        ("import npconv\nwith npconv.backend('numba'): pass", None, "backend"),
        ("import numpy, npconv\nnpconv.relu(numpy.ones(1))", "numba", "NPCONV_BACKEND"),
    ],
)
def test_a_missing_numba_is_an_error_where_it_was_chosen(code, backend, source):
    result = run(WITHOUT_NUMBA + code, backend)
    assert result.returncode != 0
    assert f"ImportError: {source}='numba' needs Numba, which is not installed: pip install numba" in result.stderr


def test_an_error_of_a_kernel_is_not_hidden_by_the_other_backend(monkeypatch):
    def broken(x):
        raise RuntimeError("broken kernel")

    monkeypatch.setattr(kernels, "relu", broken)
    with npconv.backend("numba"), pytest.raises(RuntimeError, match="broken kernel"):
        npconv.relu(X)


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_show_config_prints_what_runs(capsys, name):
    with npconv.backend(name):
        npconv.show_config()
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.count(" "))
    assert rows["npconv"] == npconv.__version__
    assert rows["NumPy"] == np.__version__
    assert rows["backend"] == name
    assert {"Python", "machine", "Numba", "threads", "threading", "kernel", "vector"} <= set(rows)


def test_divert_stands_in_for_the_backend_of_its_block_and_thread():
    x = np.ones((1, 2, 1, 1))
    elsewhere = []

    def stand_in(primitive, *arguments):
        return np.full_like(arguments[0], 7.0)

    with backends.divert(stand_in):
        assert npconv.relu(x).max() == 7
        thread = threading.Thread(target=lambda: elsewhere.append(npconv.relu(x).max()))
        thread.start()
        thread.join()
    assert elsewhere == [1]
    with contextlib.suppress(ValueError), backends.divert(stand_in):
        npconv.conv2d(x, x, groups=3)  # refused: an error ends the block as well
    assert npconv.relu(x).max() == 1


def test_record_collects_the_calls_of_its_block():
    x, w = np.ones((1, 2, 3, 3)), np.ones((2, 1, 2, 2))
    with backends.record() as outer:
        npconv.relu(X)
        with backends.record() as inner:
            npconv.separable_conv2d(x, w, np.ones((3, 2, 1, 1)))
    npconv.relu(X)
    assert [primitive for primitive, _ in outer] == ["relu"]
    assert [primitive for primitive, _ in inner] == ["separable_conv2d"]
    assert outer[0][1][0] is X
    assert inner[0][1][-1].depthwise.groups == 2


def test_record_is_of_this_thread():
    with backends.record() as calls:
        thread = threading.Thread(target=npconv.relu, args=(X,))
        thread.start()
        thread.join()
    assert calls == []


BESIDE_INFINITY = """
import warnings
import numpy as np
import npconv

warnings.simplefilter("error")
rng = np.random.default_rng(0)
with npconv.backend("numpy"):
    for dtype in ("float32", "float64"):
        for rows, terms, columns in rng.integers(1, 12, (200, 3)):
            x, w = np.ones((rows, terms), dtype), np.ones((columns, terms), dtype)
            x[0, 0] = w[-1, -1] = np.inf
            assert np.isinf(npconv.linear(x, w)[0]).all()
            maps = np.repeat(x, 4, axis=1).reshape(rows, terms, 2, 2)
            assert np.isinf(npconv.conv2d(maps, w.reshape(columns, terms, 1, 1))[0]).all()
"""


@pytest.mark.parametrize("processor", [None, "Haswell"])
def test_the_reference_does_not_warn_beside_an_infinity(processor: str | None) -> None:
    """Whatever BLAS does: OpenBLAS's kernels for AVX2 multiply lanes that hold no number, as inf * 0, and the flag stays."""
    environment = os.environ | ({} if processor is None else {"OPENBLAS_CORETYPE": processor})
    command = [sys.executable, "-c", BESIDE_INFINITY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")


DISABLED = """
import os, warnings
os.environ["NUMBA_DISABLE_JIT"] = "1"
os.environ.pop("NPCONV_BACKEND", None)
import numpy as np, npconv
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    y = npconv.relu(np.array([-1.0, 2.0]))
    npconv.relu(y)
with npconv.winograd("off"):
    npconv.show_config()
try:
    with npconv.backend("numba"):
        pass
except ImportError as error:
    print(error)
print(y, *(warning.message for warning in caught), sep="\\n")
"""


def test_without_numbas_compiler_numpy_computes_and_says_so():
    """NUMBA_DISABLE_JIT is for those who debug their own kernels; ours would run as Python, if at all."""
    out = subprocess.run([sys.executable, "-c", DISABLED], capture_output=True, text=True, timeout=120)
    assert out.stderr == ""
    lines = out.stdout.splitlines()
    assert "backend          numpy" in lines
    assert lines[-3:] == [
        "backend='numba' needs Numba's compiler, which the variable NUMBA_DISABLE_JIT turns off",
        "[0. 2.]",
        "npconv computes with NumPy: the variable NUMBA_DISABLE_JIT turns Numba's compiler off",
    ]


@pytest.mark.parametrize(("value", "off"), [("", False), ("0", False), (" 0 ", False), ("1", True), ("2", True)])
def test_when_numbas_compiler_is_off(monkeypatch, value, off):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
    assert backends._compiler_is_off() is off
