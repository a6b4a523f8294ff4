"""Formulas compute what they say, show themselves as well-formed mathematics, and say what is wrong with a text."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from npconv.explain import Formula


def test_a_sum_is_numpys():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-5, 6, (2, 3, 4)), rng.integers(-5, 6, (5, 3))
    got = Formula("y[n,o,h] = sum over c of x[n,c,h] * w[o,c]").evaluate(x=x, w=w)
    assert (got == np.einsum("nch,oc->noh", x, w)).all()


def test_outside_of_an_array_is_zero():
    got = Formula("y[p] = sum over r of x[p + r - pad] * w[r]").evaluate(
        (4,), x=np.arange(1, 5), w=np.array([1, 10, 100]), pad=1
    )
    assert got.tolist() == [210, 321, 432, 43]


def test_a_condition_chooses_terms():
    got = Formula("dx[h] = sum over p, r with p*stride + r = h of dy[p] * w[r]").evaluate(
        (6,), dy=np.array([1, 2]), w=np.array([1, 10, 100]), stride=2
    )
    assert got.tolist() == [1, 10, 102, 20, 200, 0]


def test_sums_in_parentheses_end_there_and_limits_count():
    got = Formula("y[p] = (sum over i < 2 of x[2*p + i]) / 2 + (max over c of z[c])").evaluate(
        (2,), x=np.array([1, 3, 5, 9]), z=np.array([10, 20])
    )
    assert got.tolist() == [22, 27]


def test_cases_constants_and_scalars():
    assert Formula("y[c] = x[c] if x[c] > 0 else 0").evaluate(x=np.array([-1, 2])).tolist() == [0, 2]
    assert Formula("w[c,0] = x[c]").evaluate(x=np.array([7, 8])).shape == (2, 1)
    assert Formula("MACs = N * C // 2").evaluate(N=3, C=5) == 7
    assert Formula("a[i < m] = i * i").evaluate(m=4).tolist() == [0, 1, 4, 9]


def test_the_shape_goes_before_what_an_array_says():
    assert Formula("y[o] = z[o] if o < 2 else 9").evaluate((3,), z=np.array([5, 6])).tolist() == [5, 6, 9]


@pytest.mark.parametrize(
    "text",
    [
        "y[n,o,p,q] = sum over c, r, s of x[n, c, p*stride + r*dilation - pad, q*stride + s*dilation - pad] * w[o,c,r,s]",
        "y[p] = (sum over i < 2 of x[2*p + i]) / 2 + (max over c with c < p of z[c] ** 2)",
        "y[c] = sqrt(x[c] + eps) if -x[c] >= 0 and c != 1 else 2 * (a - b) // (c % 3)",
        "loss = log(x[0]) * exp(x[1])",
        "dw_hh[c] = sum over p of dy_high[p] * x_high[c,p]",
    ],
)
def test_html_is_well_formed(text):
    html = Formula(text)._repr_html_()
    tree = ElementTree.fromstring(html)
    assert tree.find("math").get("alttext") == text
    assert "_sum" not in html
    assert "_over" not in html


def test_parentheses_are_kept():
    letters = "".join(ElementTree.fromstring(Formula("y[p] = a * (b - (c - d))")._repr_html_()).itertext())
    assert letters == "y[p]=a·(b−(c−d))"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y[n]", "a formula must be like 'y\\[n\\] = sum over c of x\\[n,c\\]', got 'y\\[n\\]'"),
        ("y[n] = sum over c x[n,c]", "a formula must be like"),
        ("2 = x", "a formula must begin with a name or an array's element, got '2 = x'"),
    ],
)
def test_what_is_no_formula(text, message):
    with pytest.raises(ValueError, match=message):
        Formula(text)


def test_what_cannot_be_computed():
    with pytest.raises(ValueError, match="every index of a formula must have a size, got none for p in"):
        Formula("y[p] = sum over r of x[p + r] * w[r]").evaluate(x=np.ones(3), w=np.ones(2))
    with pytest.raises(ValueError, match="every name in a formula must have a value, got none for w"):
        Formula("y[p] = x[p] * w[p]").evaluate(x=np.ones(3))
    with pytest.raises(ValueError, match="x\\[p\\] must have 2 indices"):
        Formula("y[p] = x[p]").evaluate(x=np.ones((3, 2)))
