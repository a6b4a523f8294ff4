"""Reports as a JUnit file, which continuous integration shows: a suite for each report, a test for each direction and mode."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from npconv.check.report import Report, Result
from npconv.printable import printable


def junit(reports: Sequence[Report]) -> str:
    """The reports as XML.

    A test is skipped where nothing was judged. A report that is not ok though nothing of it differs, since it was interrupted
    or nothing was examined, has a failing test that says so.

    >>> import npconv
    >>> from npconv import check
    >>> report = check.run("relu", forward=npconv.relu, cases=2)
    >>> junit([report]).count("<testcase ")
    2
    """
    root = ElementTree.Element("testsuites")
    for report in reports:
        suite = ElementTree.SubElement(root, "testsuite", name=printable(f"{report.subject}: {report.op}"))
        for result in report.results:
            test = _test(suite, report, f"{result.direction} {result.mode}")
            if result.failed:
                _add(test, "failure", *_of(report, result))
            elif not result.cases:
                _add(test, "skipped", "; ".join(report.unsupported) or "nothing was judged")
        if report.verdict in ("interrupted", "nothing examined"):
            _add(_test(suite, report, "verdict"), "error", report.verdict)
        if report.coverage is not None:
            ElementTree.SubElement(suite, "system-out").text = printable(report.coverage.sentence())
        counts = {"tests": "testcase", "failures": ".//failure", "errors": ".//error", "skipped": ".//skipped"}
        for name, path in counts.items():
            suite.set(name, str(len(suite.findall(path))))
        suite.set("time", f"{report.seconds:.3f}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _test(suite: ElementTree.Element, report: Report, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=printable(f"{report.subject}.{report.op}"), name=name)


def _of(report: Report, result: Result) -> tuple[str, str]:
    """The message of a result with failures, and what there is to read of them."""
    found = [failure for failure in report.failures if (failure.direction, failure.mode) == result[:2]]
    message = f"{result.failed} of {result.cases} cases differ"
    told = [f"{failure.kind}: {failure.message}\n\n{failure.reproduction}" for failure in found]
    return message, "\n\n".join(told) or "its failures are the ones of the other tests"


def _add(test: ElementTree.Element, kind: str, message: str, text: str = "") -> None:
    ElementTree.SubElement(test, kind, message=printable(message)).text = printable(text, keep="\n") or None
