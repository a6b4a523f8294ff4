"""The run: right implementations are right in every mode, and whatever else a function does is in the report."""

from __future__ import annotations

import json
import os
import re
import warnings

import numpy as np
import pytest

import npconv
from npconv import check, ops
from npconv.check import Unsupported
from npconv.testing.strategies import OPERATORS
from npconv.workers import WorkerError


def run(op="conv2d", *, cases=12, shrinking=0, **functions):
    return check.run(op, cases=cases, shrinking=shrinking, **functions)


def counts(report):
    return {(result.direction, result.mode): result for result in report.results}


@pytest.mark.slow
@pytest.mark.parametrize("op", OPERATORS)
def test_the_kernels_are_right(op):
    """They are held against the reference: no false alarm in some hundreds of cases."""
    with npconv.backend("numba"):
        report = run(op, forward=getattr(ops, op), backward=getattr(ops, f"{op}_backward"), cases=20)
    assert report.ok
    assert not report.failures
    assert report.cases == 20
    for result in report.results:
        assert result.cases + result.skipped == 20
        assert result.worst <= 1
    assert counts(report)["forward", "bound"].cases >= 10  # of NaN, infinity and denormals the other mode tells more
    assert counts(report)["backward", "bound"].cases >= 10


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("op", ["conv2d", "octave_conv2d", "avg_pool2d", "batch_norm2d", "softmax_cross_entropy"])
def test_in_other_precisions(op, dtype):
    report = run(op, forward=getattr(ops, op), backward=getattr(ops, f"{op}_backward"), dtype=dtype, cases=30)
    assert report.ok
    assert report.dtype == np.dtype(dtype).name
    assert all(result.cases for result in report.results if result.mode == "bound")


def test_a_direction_alone():
    report = run(forward=npconv.conv2d)
    assert [(result.direction, result.mode) for result in report.results] == [
        ("forward", "exact"),
        ("forward", "bound"),
    ]
    report = run(backward=npconv.conv2d_backward)
    assert [(result.direction, result.mode) for result in report.results] == [
        ("backward", "exact"),
        ("backward", "bound"),
    ]


@pytest.mark.parametrize("mode", check.MODES)
def test_a_mode_alone(mode):
    report = run(forward=npconv.conv2d, backward=npconv.conv2d_backward, modes=(mode,))
    assert report.ok
    assert {result.mode for result in report.results} == {mode}
    assert all(result.cases for result in report.results)


def test_the_adjoint_identity_does_not_trust_npconv():
    """A gradient that is wrong fails it, and a forward that is none of npconv's, with its own gradient, does not."""

    def doubled(x, w, b=None, **options):
        return npconv.conv2d(2 * x, w, b, **options)

    def doubled_backward(dy, x, w, b=None, **options):
        dx, dw, db = npconv.conv2d_backward(dy, x, w, b, **options)
        return 2 * dx, 2 * dw, db

    assert run(forward=doubled, backward=doubled_backward, modes=("adjoint",)).ok
    report = run(forward=doubled, backward=npconv.conv2d_backward, modes=("adjoint",))
    told = [failure.message for failure in report.failures]
    told += [other for failure in report.failures for other in failure.also]
    assert {name for name in ("<dx, x>", "<dw, w>", "<db, b>") if name in " ".join(told)} == {"<dx, x>", "<dw, w>"}


def raising(error):
    def function(*args, **options):
        raise error

    return function


def rectified_in_place(x):
    if x.flags.writeable:
        x *= x > 0
    return np.maximum(x, 0)


@pytest.mark.parametrize(
    ("forward", "kind", "message"),
    [
        (lambda x: x[..., None], "shape", r"y must have the shape \(.*\), got \(.*1\)"),
        (lambda x: x.astype(np.float64), "dtype", "y must have the dtype float32, got float64"),
        (lambda x: x.tolist(), "type", "y must be a NumPy array, got (list|float)"),
        (lambda x: None, "type", "y must be a NumPy array, got NoneType"),
        (lambda x: np.full_like(x, np.nan), "nan", "y.* must be .*, got nan"),
        (rectified_in_place, "mutation", "x must be left as it is, got it changed"),
        (lambda x: x[...], "alias", "a result must have memory of its own, got it in that of x"),
        (raising(ZeroDivisionError("no\nzeros")), "exception", "ZeroDivisionError: no zeros"),
        (raising(SystemExit(3)), "exception", "SystemExit: 3"),
        (raising(WorkerError("hang", "not done after 1 s")), "hang", "not done after 1 s"),
        (raising(WorkerError("death", "signal 11")), "death", "signal 11"),
        (raising(WorkerError("exception", "no", "TypeError")), "exception", "TypeError: no"),
    ],
)
def test_whatever_a_function_does_is_in_the_report(forward, kind, message):
    report = run("relu", forward=forward, cases=8)
    assert not report.ok
    assert report.cases == 8
    failure = next((one for one in report.failures if one.kind == kind), report.failures[0])
    assert (failure.direction, failure.kind) == ("forward", kind)
    assert re.fullmatch(message, failure.message), failure.message
    json.loads(report.to_json())
    assert kind in str(report)


@pytest.mark.parametrize(
    ("backward", "kind", "message"),
    [
        (lambda dy, x, w, b=None: (dy, w), "count", "the gradients must be 3, dx, dw, db, got 2"),
        (lambda dy, x, w, b=None: dy, "type", "the gradients must be a tuple, got ndarray"),
        (lambda dy, x, w, b=None: (x, w, None), "type", "db must be a NumPy array, got NoneType"),
    ],
)
def test_gradients_must_be_one_per_argument(backward, kind, message):
    report = run("linear", backward=backward, cases=8)
    assert message in [failure.message for failure in report.failures]
    assert kind in [failure.kind for failure in report.failures]


def test_an_absent_argument_has_no_gradient():
    def backward(dy, x, w, b=None):
        dx, dw, db = npconv.linear_backward(dy, x, w, b)
        return dx, dw, dy.sum(axis=0) if db is None else db

    report = run("linear", backward=backward, cases=20)
    assert {failure.message.partition(",")[0] for failure in report.failures} == {"db must be None"}


def test_what_is_unsupported_is_no_failure():
    def no_groups(x, w, b=None, *, groups=1, **options):
        if groups > 1:
            raise Unsupported("groups are not implemented on CPU")
        return npconv.conv2d(x, w, b, **options)

    report = run(forward=no_groups, cases=30)
    assert report.ok
    result = counts(report)["forward", "exact"]
    assert result.unsupported > 0 < result.cases
    assert result.unsupported + result.cases == 30
    assert list(report.unsupported) == ["groups are not implemented on CPU"]
    assert "unsupported" in str(report)


def test_errors_beyond_chance_are_suspicious_and_no_failure():
    """Half the rigorous bound in every long sum, where chance gives a tenth."""

    def biased(x, w, b=None):
        exact = x.astype(float) @ w.T.astype(float) + (0 if b is None else b)
        magnitude = np.abs(x).astype(float) @ np.abs(w.T)
        terms = (x != 0).astype(float) @ (w != 0).T
        terms[terms <= 100] = 0
        return (exact + 0.5 * terms * 2.0**-24 * magnitude).astype(np.float32)

    report = run("linear", forward=biased, modes=("bound",), cases=60)
    assert report.ok
    assert counts(report)["forward", "bound"].suspicious > 0


@pytest.mark.slow
def test_effective_bits_are_those_of_the_arithmetic():
    def narrowed(x, w, b=None, **options):
        return npconv.conv2d(x, w, b, **options).astype(np.float16).astype(np.float32)

    bits = counts(run(forward=narrowed))["forward", "bound"].bits
    assert 10.5 < bits < 12.5
    assert 21 < counts(run(forward=npconv.conv2d))["forward", "bound"].bits < 24.5


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run():
    wrong = {"forward": lambda x, w, b=None, **options: npconv.conv2d(x, w, b, **options) + 1}
    first, second = (run(**wrong, seed=3).as_dict() | {"seconds": 0} for _ in range(2))
    assert first == second
    assert first != run(**wrong, seed=4).as_dict() | {"seconds": 0}


def test_errors_at_the_border_are_on_the_map():
    def bad_corner(x, w, b=None, **options):
        y = npconv.conv2d(x, w, b, **options)
        y[:, :, -1, 0] += 1
        return y

    cells = run(forward=bad_corner, cases=40).maps["y"]
    assert cells.wrong[-1, 0] > 0
    assert cells.worst[-1, 0] > 1
    inside = np.ones((7, 7), bool)
    inside[[0, -1]] = inside[:, [0, -1]] = False  # maps of one row or column have no other
    assert not cells.wrong[inside].any()
    assert cells.count.sum() >= cells.wrong.sum()


def test_the_histogram_counts_every_number():
    report = run(forward=npconv.conv2d, cases=20, modes=("bound",))
    numbers = sum(report.histogram["forward"])
    assert numbers == report.maps["y"].count.sum()
    assert len(report.histogram["forward"]) == len(check.HISTOGRAM_EDGES) - 1
    assert not any(report.histogram["forward"][13:])  # above the bound


def test_the_arithmetic_is_in_the_report_where_asked_for():
    assert run(forward=npconv.conv2d).arithmetic is None
    assert run("relu", forward=npconv.relu, arithmetic=True).arithmetic is None
    report = run(forward=npconv.conv2d, arithmetic=True)
    assert report.arithmetic.name in str(report)
    assert report.arithmetic.name in report.to_json()


def test_progress_is_told():
    told = []
    run("relu", forward=npconv.relu, cases=5, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 5) for number in range(1, 6)]


def test_ctrl_c_gives_what_there_is():
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    report = run("relu", forward=np.abs, cases=10, progress=stop)
    assert report.interrupted
    assert report.cases == 3
    assert report.failures
    assert not report.ok
    assert "(interrupted)" in str(report)
    calm = run("relu", forward=npconv.relu, cases=10, progress=stop)
    assert (calm.verdict, calm.ok) == ("interrupted", False)


def test_arguments_are_checked_before_any_work():
    for wrong, message in [
        ({"op": "conv3d"}, "op must be one of conv2d, .* got 'conv3d'"),
        ({"cases": 0}, "cases must be at least 1, got cases=0"),
        ({"modes": ("exact", "close")}, "modes must be some of exact, bound, adjoint, got 'close'"),
        ({"forward": None}, "forward or backward must be given, got None for both"),
    ]:
        with pytest.raises(ValueError, match=message):
            check.run(**({"op": "relu", "forward": np.abs} | wrong))
    with pytest.raises(TypeError, match="dtype must be float16, bfloat16, float32 or float64, got int32"):
        check.run("relu", forward=np.abs, dtype=np.int32)


def test_results_that_change_later_have_names_of_their_own():
    """A buffer that is used again is no wrong gradient, and another sum each time no wrong number."""
    buffers, calls = {}, []

    def reused(x):
        y = buffers.setdefault(x.shape, np.empty_like(x))
        return np.maximum(x, 0, out=y)

    def restless(x):
        calls.append(x)
        return np.maximum(x, 0) * np.float32(1 + 1e-7 * len(calls))

    (failure,) = run("relu", forward=reused, cases=40).failures
    assert (failure.kind, failure.message) == (
        "overwritten",
        "a result must stay as it is, got it changed by the next call",
    )
    assert "unrepeatable" in {failure.kind for failure in run("relu", forward=restless, cases=40).failures}


class Unspeakable(BaseException):
    def __str__(self):
        raise RuntimeError("no words")


def test_whatever_is_raised_ends_in_a_report():
    for error, message in [
        (Unspeakable(), "Unspeakable: (whose message cannot be printed)"),
        (GeneratorExit(), "GeneratorExit: "),
    ]:
        (failure,) = run("relu", forward=raising(error), cases=4).failures
        assert failure.message == message
    report = run("relu", forward=raising(NotImplementedError("no vectors here")), cases=4)
    assert list(report.unsupported) == ["no vectors here"]
    assert (report.verdict, report.ok) == ("nothing examined", False)


def test_a_fork_does_not_go_on_with_the_check():
    def forking(x):
        os.fork()
        return np.maximum(x, 0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run("relu", forward=forking, cases=3).ok


@pytest.mark.slow
def test_the_verdict_says_what_was_examined():
    report = run("conv2d", forward=npconv.conv2d, cases=60)
    told = str(report)
    assert "examined: kernel to 11x11; stride to 8; dilation to 8; padding to " in told
    assert "; not examined: " in told
    assert report.coverage.cases == 60
    counts = report.as_dict()["coverage"]["examined"]["dilation"]
    assert sum(counts.values()) == 60
    report = run("conv2d", forward=lambda x, w: np.zeros(1), cases=0 + 4)
    assert not report.ok


def test_a_mean_may_be_a_product_with_a_rounded_reciprocal():
    """It rounds whole quotients; both its directions do, so the adjoint identity is not asked."""

    def forward(x):
        return x.sum(axis=(2, 3), keepdims=True) * np.float32(1 / (x.shape[2] * x.shape[3]))

    def backward(dy, x):
        return dy * np.float32(1 / (x.shape[2] * x.shape[3])) * np.ones_like(x)

    assert check.run("global_avg_pool2d", forward=forward, backward=backward, cases=40, shrinking=0).ok


def test_layers_of_networks_are_checked_at_their_real_size():
    report = run("channel_shuffle", forward=npconv.channel_shuffle, cases=5, networks=True)
    assert report.ok, report
    assert report.cases == 5 + 12
    only_large = run(
        "channel_shuffle",
        forward=lambda x, groups: npconv.channel_shuffle(x, groups) + (x.shape[2] == 56),
        cases=5,
        networks=True,
        shrinking=0,
    )
    assert "real size, shufflenet_v1" in str(only_large.failures[0].case)


def test_a_report_shows_itself_in_a_notebook():
    report = run("relu", forward=lambda x: x, cases=40, modes=["exact"], shrinking=100)
    html = report._repr_html_()
    assert html.startswith("<p><b>")
    assert "DIFFERENT" in html
    assert html.count("<tr>") == 1 + len(report.results)
    assert html.count("<pre>") == len(report.failures) > 0


def narrowed(array, bits):
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(array.dtype)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bits"), [("bfloat16", 8), ("tf32", 11)])
def test_a_declared_arithmetic_is_judged_by_its_own_rounding(name, bits):
    """Factors of fewer bits are right where they are declared, in both directions, and wrong where they are not."""

    def forward(x, w, b=None):
        y = npconv.linear(narrowed(x, bits), narrowed(w, bits), b)
        return narrowed(y, bits) if name == "bfloat16" else y

    def backward(dy, x, w, b=None):
        dy, x, w = (narrowed(a, bits) for a in (dy, x, w))
        gradients = npconv.linear_backward(dy, x, w, b)
        return tuple(narrowed(a, bits) if a is not None and name == "bfloat16" else a for a in gradients)

    functions = {"forward": forward, "backward": backward, "cases": 60}
    report = run("linear", declared=name, **functions)
    assert report.ok, report
    assert f"linear in float32 judged as {name}, 60 cases: equal" in str(report)
    assert all(result.cases for result in report.results)
    assert not run("linear", **functions).ok
    assert not run("linear", declared=name, forward=lambda x, w, b=None: narrowed(forward(x, w, b), 5), cases=60).ok
    with pytest.raises(ValueError, match=r"the arithmetic must be one of float16, .* got 'int8'"):
        run("linear", declared="int8", **functions)
