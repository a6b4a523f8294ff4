"""Training: the loop, its checkpoints, its choices, and a run in a folder that can be interrupted and goes on bit for bit.

    >>> import numpy as np
    >>> from npconv import data, models, optim, training
    >>> rng = np.random.default_rng(0)
    >>> net = models.tiny_mobilenet(rng=rng)
    >>> records = training.train(net, data.digits(), optim.SGD(0.1, momentum=0.9), training.Plan(epochs=1, batch=64), rng=rng)
    >>> records[0].validation_accuracy > 0.5
    True

`train` prints nothing and writes nothing; `save` and `resume` keep its state; `Run` does all of it in a folder, by a `Recipe`.
"""

from npconv.training.checkpoint import resume, save
from npconv.training.diagnosis import first_nonfinite
from npconv.training.evaluation import Evaluation, confusion_matrix, evaluate
from npconv.training.loop import check_batch, train
from npconv.training.parallel import Processes, alone, world
from npconv.training.progress import Batch, Epoch, Interrupted, Plan, Progress, best_epoch
from npconv.training.recipe import Recipe, read_recipe
from npconv.training.run import Run

__all__ = [
    "Batch",
    "Epoch",
    "Evaluation",
    "Interrupted",
    "Plan",
    "Processes",
    "Progress",
    "Recipe",
    "Run",
    "alone",
    "best_epoch",
    "check_batch",
    "confusion_matrix",
    "evaluate",
    "first_nonfinite",
    "read_recipe",
    "resume",
    "save",
    "train",
    "world",
]
