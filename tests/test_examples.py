"""Each example runs on its own, without a warning, and draws its picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import npconv

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

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
