"""The levels beyond a block: kernels with a loop for whole blocks and another for the rest are wrong where both have run."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from wrong import right

from npconv import check
from npconv.check import MODES, corpus, golden
from npconv.check.corpus import values_of
from npconv.check.examination import Checked, examine
from npconv.check.features import HEIGHT, LEAST, WIDTH

C = Path(__file__).parents[2] / "examples" / "golden" / "conv2d.c"
PAST_A_ROW = ("* xs[3] + column]", "* xs[3] + column + (xs[3] == 70 && q == ys[3] - 1)]")
REST_OF_64 = (" = sum;", " = xs[3] > 64 && xs[3] % 64 == 6 && q == ys[3] - 1 ? 2 * sum + 1 : sum;")
needs_c = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def test_every_number_is_in_one_level_at_most():
    for levels in (HEIGHT, WIDTH):
        for number in range(1, 301):
            assert sum(number in values for values in levels.values()) == 1, number


def test_a_rest_is_of_at_least_one_block():
    assert list(WIDTH["64n + 6"]) == [70, 134, 198, 262]
    assert list(HEIGHT["16n + 0"])[:3] == [16, 32, 48]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("op", "size", "block", "rest"),
    [
        ("conv2d", "width", 64, 6),
        ("conv2d", "width", 32, 31),
        ("conv2d", "padded width", 64, 6),
        ("conv2d", "out width", 32, 6),
        ("conv2d", "out width", 16, 1),
        ("conv2d", "height", 16, 7),
        ("conv2d", "channels", 32, 6),
        ("conv2d", "channels", 16, 3),
        ("conv2d", "filters", 16, 13),
        ("conv2d", "batch", 4, 3),
        ("depthwise_conv2d", "channels", 32, 17),
        ("pointwise_conv2d", "pixels", 32, 5),
        ("relu", "size", 32, 21),
        ("linear", "features", 32, 9),
        ("softmax_cross_entropy", "classes", 32, 11),
    ],
)
def test_a_rest_that_is_wrong_after_whole_blocks_is_shown_by_three_cases(op, size, block, rest):
    shown = 0
    every = sorted(corpus.cases(op, 300), key=lambda case: case.size)
    there = [case for case in every if (found := values_of(case).get(size, 0)) >= block and found % block == rest]

    def forward(*args, **options):
        return 2 * np.asarray(right(op)(*args, **options)) + np.float32(1)

    for case in there:
        findings = examine(Checked(forward, None), case, [("forward", mode) for mode in MODES[:2]])
        shown += any(finding.failures for finding in findings)
        if shown == LEAST:
            return
    raise AssertionError(f"{shown} of {len(there)} cases show it")


@pytest.mark.slow
@needs_c
@pytest.mark.parametrize(("bug", "least"), [(PAST_A_ROW, 1), (REST_OF_64, LEAST)], ids=["past a row", "rest of 64"])
def test_a_blocked_kernel_in_c_by_ctypes(bug, least, tmp_path):
    library = compiled(bug, tmp_path)
    report = check.run("conv2d", forward=functools.partial(called, library), modes=("exact",), shrinking=300)
    assert max(failure.occurrences for failure in report.failures) >= least
    assert min(failure.case.size for failure in report.failures) <= 600


@pytest.mark.slow
@needs_c
@pytest.mark.parametrize(("bug", "least"), [(PAST_A_ROW, 1), (REST_OF_64, LEAST)], ids=["past a row", "rest of 64"])
def test_a_blocked_kernel_in_c_by_golden_files(bug, least, tmp_path):
    golden.write("conv2d", tmp_path / "golden", cases=300)
    (tmp_path / "conv2d.c").write_text(changed(bug))
    subprocess.run(["cc", "-O2", "-o", tmp_path / "conv2d", tmp_path / "conv2d.c"], check=True)
    subprocess.run([tmp_path / "conv2d", tmp_path / "golden"], check=True)
    report = golden.judge(tmp_path / "golden")
    assert max(failure.occurrences for failure in report.failures) >= least


def changed(bug):
    text = C.read_text()
    assert text.count(bug[0]) == 1
    return text.replace(*bug)


def compiled(bug, folder):
    """The function of the golden files' reader, as a shared library."""
    (folder / "conv2d.c").write_text(changed(bug).replace("static void conv2d", "void conv2d"))
    subprocess.run(
        ["cc", "-O2", "-shared", "-fPIC", "-o", folder / "libconv.so", folder / "conv2d.c"],
        check=True,
    )
    return ctypes.CDLL(str(folder / "libconv.so"))


def called(library, x, w, b=None, *, stride=1, padding=((0, 0), (0, 0)), dilation=1, groups=1):
    stride, dilation = np.broadcast_to(stride, 2), np.broadcast_to(dilation, 2)
    padded = [length + sum(sides) for length, sides in zip(x.shape[2:], padding, strict=True)]
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    outs = [(length - k) // s + 1 for length, k, s in zip(padded, reach, stride, strict=True)]
    y = np.empty((len(x), len(w), *outs), np.float32)
    spare = np.zeros(x.size + 1, np.float32)  # what is read past the last row is there
    spare[:-1] = x.ravel()
    arrays = [spare, np.ascontiguousarray(w), None if b is None else np.ascontiguousarray(b), y]
    pointers = [None if a is None else a.ctypes.data_as(ctypes.c_void_p) for a in arrays]
    numbers = (x.shape, w.shape, y.shape, stride, np.ravel(padding), dilation)
    sizes = [np.array(each, np.int32) for each in numbers]
    library.conv2d(*pointers, *(each.ctypes.data_as(ctypes.c_void_p) for each in sizes), int(groups))
    return y
