"""Names of foreign origin in figures: drawn letter by letter, never a formula, a control character or a warning."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from npconv.cli import curves, pictures
from npconv.figures import LONGEST, drawable, write_figure
from npconv.training import Epoch, Recipe
from npconv.training.results import Results

NAMES = ["$", "$x$", r"$\frac$", r"\$ $$", "a\x1b[31m\nb", "\u202e東", "\udcff", "", "n" * 5000]
EPOCHS = [Epoch(1, 1.0, 0.5, 1.0, 0.5, 0.1, 1.0)]
CONFUSION = np.eye(len(NAMES), dtype=int)


def assert_png(path: Path) -> None:
    contents = path.read_bytes()
    assert contents.startswith(b"\x89PNG")
    assert len(contents) < 1 << 20


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_it_is(tmp_path: Path, name: str) -> None:
    from matplotlib.cbook import is_math_text
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 2))
    text = figure.text(0.5, 0.5, drawable(name))
    write_figure(tmp_path / "p.png", figure)
    assert_png(tmp_path / "p.png")
    shown, formula = text._preprocess_math(text.get_text())
    assert formula is False
    assert is_math_text(text.get_text()) is False
    assert shown.isprintable()
    assert len(shown) <= LONGEST
    if name.isascii() and name.isprintable() and len(name) < LONGEST and "\\" not in name:
        assert shown == name


WITHOUT_A_HOME = """
import sys
from npconv.figures import write_figure
from matplotlib.figure import Figure
write_figure(sys.argv[1], Figure(figsize=(1, 1)))
"""


def test_nothing_is_said_where_there_is_no_home(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("MPLCONFIGDIR", "XDG_CACHE_HOME")}
    environment |= {"HOME": str(tmp_path / "p.png" / "nowhere"), "XDG_CONFIG_HOME": "/dev/null/nowhere"}
    command = [sys.executable, "-c", WITHOUT_A_HOME, str(tmp_path / "p.png")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_png(tmp_path / "p.png")


def test_the_curves_of_a_run(tmp_path: Path) -> None:
    curves.draw(tmp_path / "c.png", NAMES[2], EPOCHS, 1, CONFUSION, NAMES, smoothed=True)
    assert_png(tmp_path / "c.png")


@pytest.mark.slow
def test_runs_and_mistakes(tmp_path: Path) -> None:
    count = len(NAMES)
    summary = {"confusion": CONFUSION.tolist(), "class_names": NAMES, "test_accuracy": 0.5}
    runs = [Results(tmp_path / name, Recipe(), EPOCHS, summary) for name in NAMES if "\udcff" not in name]
    images, labels, logits = np.zeros((count, 1, 2, 2)), np.arange(count), np.eye(count)[::-1]
    worst = pictures.worst_mistakes(images, labels, logits, NAMES, count)
    pictures.draw_runs(tmp_path / "r.png", runs, worst)
    pictures.draw_mistakes(tmp_path / "m.png", NAMES[2], CONFUSION, NAMES, images, labels, logits)
    for name in ("r.png", "m.png"):
        assert_png(tmp_path / name)
