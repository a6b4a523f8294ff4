"""Every operator explained: its index formulas, which can be computed, where its gradients come from, and an example.

``npconv explain conv2d`` prints it, and the pages of the documentation are made with it.
"""

from npconv.explain import convolutions, maps, two_stage
from npconv.explain.explanation import Explanation
from npconv.explain.formula import Formula
from npconv.explain.pictures import draw_numbers, window

EXPLANATIONS: dict[str, Explanation] = {
    told.op: told for told in (*convolutions.EXPLANATIONS, *two_stage.EXPLANATIONS, *maps.EXPLANATIONS)
}
"""{operator: its explanation}, for every operator that has a backward."""

__all__ = ["EXPLANATIONS", "Explanation", "Formula", "draw_numbers", "window"]
