"""The cross-check: is another implementation right, how right, and what arithmetic does it use?

    report = npconv.check.run("conv2d", forward=my_conv, backward=my_conv_backward)
    print(report)

needs NumPy alone; the frameworks that adapters are for come with ``pip install "npconv[check]"``.
"""

from npconv.check.adapters import Unsupported
from npconv.check.arithmetic import Arithmetic, fingerprint
from npconv.check.case import Case
from npconv.check.comparison import DIRECTIONS, MODES, Direction, Failure, Mode
from npconv.check.coverage import Coverage
from npconv.check.examination import Checked
from npconv.check.generation import cases_for
from npconv.check.report import HISTOGRAM_EDGES, BorderMap, Report, Result
from npconv.check.running import run

__all__ = [
    "DIRECTIONS",
    "HISTOGRAM_EDGES",
    "MODES",
    "Arithmetic",
    "BorderMap",
    "Case",
    "Checked",
    "Coverage",
    "Direction",
    "Failure",
    "Mode",
    "Report",
    "Result",
    "Unsupported",
    "cases_for",
    "fingerprint",
    "run",
]
