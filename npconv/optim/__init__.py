"""Optimisers, learning-rate schedules, and the moving average of a model.

>>> from npconv import optim
>>> optimizer = optim.SGD(optim.cosine(0.1, total=1000, warmup=100), momentum=0.9, nesterov=True)
"""

from npconv.optim.average import Average
from npconv.optim.optimizers import SGD, Adam, AdamW, NoDecay, Optimizer
from npconv.optim.schedules import Schedule, constant, cosine, linear, step

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Average",
    "NoDecay",
    "Optimizer",
    "Schedule",
    "constant",
    "cosine",
    "linear",
    "step",
]
