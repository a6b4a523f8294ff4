"""Reproductions: programs that run as they are, without npconv, and show the deviation."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import npconv
from npconv import check, ops
from npconv.check.corpus import chosen_cases, filled, known_cases
from npconv.check.examination import Checked, examine
from npconv.check.reproduction import imported, reproduction
from npconv.testing import map_arrays


def shown(failure, capsys, **names):
    """The two numbers that the last line of the reproduction prints; `names` are what it finds besides NumPy."""
    assert "import npconv" not in failure.reproduction
    exec(compile(failure.reproduction, "reproduction", "exec"), dict(names))
    return capsys.readouterr().out.split()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["exact", "bound"])
@pytest.mark.parametrize("op", ["conv2d", "octave_conv2d", "avg_pool2d", "softmax_cross_entropy", "ghost_conv2d"])
def test_a_wrong_number_is_printed_beside_the_right_one(op, mode, capsys):
    def one_more(*args, **options):
        return map_arrays(lambda y: y + np.float32(1), getattr(ops, op)(*octave_args(op, args), **options))

    report = check.run(op, forward=one_more, cases=10, modes=(mode,), shrinking=200)
    for failure in report.failures:
        got, _, _, expected = shown(failure, capsys, checked_function=one_more)
        assert float(got) == pytest.approx(float(expected) + 1, rel=1e-5)
        assert float(got) == pytest.approx(failure.got, rel=1e-6)
        assert float(expected) == failure.expected


@pytest.mark.slow
def test_a_wrong_gradient(capsys):
    def doubled(dy, x, w, b=None, **options):
        dx, dw, db = npconv.conv2d_backward(dy, x, w, b, **options)
        return dx, 2 * dw, db

    report = check.run("conv2d", backward=doubled, cases=10, modes=("exact",), shrinking=200)
    (failure,) = report.failures
    assert failure.argument == "dw"
    assert failure.case.size == 3
    got, _, _, expected = shown(failure, capsys, checked_function=doubled)
    assert float(got) == 2 * float(expected)
    assert 'print(got[1][0, 0, 0, 0], "must be", 1.0)' in failure.reproduction


@pytest.mark.slow
@pytest.mark.parametrize("op", ["conv2d", "ghost_conv2d", "channel_shuffle", "octave_conv2d"])
def test_the_adjoint_identity_is_printed_with_both_sides(op, capsys):
    """For every argument, a bias and the ghosts' filters among them: large cases, which are drawn again, and small ones."""

    def forward(*args, **options):
        return getattr(ops, op)(*octave_args(op, args), **options)

    def doubled(dy, *args, **options):
        gradients = getattr(ops, f"{op}_backward")(dy, *octave_args(op, args), **options)
        return map_arrays(lambda gradient: 2 * gradient, gradients)

    def source(op, args, options, direction):
        return f"got = {'forward_of(' if direction == 'forward' else 'backward_of(dy, '}*args, **options)"

    failures = [
        failure
        for case in [*known_cases(op)[:3], *chosen_cases(op, 20)]
        for finding in examine(Checked(forward, doubled), case, [("backward", "adjoint")])
        for failure in finding.failures
    ]
    assert failures
    for failure in failures:
        failure = failure._replace(reproduction=reproduction(failure, source))
        left, _, _, right = shown(failure, capsys, forward_of=forward, backward_of=doubled)
        assert (float(left), float(right)) == (failure.expected, failure.got)
        assert 2 * float(left) == float(right)


def octave_args(op, args):
    """The program has named tuples of its own, or plain ones; npconv wants its own for the kernels."""
    return (args[0], ops.OctaveWeight(*args[1]), *args[2:]) if op == "octave_conv2d" else args


@pytest.mark.slow
@pytest.mark.parametrize("op", ["conv2d", "octave_conv2d", "batch_norm2d"])
def test_the_arrays_are_the_cases(op):
    """Numbers, powers of two, and how they lie in memory; a large array that is nearly 0 in a few lines."""
    for case in chosen_cases(op, 60):
        failure = check.Failure(case, "backward", "exact", "exception", "", "Error: no")
        found = {}
        exec(compile(reproduction(failure, lambda *_: "got = None"), "reproduction", "exec"), found)
        for name, tree in case.given().items():
            assert_same(found[name], tree)


def test_a_large_array_of_few_numbers_is_short():
    case = known_cases("conv2d")[30]
    x = np.zeros_like(case.args[0])
    x[0, 0, 0, 1] = 3
    case = case.with_arrays({name: map_arrays(np.zeros_like, tree) for name, tree in case.arrays.items()} | {"x": x})
    text = reproduction(check.Failure(case, "forward", "exact", "exception", "", "no"), lambda *_: "got = None")
    assert "x[0, 0, 0, 1] = 3" in text
    assert len(text) < 500


def assert_same(found, tree):
    if isinstance(tree, tuple):
        assert len(found) == len(tree)
        for left, right in zip(found, tree, strict=True):
            assert_same(left, right)
    elif tree is None:
        assert found is None
    else:
        assert found.dtype == tree.dtype
        assert [step for step, length in zip(found.strides, found.shape, strict=True) if length > 1] == [
            step for step, length in zip(tree.strides, tree.shape, strict=True) if length > 1
        ]
        np.testing.assert_array_equal(found, tree)


def test_large_other_cases_are_compressed():
    case = filled(known_cases("conv2d")[20].problem, "a label")._replace(label="another")
    failure = check.Failure(case, "backward", "exact", "exception", "", "Error: no")
    found = {}
    exec(compile(reproduction(failure, lambda *_: "got = None"), "reproduction", "exec"), found)
    for name, tree in case.arrays.items():
        assert_same(found[name], tree)


@pytest.mark.parametrize(
    ("change", "kind", "printed"),
    [
        (lambda y: y[:, :1], "shape", "must be"),
        (lambda y: y.astype(np.float64), "dtype", "float64 must be float32"),
    ],
)
def test_garbage_is_printed_beside_what_must_be(change, kind, printed, capsys):
    def garbage(x, w, b=None, **options):
        return change(np.concatenate([npconv.conv2d(x, w, b, **options)] * 2, 1)[:, : len(w)])

    report = check.run("conv2d", forward=garbage, cases=20, shrinking=200)
    failure = next(failure for failure in report.failures if failure.kind == kind)
    assert printed in " ".join(shown(failure, capsys, checked_function=garbage)).replace("'", "")


def test_functions_are_imported_by_their_names(tmp_path):
    """From a file of the user's own, in another process."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n\n\ndef leaky(x):\n    return np.where(x < 0, x / 2, x)\n", encoding="utf-8"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import mine

        report = check.run("relu", forward=mine.leaky, cases=10, shrinking=200)
    finally:
        sys.path.remove(str(tmp_path))
    text = report.failures[0].reproduction
    assert "from mine import leaky" in text
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.endswith(" must be 0.0\n")


def test_the_text_of_an_imported_call():
    source = imported(npconv.conv2d, npconv.conv2d_backward)
    assert source("conv2d", (), {"stride": 2}, "forward") == (
        "from npconv.ops.standard import conv2d\n\ngot = conv2d(x, w, b, stride=2)"
    )
    assert "got = conv2d_backward(dy, x, w, b)" in source("conv2d", (), {}, "backward")
    assert "softmax(logits, labels=labels)" in imported(softmax, None)(
        "softmax_cross_entropy", (), {"labels": np.zeros(1, int)}, "forward"
    )


def softmax(logits, labels):
    raise NotImplementedError
