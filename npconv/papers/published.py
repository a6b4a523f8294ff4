"""What a published figure is: digits as printed, their source, the function that computes the figure anew, and a mark."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from npconv.costs import ModelCost
from npconv.papers.walks import Walk

# What figures of one name may count: the papers, and even the tables of one, do not agree.
COUNTS: dict[str, Callable[[ModelCost], int]] = {
    "MACs, conv": lambda cost: cost.conv_macs,
    "MACs, conv + FC": lambda cost: cost.macs,
    "MACs, conv + FC + pooling": lambda cost: cost.macs + _pooling_taps(cost),
    "weights": lambda cost: cost.weights,
    "weights, conv": lambda cost: cost.weights - _linear_weights(cost),
    "all parameters": lambda cost: cost.parameters,
    "parameters, BN folded": lambda cost: cost.folded_parameters,
}

UNITS = {"": Fraction(1), "%": Fraction(1, 100), "M": Fraction(10**6), "G": Fraction(10**9)}

SOURCES = {
    "MB": "Howard et al., MobileNets, arXiv 1704.04861",
    "MBtf": "tensorflow/models, research/slim/nets/mobilenet_v1.py and mobilenet_v1.md",
    "MBk": "keras-team/keras-applications, mobilenet.py",
    "SH": "Zhang et al., ShuffleNet, arXiv 1707.01083",
    "SHm": "megvii-model/ShuffleNet-Series, ShuffleNetV1",
    "OC": "Chen et al., Drop an Octave, arXiv 1904.05049",
    "OCf": "facebookresearch/OctConv",
    "OCd": "d-li14/octconv.pytorch",
    "GH": "Han et al., GhostNet, arXiv 1911.11907",
    "GHn": "huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch and ghostnet_tensorflow",
    "GHi": "issues of huawei-noah/Efficient-AI-Backbones",
    "timm": "huggingface/pytorch-image-models",
    "osmr": "osmr/imgclsmob, asserted parameter counts",
}


class Row(NamedTuple):
    """One published figure.

    Attributes
    ----------
    table : str
        Where it stands.
    what : str
        What it is about, in the table's words.
    counted : str
        What is counted; a key of `COUNTS` where it is a network's cost.
    published : str
        The figure, digit by digit as printed.
    unit : str
        A key of `UNITS`; without one, an integer is meant to the last digit.
    source : str
        A key of `SOURCES`.
    computed : function of nothing
        The figure itself, in units of 1.
    reason : str
        Why the published figure is not the computed one, where it is not.
    """

    table: str
    what: str
    counted: str
    published: str
    unit: str
    source: str
    computed: Callable[[], int | float | Fraction]
    reason: str = ""


class Mark(enum.Enum):
    """What a published figure is, beside the computed one."""

    EQUAL = "equal"
    ROUNDING = "rounding"
    ERROR = "paper's error"


class Judged(NamedTuple):
    """A row beside what the code computes.

    Attributes
    ----------
    row : Row
    computed : Fraction
    mark : Mark
    note : str
        What there is to say about it.
    """

    row: Row
    computed: Fraction
    mark: Mark
    note: str


class Accuracy(NamedTuple):
    """A published accuracy on ImageNet of a network that can be walked.

    Attributes
    ----------
    family, what : str
        The family of networks, and which of them.
    walk : Walk
        What counts its cost.
    top1 : float
        In percent.
    source : str
        A key of `SOURCES`.
    """

    family: str
    what: str
    walk: Walk
    top1: float
    source: str


class Paper(NamedTuple):
    """All that is told of one paper.

    Attributes
    ----------
    title : str
    rows : tuple of Row
    accuracies : tuple of Accuracy
    not_computed : tuple of str
        What the paper publishes and the code does not compute, and why.
    """

    title: str
    rows: tuple[Row, ...]
    accuracies: tuple[Accuracy, ...]
    not_computed: tuple[str, ...]


def judge(row: Row) -> Judged:
    """Compare the figures of a row exactly, in whole fractions.

    Rounding is to the nearest last digit or, with a note, towards zero; whatever is farther away is an error.

    Parameters
    ----------
    row : Row

    Returns
    -------
    Judged

    Raises
    ------
    ValueError
        The published figure is no number.

    Examples
    --------
    >>> from npconv.papers import PAPERS
    >>> judge(PAPERS["mobilenet"].rows[0]).mark.name
    'EQUAL'
    """
    unit, computed = UNITS[row.unit], Fraction(row.computed())
    published = Fraction(row.published) * unit
    last_digit = unit / 10 ** len(row.published.partition(".")[2])
    if computed == published:
        return Judged(row, computed, Mark.EQUAL, "")
    if 2 * abs(computed - published) <= last_digit:
        return Judged(row, computed, Mark.ROUNDING, "")
    if 0 < computed - published < last_digit:
        return Judged(row, computed, Mark.ROUNDING, "cut off, not rounded to the nearest")
    return Judged(row, computed, Mark.ERROR, row.reason)


def costs_of(table: str, what: str, source: str, walk: Walk, *figures: tuple[str, ...]) -> list[Row]:
    """The rows of one network in one table: each figure is (counted, published, unit), and the reason where it is wrong."""
    return [
        Row(table, what, counted, published, unit, source, functools.partial(_counted, walk, counted), *reason)
        for counted, published, unit, *reason in figures
    ]


def _counted(walk: Walk, counted: str) -> int:
    return COUNTS[counted](walk.cost())


def _pooling_taps(cost: ModelCost) -> int:
    """Additions in average pools between layers, which some tools count: their windows do not overlap and cover the map."""
    return sum(call.cost.elements_in for call in cost.calls if call.primitive == "avg_pool2d")


def _linear_weights(cost: ModelCost) -> int:
    return sum(call.in_shape[1] * call.out_shape[1] for call in cost.calls if call.kind == "linear")
