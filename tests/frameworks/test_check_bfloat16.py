"""bfloat16: arrays of ml_dtypes for functions of NumPy, tensors for PyTorch, JAX's own, all judged by its rounding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from required import framework

import npconv
from npconv.check import fingerprint, run
from npconv.check.adapters import load
from npconv.check.bfloat16 import dtype_named
from npconv.check.case import Case
from npconv.check.corpus import cases
from npconv.check.isolation import Isolated

ml_dtypes = framework("ml_dtypes")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def in_float32(name: str, factor: float = 1.0) -> Any:
    """npconv's function of that name on arrays of bfloat16, whose result is rounded once."""

    def wide(value: Any) -> Any:
        return None if value is None else np.asarray(value, np.float32)

    def narrow(value: Any) -> Any:
        return None if value is None else (value * np.float32(factor)).astype(BFLOAT16)

    def call(*args: Any, **options: Any) -> Any:
        assert all(array is None or array.dtype == BFLOAT16 for array in args)
        with npconv.backend("numpy"):
            found = getattr(npconv, name)(*map(wide, args), **options)
        return tuple(map(narrow, found)) if isinstance(found, tuple) else narrow(found)

    return call


@pytest.mark.parametrize("op", ["conv2d", "linear", "max_pool2d", "hard_swish", "channel_shuffle"])
def test_a_function_of_arrays(op: str) -> None:
    functions = {"forward": in_float32(op), "backward": in_float32(f"{op}_backward")}
    report = run(op, **functions, dtype="bfloat16", cases=60)
    assert report.ok, report
    assert f"{op} in bfloat16, 60 cases: equal" in str(report)
    judged = {(result.direction, result.mode): result.cases for result in report.results}
    assert judged["forward", "bound"] > 20
    assert op == "hard_swish" or judged["forward", "exact"] > 5


def test_what_is_off_by_more_than_its_rounding_is_shown(tmp_path: Path) -> None:
    """The program that shows it needs no npconv."""
    report = run("linear", forward=in_float32("linear", 1 + 2.0**-5), dtype=BFLOAT16, cases=20, shrinking=100)
    text = report.failures[0].reproduction
    assert "from ml_dtypes import bfloat16" in text
    assert not run("linear", forward=in_float32("linear", 1.0), dtype="bfloat16", declared="tf32", cases=20).failures
    program = tmp_path / "program.py"
    program.write_text("def checked_function(x, w, b):\n    return x @ w.T\n\n" + text)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    assert "must be" in done.stdout


def test_float32_results_are_no_bfloat16() -> None:
    report = run("relu", forward=lambda x: np.maximum(x.astype(np.float32), 0), dtype="bfloat16", cases=10)
    assert report.failures[0].kind == "dtype"
    assert "y must have the dtype bfloat16, got float32" in report.failures[0].message


def test_numbers_of_a_case_are_those_of_bfloat16() -> None:
    """In every kind, and in every order of memory; the smallest are its own smallest."""
    for case in map(Case.in_bfloat16, cases("relu", 100)):
        for name, array in case.given().items():
            assert array.dtype == BFLOAT16
            assert np.array_equal(array.astype(np.float32), case.multiplied().arrays[name], equal_nan=True)
        if (case.numbers or "").endswith("denormal"):
            name = case.numbers.partition(":")[0]
            assert case.given()[name].astype(np.float32).any()
        real = case.real().arrays
        assert all(np.array_equal(a.astype(BFLOAT16).astype(a.dtype), a, equal_nan=True) for a in real.values())


def test_its_arithmetic() -> None:
    found = fingerprint(in_float32("conv2d"), dtype="bfloat16", channels=3, out_channels=4, size=10)
    assert found.name == "bfloat16 products, float32 sums", found


@pytest.mark.parametrize(
    ("name", "op"),
    [
        *(("torch", op) for op in ("conv2d", "octave_conv2d", "softmax_cross_entropy")),
        ("torch_channels_last", "conv2d"),
        ("jax", "relu6"),
    ],
)
def test_frameworks(name: str, op: str) -> None:
    framework(name.partition("_")[0])
    with Isolated(name) as subject:
        report = subject.check(op, dtype="bfloat16", cases=10)
        assert report.ok, report
        assert sum(result.cases for result in report.results) > 10
        assert not report.unsupported


def test_jax_adds_up_a_bias_gradient_in_bfloat16() -> None:
    """15 times -0.96875 are -14.5 once rounded, and -14.75 where each sum is rounded: its products have sums in float32."""
    framework("jax")
    with Isolated("jax") as subject:
        report = subject.check("linear", dtype="bfloat16", cases=10)
    assert {(failure.direction, failure.argument) for failure in report.failures} == {("backward", "db")}


def test_reproductions_of_tensors() -> None:
    torch = framework("torch")
    x, w = (np.ones(shape, BFLOAT16) for shape in ((1, 1, 3, 3), (1, 1, 2, 2)))
    names: dict[str, Any] = {"np": np, "x": x, "w": w, "b": None, "dy": np.ones((1, 1, 2, 2), BFLOAT16)}
    for direction in ("forward", "backward"):
        scope = dict(names)
        exec(load("torch").source("conv2d", (x, w, None), {"stride": 1}, direction), scope)
        got = scope["got"] if direction == "forward" else scope["got"][0]
        assert got.max() == 4
    assert torch.float32 == torch.get_default_dtype()


def test_functions_of_tensors() -> None:
    torch = framework("torch")

    def conv2d(x: torch.Tensor, w, b=None, *, stride=1, groups=1):  # type: ignore[name-defined,no-untyped-def]
        assert x.dtype == torch.bfloat16
        return torch.nn.functional.conv2d(x, w, b, stride=stride, groups=groups)

    conv2d.takes_arrays = "torch"  # type: ignore[attr-defined]
    report = run("conv2d", forward=conv2d, dtype="bfloat16", cases=20)
    assert report.ok, report


def test_adapters_that_are_not_asked() -> None:
    with Isolated("npconv") as subject:
        report = subject.check("relu", dtype="bfloat16", cases=5)
    assert report.verdict == "nothing examined"
    assert list(report.unsupported) == ["npconv is not asked for bfloat16"]


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="bfloat16 needs the package ml_dtypes, which is not installed"):
        dtype_named("bfloat16")
