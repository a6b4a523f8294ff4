"""The page of a cross-check: it is whole, needs nothing from elsewhere, escapes all text, and draws what was counted."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

import npconv
from npconv import check
from npconv.check.arithmetic import Arithmetic
from npconv.check.behaviour import Finding
from npconv.check.figures import CELL, border_map, histogram
from npconv.check.html import bits_text, page, short, verdict, worst_text
from npconv.check.report import HISTOGRAM_EDGES, BorderMap, Result

EVIL = "<script>alert('x & y')</script>\x1b[2J\u202e\udcff"
ESCAPED = r"&lt;script&gt;alert(&#x27;x &amp; y&#x27;)&lt;/script&gt;\x1b[2J\u202e\udcff"
SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "link", "br", "hr", "img"}


class Page(HTMLParser):
    """Knows that tags are balanced, and keeps what they are and what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def last_row_lost(x, w, b=None, **options):
    y = npconv.conv2d(x, w, b, **options)
    y[..., -1, :] = 0
    return y


@pytest.fixture(scope="module")
def reports():
    with npconv.backend("numpy"):
        right = check.run(
            "conv2d", forward=npconv.conv2d, backward=npconv.conv2d_backward, cases=40, subject="Right 1.0"
        )
        wrong = check.run("conv2d", forward=last_row_lost, cases=40, subject=EVIL, shrinking=100)
    assert right.ok
    assert not wrong.ok
    return [right, wrong]


def poisoned(report):
    """`report` with text that is markup wherever somebody else's text can be."""
    failure = report.failures[0]
    case = failure.case._replace(label=EVIL)
    failure = failure._replace(case=case, message=EVIL, reproduction=EVIL)
    return dataclasses.replace(
        report,
        failures=(failure,),
        unsupported={EVIL: 3},
        arithmetic=Arithmetic(EVIL, (EVIL,), fused=Finding(True, EVIL)),
    )


@pytest.mark.slow
def test_the_page_is_whole_and_stands_alone(reports):
    read = Page(page(reports, notes=["npconv check right wrong"]))
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert "img" not in read.tags
    assert read.references
    assert all(reference.startswith("#") for reference in read.references)
    text = page(reports)
    assert "@import" not in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    assert "npconv check right wrong" in read.text
    assert page(reports) == text


def test_all_text_is_escaped(reports):
    text = page([poisoned(reports[1])], heading=EVIL, notes=[EVIL])
    assert EVIL not in text
    assert not {"\x1b", "\u202e", "\udcff"} & set(text)
    # heading twice, note, overview, title of the section, arithmetic: name, evidence, answer; message, label,
    # reproduction, unsupported
    assert text.count(ESCAPED) == 12
    Page(text)


def test_the_tables_say_what_was_counted(reports):
    text = page(reports)
    right, wrong = reports
    for report in reports:
        for result in report.results:
            assert f'<td>{result.direction}</td><td>{result.mode}</td><td class="number">{result.cases}</td>' in text
    failed = next(result.failed for result in wrong.results if result.failed)
    assert f'<td class="number bad">{failed}</td>' in text
    assert '<td class="good">equal</td>' in text
    assert '<td class="bad">different</td>' in text
    assert "Failures" not in page([right])
    assert wrong.failures[0].message.partition("[")[0] in text


def test_an_interrupted_run_says_so(reports):
    cut = dataclasses.replace(reports[0], interrupted=True)
    assert "interrupted</td>" in page([cut])
    assert ">equal<" not in page([cut])
    assert "interrupted" not in page(reports)


def test_an_empty_run_is_a_page_too():
    Page(page([]))


def test_verdicts(reports):
    right, wrong = reports
    nothing = dataclasses.replace(right, results=(Result("forward", "exact", unsupported=3),))
    assert verdict([right]) == verdict([right, nothing]) == "equal"
    assert verdict([right, wrong]) == "different"
    assert verdict([nothing]) == verdict([]) == "nothing examined"
    assert "nothing examined" in page([nothing])


@pytest.mark.parametrize(
    ("result", "worst", "bits"),
    [
        (Result("forward", "bound", 3, worst=0.25, bits=22.25), "0.25", "22.2"),
        (Result("forward", "bound", 3, worst=float("inf"), bits=0.0), "∞", "0.0"),
        (Result("forward", "bound", 3), "0", "all"),
        (Result("forward", "bound", unsupported=3), "", ""),
        (Result("forward", "exact", 3), "0", ""),
        (Result("forward", "bound", 3, failed=3), "", ""),  # no call came to an end
        (Result("forward", "exact", 3, failed=3, worst=2.0), "2", ""),
        (Result("backward", "adjoint", 3), "", ""),
    ],
)
def test_figures_of_a_result(result, worst, bits):
    assert (worst_text(result), bits_text(result)) == (worst, bits)


def test_short_numbers():
    assert [short(number) for number in (0.0, 1 / 3, 12345.0, float("inf"))] == ["0", "0.333", "1.23e+04", "∞"]


# --- pictures ----------------------------------------------------------------------------------------------------


def bars(svg, kind):
    """(x, height, title) of the bars of one kind."""
    return [
        (float(rect.get("x")), float(rect.get("height")), title.text)
        for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect")
        if rect.get("class") == kind and (title := rect.find(f"{SVG}title")) is not None
    ]


def test_a_histogram_has_a_bar_for_each_bin_with_numbers():
    forward = [0] * (len(HISTOGRAM_EDGES) - 1)
    forward[0], forward[3], forward[-1] = 1_000_000, 1000, 1
    backward = [7] * len(forward)
    svg = histogram({"forward": forward, "backward": backward})
    drawn = bars(svg, "forward")
    assert [title.split()[1] for *_, title in drawn] == ["1,000,000", "1,000", "1"]
    assert len(bars(svg, "backward")) == len(backward)
    heights = [height for _, height, _ in drawn]
    assert heights[0] > heights[1] > heights[2] > 0
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)  # logarithmic


def test_bars_beyond_the_bound_stand_on_red():
    counts = np.zeros(len(HISTOGRAM_EDGES) - 1, int)
    at_most = int(np.flatnonzero(HISTOGRAM_EDGES == 1)[0]) - 1  # the bin up to 1
    counts[at_most : at_most + 2] = 1
    svg = histogram({"forward": counts.tolist()})
    red = next(rect for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect") if rect.get("class") == "beyond")
    (right, *_), (wrong, *_) = bars(svg, "forward")
    assert right < float(red.get("x")) < wrong


def test_a_border_map_shows_the_worst_of_all_where_it_is():
    side = 7
    zeros = np.zeros((side, side), int)
    one, two = (BorderMap(np.zeros((side, side)), zeros.copy(), zeros + 10) for _ in range(2))
    one.worst[6, 1], one.wrong[6, 1] = np.inf, 5  # the last row, the second column
    two.worst[3, 3] = 0.5
    svg = ElementTree.fromstring(border_map([one, two]))
    cells = {}
    for group in svg.iter(f"{SVG}g"):
        rect, text = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        cells[float(rect.get("x")), float(rect.get("y"))] = (rect.get("class"), text.text, group[0].text)
    assert len(cells) == side**2
    xs, ys = (sorted({place[axis] for place in cells}) for axis in (0, 1))
    assert xs[1] - xs[0] == CELL
    assert cells[xs[1], ys[6]] == ("wrong", "∞", "20 numbers, 5 wrong, the worst error inf bounds")
    assert cells[xs[3], ys[3]][:2] == ("cell", "0.5")
    assert [kind for kind, *_ in cells.values()].count("wrong") == 1


def test_cells_without_numbers_are_empty():
    empty = BorderMap(np.zeros((7, 7)), np.zeros((7, 7), int), np.zeros((7, 7), int))
    svg = ElementTree.fromstring(border_map([empty]))
    assert all(group.find(f"{SVG}text") is None for group in svg.iter(f"{SVG}g"))
