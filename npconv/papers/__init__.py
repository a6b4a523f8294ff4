"""What the four papers print, as data, each figure beside the function that computes it anew.

Published figures stand here as they are printed, with their source; a computed one is never written down. One file per
paper has its rows, what it says of accuracy, and what of it is not computed here, and why. `npconv tables` prints them.

    >>> from npconv.papers import PAPERS, judge
    >>> row = PAPERS["mobilenet"].rows[0]
    >>> row.published, judge(row).mark.value
    ('10838016', 'equal')
"""

from npconv.papers.ghostnet import PAPER as _GHOSTNET
from npconv.papers.mobilenet import PAPER as _MOBILENET
from npconv.papers.octconv import PAPER as _OCTCONV
from npconv.papers.published import COUNTS, SOURCES, UNITS, Accuracy, Judged, Mark, Paper, Row, judge
from npconv.papers.shufflenet import PAPER as _SHUFFLENET

PAPERS = {"mobilenet": _MOBILENET, "shufflenet": _SHUFFLENET, "octconv": _OCTCONV, "ghostnet": _GHOSTNET}

__all__ = ["COUNTS", "PAPERS", "SOURCES", "UNITS", "Accuracy", "Judged", "Mark", "Paper", "Row", "judge"]
