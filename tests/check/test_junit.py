"""JUnit files: what fails, what was not judged, and what was not examined at all."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

import npconv
from npconv import check
from npconv.check.junit import junit


def suite_of(report):
    (suite,) = ElementTree.fromstring(junit([report]))
    return suite


def children(suite):
    """The name of each test with the kind of its outcome."""
    return {test.get("name"): next(iter(test)).tag if len(test) else "passed" for test in suite.iter("testcase")}


def test_what_is_equal_passes():
    suite = suite_of(check.run("relu", forward=npconv.relu, backward=npconv.relu_backward, cases=12))
    assert set(children(suite).values()) == {"passed"}
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("relu: relu", "5", "0")
    assert "examined: " in suite.findtext("system-out")


def test_a_difference_is_a_failure_with_its_reproduction():
    report = check.run("relu", forward=np.abs, cases=12, shrinking=100)
    suite = suite_of(report)
    assert children(suite) == {"forward exact": "failure", "forward bound": "failure"}
    text = " ".join(failure.text for failure in suite.iter("failure"))
    assert report.failures[0].message in text
    assert "import numpy as np\n" in text
    assert suite.get("failures") == "2"


def test_nothing_examined_is_an_error():
    def declining(x):
        raise NotImplementedError("no vectors here\x1b")

    suite = suite_of(check.run("relu", forward=declining, cases=3))
    assert children(suite) == {"forward exact": "skipped", "forward bound": "skipped", "verdict": "error"}
    assert suite.find(".//skipped").get("message") == r"no vectors here\x1b"
