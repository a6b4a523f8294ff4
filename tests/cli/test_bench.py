"""`npconv bench` as a user meets it: a short run, its files, Ctrl-C, and one line where an option is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from npconv.bench import machine, run
from npconv.bench.peers import OWN, PLACES
from npconv.cli import bench
from npconv.cli.app import app

ONE = ("--filter", "depthwise mobilenet_v1 1x1024->1024 @7", "--rounds", 1, "--seconds", 0, "--threads", 1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """NumPy in every process, and a machine that needs no measuring."""
    monkeypatch.setenv("NPCONV_BACKEND", "numpy")
    limits = machine.Machine(1, 1e11, ((1000, 1e10), (10**9, 1e10)), 0.1)
    monkeypatch.setattr(machine, "measure", lambda threads, dtype: limits._replace(threads=threads))


def call(*words):
    return CliRunner().invoke(app, ["bench", *map(str, words)])


@pytest.mark.slow
def test_a_run_prints_a_table_and_writes_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "bench"), *sys.path])
    monkeypatch.setitem(PLACES, "torch", "entrants:Slow")
    monkeypatch.setitem(PLACES, "jax", "entrants:Wrong")
    monkeypatch.setattr(bench, "installed", lambda peer: True)
    files = "-o", tmp_path / "run.json", "--plot", tmp_path / "roofline.png"
    result = call("ops", *ONE, "--peers", "torch,jax", *files)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[4] for line in lines if line[:2] == ["depthwise", "mobilenet_v1"]] == ["3x3"] * 2
    assert result.stdout.count("copy  torch") == 2
    assert "jax: value 0 is wrong" in result.stdout
    assert "100 GF/s of fused multiply-adds" in result.stdout
    told = json.loads((tmp_path / "run.json").read_text())
    assert [row["direction"] for row in told["rows"]] == ["forward", "backward"]
    assert [set(row["seconds"]) for row in told["rows"]] == [{OWN, "torch"}] * 2
    assert [row["in_channels"] for row in told["rows"]] == [1024, 1024]
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_networks_run_and_are_told_apart_in_any_window(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    small = bench.NETWORK_CASES[0]._replace(batch=2, size=8)
    monkeypatch.setattr(bench, "NETWORK_CASES", [small])
    result = call("networks", "--rounds", 1, "--seconds", 0, "--threads", 1, "--peers", "")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("tiny_mobilenet") == 2
    assert "step" in result.stdout


@pytest.mark.slow
def test_ctrl_c_prints_what_there_is(monkeypatch, tmp_path):
    def interrupted(plan):
        for number, (case, direction) in enumerate(plan.rows):
            if number == 1:
                raise KeyboardInterrupt
            yield [run.Row(case, direction, 1, {OWN: [0.001]}, {})]

    monkeypatch.setattr(bench, "run", interrupted)
    result = call("ops", "--filter", "^shuffle", "--peers", "", "--threads", 1, "-o", tmp_path / "part.json")
    assert result.exit_code == 130
    assert result.stdout.count("shufflenet") == 1
    assert "interrupted after 1 of 8" in result.stderr
    assert len(json.loads((tmp_path / "part.json").read_text())["rows"]) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--direction", "sideways"], "--direction must be some of forward, backward, input_grad, weight_grad, got 'sideways'"),
        (["--peers", "abacus"], "--peers must be some of npconv_c_order, torch, torch_channels_last, onnxruntime, jax, tensorflow, got 'abacus'"),
        (["--threads", "-1"], "--threads must be"),
        (["--threads", "1,many"], "--threads must be"),
        (["--threads", "100000"], "--threads must be"),
        (["--dtype", "float16"], "--dtype must be one of float32, float64, got 'float16'; did you mean float64 or float32?"),
        (["--filter", "no such layer"], "--filter must match an operator, a network or a shape, such as standard, pointwise, "),
        (["--filter", "("], "--filter must be a regular expression, got '('"),
        (["--out", "no/such/folder/run.json"], "--out must be a file in a folder that exists, got no/such/folder/run.json"),
        (["--plot", "."], "--plot must be a file, got a folder: ."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_wrong_option_is_one_line(words, sentence):
    result = call("ops", *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr


def test_a_peer_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(bench, "installed", lambda peer: False)
    result = call("ops", "--peers", "jax")
    assert result.exit_code == 2
    assert "--peers must be installed frameworks, got 'jax'" in result.stderr
