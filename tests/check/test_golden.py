"""Golden files: what a program of another language writes for them is judged as a function is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import npconv
from npconv.check import corpus, golden
from npconv.check.expected import expected
from npconv.check.features import MEMORY
from npconv.testing import exact_forward
from npconv.testing.problem import Problem

EXAMPLES = Path(__file__).parents[2] / "examples" / "golden"


def answer(folder, op, change=lambda y: y):
    """Answer every problem with npconv's own forward, from the files alone."""
    for row in json.loads((folder / golden.MANIFEST).read_text())["problems"]:
        here = folder / row["name"]
        given = {name: np.load(here / f"{name}.npy") for name in row["arguments"]}
        given.pop("dy")
        options = {name: given.pop(name) for name in ("labels",) if name in given} | row["options"]
        y = getattr(npconv, op)(*given.values(), **options)
        assert y.shape == tuple(row["results"]["y"])
        np.save(here / "y.got.npy", change(y))


@pytest.mark.slow
@pytest.mark.parametrize("op", ["depthwise_conv2d", "avg_pool2d", "softmax_cross_entropy"])
def test_right_answers_are_equal(op, tmp_path):
    problems = golden.write(op, tmp_path, cases=16)
    assert problems == len((tmp_path / "problems.txt").read_text().splitlines()) >= 16
    nothing = golden.judge(tmp_path)
    assert nothing.verdict == "nothing examined"
    answer(tmp_path, op)
    report = golden.judge(tmp_path)
    assert report.ok
    assert sum(result.cases for result in report.results) >= 16


@pytest.mark.parametrize(("change", "verdict"), [(0, "equal"), (1, "different")])
def test_as_safetensors(change, verdict, tmp_path):
    """A file for each problem, and one for its results."""
    safetensors = pytest.importorskip("safetensors.numpy")
    golden.write("linear", tmp_path, cases=8, format="safetensors")
    for row in json.loads((tmp_path / golden.MANIFEST).read_text())["problems"]:
        given = safetensors.load_file(tmp_path / f"{row['name']}.safetensors")
        y = npconv.linear(given["x"], given["w"], given.get("b"))
        assert given["y"].dtype == given["y.bound"].dtype == np.float64
        assert y.shape == given["y"].shape == tuple(row["results"]["y"])
        safetensors.save_file({"y": y + np.float32(change)}, tmp_path / f"{row['name']}.got.safetensors")
    assert golden.judge(tmp_path).verdict == verdict


@pytest.mark.parametrize("op", ["conv2d", "avg_pool2d", "softmax_cross_entropy"])
def test_as_onnx_has_its_own_tests(op, tmp_path):
    """The layout that runtimes read; ONNX's reference gives what is written."""
    onnx = pytest.importorskip("onnx")
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    def read(path):
        return numpy_helper.to_array(onnx.load_tensor(str(path)))

    count, equal = golden.write(op, tmp_path, cases=8, seed=3, format="onnx"), 0
    folders = sorted(tmp_path.glob(f"test_{op}_*"))
    assert len(folders) == count > 0
    for folder in folders:
        model = onnx.load(str(folder / "model.onnx"))
        inputs = sorted(folder.glob("test_data_set_0/input_*.pb"))
        assert len(inputs) == len(model.graph.input)
        feeds = {value.name: read(path) for value, path in zip(model.graph.input, inputs, strict=True)}
        with np.errstate(all="ignore"):
            (got,) = ReferenceEvaluator(model).run(None, feeds)
        right = read(folder / "test_data_set_0" / "output_0.pb")
        assert (got.shape, got.dtype) == (right.shape, right.dtype)
        equal += np.allclose(
            got, right, rtol=1e-3, atol=1e-5 * np.abs(right[np.isfinite(right)]).max(initial=1), equal_nan=True
        )
    assert equal > 0.8 * count  # its reference has mistakes of its own
    with pytest.raises(ValueError, match="--results must be npy or safetensors"):
        golden.judge(tmp_path)


def test_wrong_answers_differ(tmp_path):
    golden.write("relu", tmp_path, cases=12)
    answer(tmp_path, "relu", lambda y: y + np.float32(1))
    report = golden.judge(tmp_path)
    assert report.verdict == "different"


def test_the_files_say_what_is_right_by_themselves(tmp_path):
    """The results with their bounds are those that the check judges by, and the manifest has the keys of its schema."""
    golden.write("linear", tmp_path, cases=8)
    told = json.loads((tmp_path / golden.MANIFEST).read_text())
    assert set(golden.SCHEMA["required"]) <= told.keys()
    for row in told["problems"]:
        here = tmp_path / row["name"]
        args = [np.load(here / f"{name}.npy") for name in ("x", "w")]
        b = np.load(here / "b.npy") if "b" in row["arguments"] else None
        y, bound = np.load(here / "y.npy"), np.load(here / "y.bound.npy")
        (right,) = exact_forward(Problem("linear", (*args, b), {}))
        np.testing.assert_allclose(y, right.value, 1e-14, 1e-13)  # BLAS may add what was read in another order
        got, finite = npconv.linear(*args, b), np.isfinite(y)
        assert (np.abs(got[finite] - y[finite]) <= bound[finite]).all()
        np.testing.assert_array_equal(got[~finite], y[~finite])
        assert row["name"].endswith("r") or not bound.any()


def test_a_gradient_with_several_right_values_leaves_the_result_in_the_files():
    """A NaN in dy meets padding in a sum of dw, which may read it or not; y has nothing to do with it."""
    case = next(
        golden.PLAIN.adapted(case)
        for case in corpus.cases("conv2d", 100)
        if case.numbers == "dy: NaN" and not all(map(golden._is_only_one, expected(case, "backward").rows))
    )
    assert [row.name for row, _ in golden._right(case, whole=True)] == ["y"]


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--results must be a folder that npconv cases has written, got "):
        golden.judge(tmp_path)
    with pytest.raises(ValueError, match="--format must be one of npy, safetensors, onnx, got 'csv'"):
        golden.write("relu", tmp_path, cases=2, format="csv")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_reader_in_c(tmp_path):
    """Right; and with an off-by-one at dilation 4, different."""
    golden.write("conv2d", tmp_path / "golden", cases=60)
    text = (EXAMPLES / "conv2d.c").read_text()
    bug = text.replace("s * dilation[1]", "s * (dilation[1] - (dilation[1] == 4))")
    assert bug != text
    for source, verdict in ((text, "equal"), (bug, "different")):
        (tmp_path / "conv2d.c").write_text(source)
        subprocess.run(["cc", "-O1", "-o", tmp_path / "conv2d", tmp_path / "conv2d.c"], check=True)
        subprocess.run([tmp_path / "conv2d", tmp_path / "golden"], check=True)
        assert golden.judge(tmp_path / "golden").verdict == verdict


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("rustc") is None, reason="needs a Rust compiler")
def test_the_reader_in_rust(tmp_path):
    golden.write("relu", tmp_path / "golden", cases=30)
    subprocess.run(["rustc", "-O", "-o", tmp_path / "relu", EXAMPLES / "relu.rs"], check=True)
    subprocess.run([tmp_path / "relu", tmp_path / "golden"], check=True)
    report = golden.judge(tmp_path / "golden")
    assert report.ok
    assert {result.direction for result in report.results if result.cases} == {"forward", "backward"}


@pytest.mark.parametrize("kind", ["npy", "bin", "safetensors"])
def test_a_failure_reads_the_wrong_number_from_its_file(kind, tmp_path, capsys):
    """A person pastes the lines: no arguments in base64, no order of memory that a file does not have."""
    golden.write("depthwise_conv2d", tmp_path, cases=40)
    answer(tmp_path, "depthwise_conv2d", lambda y: y + np.float32(1))
    if kind != "npy":
        for path in tmp_path.glob("*/y.got.npy"):
            y = np.load(path)
            path.unlink()
            if kind == "bin":
                path.with_suffix(".bin").write_bytes(np.ascontiguousarray(y).tobytes())
            else:
                safetensors = pytest.importorskip("safetensors.numpy")
                safetensors.save_file({"y": np.ascontiguousarray(y)}, tmp_path / f"{path.parent.name}.got.safetensors")
    report = golden.judge(tmp_path)
    assert report.failures
    for failure in report.failures:
        assert not failure.case.orders
        assert "base64" not in failure.reproduction
        exec(compile(failure.reproduction, "reproduction", "exec"), {})
        got, _, _, expected = capsys.readouterr().out.split()
        assert (float(got), float(expected)) == (failure.got, failure.expected)
    assert set(report.coverage.missing()["memory of x"]) == set(MEMORY) - {"C order"}
