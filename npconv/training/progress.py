"""What a training is told and what it tells: its plan, where it is, and a record of each epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from npconv.geometry import Array, check_rng, fraction, integer, shown

Augment = Callable[[Array, np.random.Generator], Array]


class Plan(NamedTuple):
    """For how long, and on what batches, a network learns.

    Attributes
    ----------
    epochs, batch : int
        How often every training image is seen, and at most how many at a time.
    label_smoothing : float in [0, 1]
        For the training loss; the validation loss has none.
    augment : function (images, rng) -> images, optional
        Applied to every training batch, as `data.random_shift`.
    early_stop : int, optional
        The training ends after so many epochs without a better one.
    """

    epochs: int
    batch: int
    label_smoothing: float = 0.0
    augment: Augment | None = None
    early_stop: int | None = None

    def checked(self) -> Plan:
        """This plan; TypeError or ValueError where a number is none, or out of its range."""
        integer("epochs", self.epochs, minimum=1)
        integer("batch", self.batch, minimum=1)
        fraction("label_smoothing", self.label_smoothing)
        if self.early_stop is not None:
            integer("early_stop", self.early_stop, minimum=1)
        if self.augment is not None and not callable(self.augment):
            raise TypeError(
                f"augment must be a function of images and rng, as npconv.data.parse_augmentation makes it, got {shown(self.augment)}"
            )
        return self


class Batch(NamedTuple):
    """What `on_batch` is told after each step.

    Attributes
    ----------
    epoch, batch, batches : int
        The epoch and the batch, counted from 1, and how many batches the epoch has.
    loss, accuracy : float
        Means over the epoch's images so far.
    """

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float


class Epoch(NamedTuple):
    """One epoch: how the model did on the training images, and afterwards on the validation images.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    lr : float
        The learning rate of the last step.
    loss, accuracy : float
        On the training images as they were trained on, with smoothed labels where there are such.
    validation_loss, validation_accuracy : float
        Without smoothed labels.
    seconds : float
    """

    epoch: int
    lr: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


def checked_epoch(epoch: Epoch) -> Epoch:
    """`epoch`, once it is known to hold numbers: it was read from a file."""
    integer("epoch", epoch.epoch, minimum=1)
    for name, value in epoch._asdict().items():
        if not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, got {shown(value)}")
    return epoch


class Interrupted(Exception):  # noqa: N818  it is no error
    """`stop` was true after a step; the step is whole, and `Progress` says which it was."""


@dataclasses.dataclass
class Progress:
    """Where a training is: all that the loop needs to go on, next to the model and the optimiser.

    The order of an epoch is a function of `seed` and `epoch`, the augmentation of a batch of these and its place: so nothing
    of what was drawn has to be kept.

    Attributes
    ----------
    seed : int
    epoch, step : int
        The epoch being worked on, counted from 1, and how many of its steps are made.
    seen, right : int
    loss_sum : float
        Of the images of these steps.
    seconds : float
        Spent on the epoch so far.
    records : list of Epoch
        Of the epochs before.
    """

    seed: int
    epoch: int = 1
    step: int = 0
    seen: int = 0
    right: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    records: list[Epoch] = dataclasses.field(default_factory=list)

    @classmethod
    def start(cls, rng: np.random.Generator) -> Progress:
        """The beginning of a training, whose seed is drawn from `rng`."""
        return cls(int(check_rng(rng).integers(1 << 62)))

    def next_epoch(self, record: Epoch) -> None:
        """Go to the beginning of the next epoch."""
        self.records.append(record)
        self.epoch, self.step, self.seen, self.right = self.epoch + 1, 0, 0, 0
        self.loss_sum, self.seconds = 0.0, 0.0


def best_epoch(records: Sequence[Epoch]) -> Epoch | None:
    """The first of the best on the validation images; the loss decides between equals, of which there are many on few images.

    Parameters
    ----------
    records : sequence of Epoch

    Returns
    -------
    Epoch, or None where there is none

    Examples
    --------
    >>> records = [Epoch(1, 0.1, 0.5, 0.9, 0.4, 0.8, 1.0), Epoch(2, 0.1, 0.3, 0.9, 0.3, 0.8, 1.0)]
    >>> best_epoch(records).epoch
    2
    """
    return max(records, key=lambda epoch: (epoch.validation_accuracy, -epoch.validation_loss), default=None)


def stopped_improving(records: Sequence[Epoch], patience: int | None) -> bool:
    best = best_epoch(records)
    return patience is not None and best is not None and records[-1].epoch - best.epoch >= patience
