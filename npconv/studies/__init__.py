"""The papers' findings at small scale: networks that differ in one thing, trained alike with several seeds.

    >>> sorted(STUDIES)
    ['ghost', 'octave', 'resolution', 'separable', 'shuffle', 'width']

`run_study` trains the variants of a study; `compare` says in a sentence whether the paper's trend is visible.
"""

from npconv.studies.maps import band_energies, pair_errors
from npconv.studies.running import Outcome, compare, run_study
from npconv.studies.variants import STUDIES, Study, Trend, Variant

__all__ = [
    "STUDIES",
    "Outcome",
    "Study",
    "Trend",
    "Variant",
    "band_energies",
    "compare",
    "pair_errors",
    "run_study",
]
