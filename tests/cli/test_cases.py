"""`npconv cases`, and `npconv check --results`, as a user meets them."""

from __future__ import annotations

import commands


def test_files_are_written_and_judged(tmp_path):
    folder = tmp_path / "golden"
    code, stdout, stderr = commands.call("cases", "relu", "-o", folder, "--cases", 6)
    assert (code, stderr) == (0, "")
    assert stdout.endswith(f"problems of relu in {folder}\n")
    assert (folder / "problems.txt").read_text().startswith("0000w x=")
    code, stdout, _ = commands.call("check", "--results", folder)
    assert code == 1  # nothing has been answered
    assert "nothing examined" in stdout


def test_bad_usage_is_one_line(tmp_path):
    code, stdout, stderr = commands.call("cases", "conv3d", "-o", tmp_path)
    assert (code, stdout) == (2, "")
    assert stderr.startswith("npconv: OP must be one of conv2d, ")
    code, _, stderr = commands.call("cases", "relu", "-o", tmp_path, "--format", "csv")
    assert (code, stderr) == (2, "npconv: --format must be one of npy, safetensors, onnx, got 'csv'\n")
    code, _, stderr = commands.call("check", "--results", tmp_path)
    assert code == 2
    assert "--results must be a folder that npconv cases has written" in stderr
