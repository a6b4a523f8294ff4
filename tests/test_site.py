"""The pages of the site: each runs by itself, and every formula that it shows, it has computed and compared."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

import npconv
from npconv.explain import Formula

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

SITE = Path(__file__).parents[1] / "examples" / "site"
PAGES = sorted((SITE / "pages").glob("*.py"))


@pytest.fixture
def evaluated(monkeypatch):
    """The texts of the formulas that are evaluated."""
    found: set[str] = set()
    evaluate = Formula.evaluate

    def watched(self, *args, **values):
        found.add(self.text)
        return evaluate(self, *args, **values)

    monkeypatch.setattr(Formula, "evaluate", watched)
    return found


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
def test_a_page_runs_and_computes_every_formula_that_it_shows(page, evaluated):
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with npconv.backend("numpy"):
        names = runpy.run_path(str(page))
    pictures = pyplot.get_fignums()
    pyplot.close("all")
    source = page.read_text(encoding="utf-8")
    not_computed = set(shown(source, names)) - evaluated
    assert not not_computed
    assert pictures, "a page has a picture"
    assert source.count("\nassert ") + source.count("    assert ") >= 2, "a page compares what it shows"


def test_every_page_has_a_place_in_the_order():
    source = ast.parse((SITE / "gallery.py").read_text(encoding="utf-8"))
    (order,) = (
        ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PAGES"
    )
    assert sorted(order) == [page.stem for page in PAGES]
