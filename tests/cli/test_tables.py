"""`npconv tables`, as a user meets it: every row of the papers as text and as JSON, the pictures, and errors in one line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from npconv.cli.app import app
from npconv.papers import PAPERS


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.slow
def test_tables_as_text():
    result = call("tables", "shufflenet")
    assert result.exit_code == 0
    first, headings, *rows = result.stdout.splitlines()
    assert first == "ShuffleNet (arXiv 1707.01083): 7 equal, 29 rounding, 9 paper's error"
    assert headings.split() == ["what", "counted", "published", "computed", "mark", "why"]
    assert rows[0].strip() == "table 1 (SH):"
    assert rows[1].split() == ["g", "=", "1", "MACs,", "conv", "143", "M", "142,502,976", "rounding"]
    assert "SH: Zhang et al., ShuffleNet, arXiv 1707.01083" in rows


def test_tables_as_json():
    result = call("tables", "ghostnet", "--json")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert len(rows) == len(PAPERS["ghostnet"].rows)
    (row,) = (
        row
        for row in rows
        if row["what"] == "Ghost-ResNet-56, s = 2" and row["unit"] == "M" and row["published"] == "63"
    )
    assert row == {
        "paper": "ghostnet",
        "table": "CIFAR-10",
        "source": "GH",
        "what": "Ghost-ResNet-56, s = 2",
        "counted": "MACs, conv + FC",
        "published": "63",
        "unit": "M",
        "computed": 65_286_784,
        "mark": "paper's error",
        "why": "the count without the cheap operations, which are 2.3 million",
    }


@pytest.mark.slow
@pytest.mark.parametrize("paper", ["shufflenet", "ghostnet"])
def test_tables_draw(tmp_path, paper):
    path = tmp_path / "costs.png"
    assert call("tables", paper, "--plot", path).exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vgg"], "npconv: PAPER must be one of mobilenet, shufflenet, octconv, ghostnet, got 'vgg'\n"),
        (
            ["shufflenet", "--plot", "/no/such/folder/costs.png"],
            "npconv: --plot must be a file in a folder that exists, got /no/such/folder/costs.png\n",
        ),
    ],
)
def test_tables_errors_are_one_line(words, message):
    result = call("tables", *words)
    assert result.exit_code == 2
    assert result.stderr.endswith(message)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
