"""Each example runs on its own, without a warning, and draws its picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import npconv

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

TIMED = "fast_convolution"  # its picture shows how long the steps took
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def run(example, *arguments):
    """The example as a user runs it, in a new interpreter that finds this npconv, installed or not."""
    paths = [str(Path(npconv.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-W", "error", str(example), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_draws_its_picture_and_says_what_one_sees(example, tmp_path):
    picture = tmp_path / "picture.png"
    result = run(example, "--out", picture)
    assert result.returncode == 0, result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert 5_000 < picture.stat().st_size < 200_000
    assert len(result.stdout.splitlines()) >= 3
    assert str(picture) in result.stdout
    if example.stem != TIMED:
        assert differing(picture, example.parent / "pictures" / f"{example.stem}.png") == []


def differing(one, other):
    """Where two pictures differ: blocks of 8 x 8 pixels whose mean greys do. Letters that are drawn a little otherwise do not."""
    image = pytest.importorskip("PIL.Image")
    a, b = (np.asarray(image.open(path).convert("L"), float) for path in (one, other))
    if a.shape != b.shape:
        return [f"sizes {a.shape} and {b.shape}"]
    rows, columns = (size // 8 for size in a.shape)
    greys = (a - b)[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).mean(axis=(1, 3))
    return np.argwhere(np.abs(greys) > 15).tolist()


def test_another_number_in_a_picture_is_seen(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure
    for name, text in [("a", "+ 735"), ("b", "+ 736"), ("c", "+ 735")]:
        one = figure(figsize=(3, 1))
        one.text(0.5, 0.5, text)
        one.savefig(tmp_path / f"{name}.png", dpi=110)
    assert differing(tmp_path / "a.png", tmp_path / "b.png")
    assert differing(tmp_path / "a.png", tmp_path / "c.png") == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_readme_names_an_example_and_shows_its_picture(example):
    readme = (example.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"examples/{example.name}" in readme
    assert f"examples/pictures/{example.stem}.png" in readme


def test_pictures_are_small_and_all_are_shown():
    readme = (EXAMPLES[0].parents[1] / "README.md").read_text(encoding="utf-8")
    for picture in (EXAMPLES[0].parent / "pictures").iterdir():
        assert picture.stat().st_size < 200_000
        assert f"examples/pictures/{picture.name}" in readme
