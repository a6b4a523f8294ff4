"""The papers' findings at small scale: networks that differ in one thing, trained alike with several seeds.

    >>> sorted(STUDIES)
    ['ghost', 'octave', 'resolution', 'separable', 'shuffle', 'width']

`run_study` trains the variants of a study; `compare` says in a sentence whether the paper's trend is visible, and
`draw_accuracies`, `draw_costs` and `draw_finding` make its diagrams.
"""

from npconv.studies.drawing import draw_accuracies, draw_costs, draw_finding
from npconv.studies.findings import FINDINGS, Finding, photograph_energies, predicted_maps
from npconv.studies.maps import band_energies, pair_errors
from npconv.studies.running import Outcome, compare, run_study
from npconv.studies.variants import STUDIES, Study, Trend, Variant

__all__ = [
    "FINDINGS",
    "STUDIES",
    "Finding",
    "Outcome",
    "Study",
    "Trend",
    "Variant",
    "band_energies",
    "compare",
    "draw_accuracies",
    "draw_costs",
    "draw_finding",
    "pair_errors",
    "photograph_energies",
    "predicted_maps",
    "run_study",
]
