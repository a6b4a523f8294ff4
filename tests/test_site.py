"""The pages of the site: each runs by itself, and every formula that it shows, it has computed and compared."""

from __future__ import annotations

import ast
import doctest
import math
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import pytest
from mistaken import unnoticed

import npconv
from npconv.explain import EXPLANATIONS, Formula

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

SITE = Path(__file__).parents[1] / "examples" / "site"
PAGES = sorted((SITE / "pages").glob("*.py"))


@pytest.fixture
def evaluated(monkeypatch):
    """The formulas that are evaluated, by their texts: what with, and what came out."""
    found = {}
    evaluate = Formula.evaluate

    def watched(self, *args, **values):
        result = evaluate(self, *args, **values)
        found.setdefault(self.text, []).append((args, values, result))
        return result

    monkeypatch.setattr(Formula, "evaluate", watched)
    yield found
    monkeypatch.undo()


def shown(source, names):
    """The formulas that are the last expression of a block, which the site prints, of those that the page has by `names`."""
    for block in source.split("\n# %%")[1:]:
        body = ast.parse(block[block.index("\n") :]).body
        if body and isinstance(body[-1], ast.Expr):
            value = eval(ast.unparse(body[-1]), names) if not isinstance(body[-1].value, ast.Call) else None
            if isinstance(value, Formula):
                yield value.text


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_runs_and_computes_every_formula_that_it_shows(page, evaluated, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.chdir(page.parent)  # as the site runs it
    from matplotlib import pyplot

    threads = numba.get_num_threads()
    with npconv.backend("numpy"):
        names = runpy.run_path(str(page))
    numba.set_num_threads(threads)  # a page that measures takes one
    pictures = pyplot.get_fignums()
    pyplot.close("all")
    source = page.read_text(encoding="utf-8")
    formulas = {value.text for value in names.values() if isinstance(value, Formula)} | set(shown(source, names))
    assert not formulas - set(evaluated), "a formula is computed"
    explained = {formula.text for told in EXPLANATIONS.values() for formula in told.formulas}  # tests/explain has these
    for text in formulas - explained:
        assert unnoticed(text, evaluated[text]) == []
    assert pictures, "a page has a picture"
    assert source.count("\nassert ") + source.count("    assert ") >= 2, "a page compares what it shows"


def by_hand(source):
    """The chains like ``4*10 + 7 = 47`` in the text of a page, each as the values of its sides that are numbers alone."""
    text = " ".join(line.removeprefix("#").strip() for line in source.splitlines())
    for literal in re.findall(r"``([^`]+)``", text):
        sides = [side for side in literal.split(" = ") if re.fullmatch(r"(sqrt|[0-9\s.+*/()-])+", side)]
        if len(sides) > 1:
            yield literal, {eval(side, {"sqrt": math.sqrt}) for side in sides}


def test_what_a_page_works_out_by_hand_is_right():
    chains = [chain for page in PAGES for chain in by_hand(page.read_text(encoding="utf-8"))]
    assert len(chains) >= 12
    assert [literal for literal, values in chains if len(values) > 1] == []
    ((_, values),) = by_hand("# a planted mistake, ``y = 1*1\n# + 2*2 = 6``")
    assert values == {5, 6}


def test_every_page_has_a_place_in_the_order():
    source = ast.parse((SITE / "gallery.py").read_text(encoding="utf-8"))
    (order,) = (
        ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PAGES"
    )
    assert sorted(order) == [page.stem for page in PAGES]


def code_blocks(text, language):
    """The blocks of code of that language on a page of text."""
    for match in re.finditer(rf"^( *)\.\. code-block:: {language}\n\n", text, re.MULTILINE):
        inside = len(match.group(1)) + 3
        lines = []
        for line in text[match.end() :].splitlines():
            if line.strip() and len(line) - len(line.lstrip()) < inside:
                break
            lines.append(line)
        yield textwrap.dedent("\n".join(lines)).strip() + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("page", ["train", "check", "costs"])
def test_what_a_page_shows_in_a_prompt_is_what_comes_out(page):
    with npconv.backend("numpy"):
        found = doctest.testfile(str(SITE / f"{page}.rst"), module_relative=False)
    assert found.attempted >= 3
    assert not found.failed


def check(folder, *words):
    """`npconv check` on a module that is in `folder`."""
    command = [sys.executable, "-m", "npconv", "check", "mine:conv2d", "--op", "conv2d", "--cases", "40", *words]
    paths = {"PYTHONPATH": f"{folder}:{Path(npconv.__file__).parents[1]}", "NPCONV_BACKEND": "numpy"}
    return subprocess.run(
        command, cwd=folder, env={"PATH": "/usr/bin:/bin", **paths}, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 2], ids=["numpy", "c"])
def test_the_functions_of_the_page_on_checking_are_checked_and_right(place, tmp_path):
    text = (SITE / "check.rst").read_text(encoding="utf-8")
    if place == 2:
        if shutil.which("cc") is None:
            pytest.skip("there is no C compiler")
        (source,) = code_blocks(text, "c")
        (tmp_path / "conv.c").write_text(source)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", "libconv.so", "conv.c"], cwd=tmp_path, check=True)
    (tmp_path / "mine.py").write_text(list(code_blocks(text, "python"))[place])
    result = check(tmp_path, "--modes", "exact", "--no-fingerprint")
    assert result.returncode == 0, result.stdout + result.stderr
    judged = int(re.search(r"^conv2d +forward +exact +([0-9]+)", result.stdout, re.MULTILINE).group(1))
    assert judged >= 10, "most problems must be among those that the function can do"


@pytest.mark.slow
def test_a_mistake_in_the_c_kernel_of_the_page_is_found(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    text = (SITE / "check.rst").read_text(encoding="utf-8")
    (source,) = code_blocks(text, "c")
    (tmp_path / "conv.c").write_text(source.replace("r < R;", "r < R - 1;"))
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", "libconv.so", "conv.c"], cwd=tmp_path, check=True)
    (tmp_path / "mine.py").write_text(list(code_blocks(text, "python"))[2])
    result = check(tmp_path, "--modes", "exact", "--no-fingerprint")
    assert result.returncode == 1
    assert "mine:conv2d: different" in result.stdout


@pytest.mark.slow
def test_the_page_on_training_trains_on_folders_and_goes_on(tmp_path):
    image = pytest.importorskip("PIL.Image")
    text = (SITE / "train.rst").read_text(encoding="utf-8")
    (command,) = code_blocks(text, "sh")
    for name, shade in [("cats", 40), ("dogs", 200)]:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(6):
            image.new("RGB", (40, 30), (shade, number, shade)).save(tmp_path / "photos" / name / f"{number}.png")
    words = [sys.executable, "-m", *command.split(), "--epochs", "1", "--backend", "numpy"]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=300)
    assert (tmp_path / "run" / "curves.png").exists()
    words = [sys.executable, "-m", "npconv", "predict", "--weights", "run", "photos/cats/0.png"]
    result = subprocess.run(words, cwd=tmp_path, check=True, timeout=300, capture_output=True, text=True)
    assert "cats" in result.stdout
