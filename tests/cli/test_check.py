"""`npconv check`, as a user meets it: verdicts, exit statuses, files, and one line where something is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import commands
import pytest

import npconv
from npconv.check import isolation, patience, run
from npconv.check.adapters import ADAPTERS
from npconv.check.isolation import Description

CHECK = Path(__file__).parents[1] / "check"  # its broken subjects stand beside its tests


@pytest.fixture(scope="module", autouse=True)
def garbage_is_found():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CHECK))
        patch.setenv("NPCONV_BACKEND", "numpy")
        yield


def call(*words: object) -> tuple[int, str, str]:
    return commands.call("check", *words)


@pytest.mark.slow
def test_a_right_function_is_equal(tmp_path):
    file = tmp_path / "report.json"
    words = ["garbage:right", "--backward", "garbage:right_backward", "--op", "conv2d", "--cases", 12, "-o", file]
    code, stdout, stderr = call(*words)
    assert (code, stderr) == (0, "")
    lines = [line.split() for line in stdout.splitlines()]
    assert lines[0] == ["garbage:right"]
    assert lines[1] == [
        "operator",
        "direction",
        "mode",
        "cases",
        "failed",
        "suspect",
        "unsupported",
        "worst",
        "bits",
    ]
    assert [*lines[2][:3], *lines[2][4:7]] == ["conv2d", "forward", "exact", "0", "0", "0"]
    assert [line[:2] for line in lines[3:7]] == [
        ["forward", "bound"],
        ["backward", "exact"],
        ["backward", "bound"],
        ["backward", "adjoint"],
    ]
    assert "conv2d equal in 12 cases; examined: kernel to " in stdout
    assert "; not examined: " in stdout
    assert "conv2d arithmetic: float32, direct sums." in stdout
    assert "garbage:right: equal" in stdout
    assert stdout.splitlines()[-1] == "12 cases, nothing differs"

    told = json.loads(file.read_text())
    assert told["ok"] is True
    assert told["interrupted"] is False
    (subject,) = told["subjects"]
    assert subject["name"] == "garbage:right"
    (report,) = subject["reports"]
    assert (report["op"], report["cases"], report["seed"], report["verdict"]) == ("conv2d", 12, 0, "equal")
    assert report["coverage"]["cases"] == 12
    assert report["arithmetic"]["name"] == "float32, direct sums"
    assert report["arithmetic"]["same_on_threads"]["evidence"] == "not asked"  # nobody knows how to set them


@pytest.mark.slow
def test_the_fingerprint_is_taken_on_several_threads(monkeypatch):
    asked = []

    def fingerprint(forward, *, by_threads, **settings):
        asked.append(tuple(by_threads))
        raise KeyboardInterrupt  # it is not needed any more

    monkeypatch.setattr("npconv.check.arithmetic.fingerprint", fingerprint)
    monkeypatch.setattr(isolation.Isolated, "check", lambda _, op, **settings: run(op, forward=npconv.relu, **settings))
    with isolation.Isolated("npconv") as subject:
        threads = subject.describe().threads
    assert threads[:1] in [(), (1,)]
    monkeypatch.setattr("npconv.check.subject.OPERATORS", ("relu",))
    call("npconv", "--op", "relu", "--cases", 1)
    assert asked == [threads]


@pytest.mark.slow
def test_a_wrong_function_differs_and_the_next_is_checked(tmp_path):
    page, file, tests = (tmp_path / name for name in ("report.html", "report.json", "report.xml"))
    words = ["garbage:last_row_lost", "npconv", "--op", "conv2d", "--cases", 12, "--seed", 3, "--modes", "exact"]
    words += ["--no-fingerprint", "--timeout", 300]  # npconv's first call may compile
    code, stdout, stderr = call(*words, "--html", page, "-o", file, "--junit", tests)
    assert (code, stderr) == (1, "")
    assert "conv2d forward, exact, value: y[" in stdout
    assert "from garbage import last_row_lost" in stdout
    assert "garbage:last_row_lost: different" in stdout
    assert "adjoint" not in stdout
    assert "arithmetic" not in stdout
    assert stdout.splitlines()[-1] == "24 cases, different: garbage:last_row_lost conv2d"

    told = json.loads(file.read_text())
    assert told["ok"] is False
    assert [report["ok"] for subject in told["subjects"] for report in subject["reports"]] == [False, True]
    assert told["seed"] == told["subjects"][0]["reports"][0]["seed"] == 3
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "garbage:last_row_lost: <span" in text
    assert "from garbage import last_row_lost" in text
    suites = ElementTree.parse(tests).getroot()
    assert [(suite.get("name"), suite.get("failures")) for suite in suites] == [
        ("garbage:last_row_lost: conv2d", "1"),
        (f"npconv {npconv.__version__}: conv2d", "0"),
    ]


@pytest.mark.slow
def test_garbage_is_a_finding_and_never_the_end(tmp_path, monkeypatch):
    """What each of these does in its process is told by its kind; junk on the standard streams is no fault."""
    kinds = {
        "wrong_shape": {"shape"},
        "wrong_dtype": {"dtype"},
        "nan": {"nan"},
        "raising": {"exception"},
        "exiting": {"death"},
        "segfault": {"death"},
        "endless": {"hang"},
        "as_list": {"type"},
        "strange": {"exception"},
        "declining": set(),
        "in_place": {"mutation"},
        "junk": set(),
    }
    monkeypatch.setattr(patience, "PATIENCE", {"hang": 1, "death": 2})
    file = tmp_path / "report.json"
    words = ["--op", "conv2d", "--cases", 4, "--timeout", 3, "--modes", "exact", "--no-fingerprint", "-o", file]
    code, stdout, stderr = call(*(f"garbage:{name}" for name in kinds), *words)
    assert (code, stderr) == (1, "")
    reports = [report for subject in json.loads(file.read_text())["subjects"] for report in subject["reports"]]
    found = {report["subject"]: {failure["kind"] for failure in report["failures"]} for report in reports}
    found["garbage:in_place"] -= {"exception"}  # NumPy's, where one of the cases has an array that is read-only
    assert found == {f"garbage:{name}": expected for name, expected in kinds.items()}
    assert "nothing examined: garbage:declining conv2d" in stdout
    for words in (
        "RuntimeError: out of paper",
        "garbage:exiting ended its process: exit status 7",
        "signal 11",
        "garbage:endless was not done after 3 s",
    ):
        assert words in stdout


@pytest.mark.slow
def test_ctrl_c_prints_what_there_is(tmp_path):
    file, begun = tmp_path / "report.json", tmp_path / "begun"
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import npconv.cli; npconv.cli.main()"
    )
    words = ["garbage:slow", "npconv", "--op", "conv2d", "--cases", "400", "--modes", "exact", "-o", str(file)]
    with subprocess.Popen(
        [sys.executable, "-c", start, "check", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECK,  # the current folder is searched
        env=os.environ | {"PYTHONPATH": str(Path(npconv.__file__).parents[1]), "BEGUN_FILE": str(begun)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "garbage:slow\n"
        while not begun.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
    assert stdout.splitlines()[-1].startswith("interrupted; ")
    told = json.loads(file.read_text())
    assert told["interrupted"] is True
    first, second = told["subjects"]
    assert [report["interrupted"] for report in first["reports"]] == [True]
    assert second["reports"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "SUBJECT must be given: module:function, or one of torch, "),
        (["pytorch"], "a subject must be one of torch, .* or module:function, got 'pytorch'"),
        (["garbage:right"], "--op must name the one operator that garbage:right is, got none"),
        (["garbage:right", "--op", "conv3d"], "--op must be one of conv2d, .* got 'conv3d'"),
        (["garbage:right", "--op", "relu", "--op", "relu6"], "--op must name the one operator .* got relu, relu6"),
        (["garbage:missing", "--op", "relu"], "garbage:missing cannot be loaded: AttributeError: "),
        (["no_such:f", "--op", "relu"], "no_such:f cannot be loaded: ModuleNotFoundError: No module named 'no_such'"),
        (["npconv", "--backward", "garbage:right"], "--backward goes with one function of yours, got 0"),
        (["npconv", "--modes", "exact,fuzzy"], "--modes must be some of exact, bound, adjoint, got 'fuzzy'"),
        (["npconv", "--arithmetic", "int8"], "--arithmetic must be one of float16, bfloat16, tf32, .* got 'int8'"),
        (["npconv", "--dtype", "int8"], "--dtype must be one of float16, bfloat16, float32, float64, got 'int8'"),
        (["npconv", "--cases", "0"], "--cases must be at least 1, got --cases=0"),
        (["npconv", "--seed", "-1"], "--seed must be at least 0, got --seed=-1"),
        (["npconv", "--timeout", "0"], "--timeout must be .*0"),
        (["npconv", "-j", "0"], "--jobs must be at least 1, got .*0"),
        (["npconv", "--device", "cuda:0"], "npconv cannot be loaded: ValueError: --device goes with what has devices"),
        (["npconv", "--junit", "nowhere/r.xml"], "--junit must be a file in a folder that exists, got nowhere/r.xml"),
        (["npconv", "-o", "nowhere/r.json"], "--out must be a file in a folder that exists, got nowhere/r.json"),
    ],
)
def test_bad_usage_is_one_line(words, message):
    code, stdout, stderr = call(*words)
    assert (code, stdout) == (2, "")
    assert stderr.count("\n") == 1
    assert re.match(f"npconv: {message}", stderr), stderr


@pytest.mark.slow
def test_a_wrong_backend_in_the_environment_is_one_line():
    command = [sys.executable, "-m", "npconv", "check", "npconv", "--op", "relu", "--cases", "1"]
    told = subprocess.run(command, env=os.environ | {"NPCONV_BACKEND": "cuda"}, capture_output=True, text=True)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == "npconv: NPCONV_BACKEND must be one of 'numpy', 'numba', got 'cuda'\n"


@pytest.mark.slow
def test_a_narrow_window_keeps_what_tells_the_rows_apart(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    table = call("npconv", "--op", "channel_shuffle", "--cases", 3, "--no-fingerprint")[1]
    assert re.search("operator +direction +mode +cases +failed", table)
    assert " exact " in table
    assert " bound " in table


def test_the_list_tells_what_is_installed(monkeypatch):
    def describe(subject):
        if subject.name != "npconv":
            raise ImportError(f"{subject.name} cannot be loaded: ModuleNotFoundError: No module named 'x'")
        return Description("npconv", {"conv2d": ("forward", "backward"), "relu": ("forward",)}, "1.0")

    monkeypatch.setattr(isolation.Isolated, "describe", describe)
    code, stdout, stderr = call("--list")
    assert (code, stderr) == (0, "")
    heads, *rows = [line.strip().split(maxsplit=3) for line in stdout.splitlines()]
    assert heads == ["name", "framework", "version", "operators"]
    assert [row[0] for row in rows] == list(ADAPTERS)
    told = {row[0]: " ".join(row[1:]) for row in rows}
    assert told.pop("npconv") == "npconv 1.0 2 forward, 1 backward"
    assert set(told.values()) == {"ModuleNotFoundError: No module named 'x'"}
