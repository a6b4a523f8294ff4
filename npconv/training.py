"""The training loop: no printing, no files; whoever wants those passes callbacks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from npconv.data import Dataset, batch_count, batches
from npconv.geometry import Array, check_array, check_shape, integer
from npconv.nn import Layer
from npconv.nn.initialization import check_rng
from npconv.ops import softmax_cross_entropy, softmax_cross_entropy_backward
from npconv.optim import Optimizer


class Batch(NamedTuple):
    """What `on_batch` is told: `loss` and `accuracy` are means over the epoch's images so far."""

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float


class Epoch(NamedTuple):
    """One epoch: loss and accuracy on the training images as they were trained on, and afterwards on the validation images.

    `lr` is the learning rate of the epoch's last step.
    """

    epoch: int
    lr: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


class Evaluation(NamedTuple):
    """How a model does on labelled images: mean loss in nats, share of right answers, and the class (N,) predicted for each."""

    loss: float
    accuracy: float
    predictions: Array


def train(
    model: Layer,
    dataset: Dataset,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch: int,
    rng: np.random.Generator,
    label_smoothing: float = 0.0,
    augment: Callable[[Array, np.random.Generator], Array] | None = None,
    on_batch: Callable[[Batch], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Teach `model` to classify the training images of `dataset`, in place, and return one record per epoch.

    Parameters
    ----------
    model : layer
        Maps images (N, C, H, W) to logits (N, K). It is left in evaluation mode.
    dataset : Dataset
        The test part is not looked at.
    optimizer : Optimizer
        Its ``step(model)`` is called once per batch.
    epochs, batch : int
        How often every training image is seen, and at most how many at a time.
    rng : numpy.random.Generator
        Shuffles and augments: the same seed gives the same numbers on the same backend.
    label_smoothing : float in [0, 1]
        For the training loss; the validation loss has none.
    augment : function (images, rng) -> images, optional
        Applied to every training batch, as `data.random_shift`.
    on_batch, on_epoch : function, optional
        Called with a `Batch` after each step and with an `Epoch` after each validation. The model may be looked at then.

    Raises
    ------
    ValueError, TypeError
        epochs or batch below 1; images that the model does not take; labels out of the range of its logits.
    FloatingPointError
        The loss is no longer finite. The step that would have used it is not made.
    """
    epochs, rng = integer("epochs", epochs, minimum=1), check_rng(rng)
    steps = batch_count(len(dataset.train.images), batch)
    records = []
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        model.train()
        seen, loss_sum, right = 0, 0.0, 0
        for step, (images, labels) in enumerate(batches(*dataset.train, batch, rng=rng), start=1):
            x = images if augment is None else augment(images, rng)
            loss, logits = _step(model, optimizer, x, labels, label_smoothing)
            if not math.isfinite(loss):
                raise FloatingPointError(f"{_DIVERGED}, got {loss} in epoch {epoch}, batch {step}")
            seen += len(labels)
            loss_sum += loss * len(labels)
            right += int(np.count_nonzero(logits.argmax(axis=1) == labels))
            if on_batch is not None:
                on_batch(Batch(epoch, step, steps, loss_sum / seen, right / seen))
        validation = evaluate(model, *dataset.validation, batch)
        if not math.isfinite(validation.loss):
            raise FloatingPointError(f"{_DIVERGED}, got {validation.loss} on the validation images in epoch {epoch}")
        seconds = time.perf_counter() - start
        lr = optimizer.lr(optimizer.steps - 1)
        records.append(Epoch(epoch, lr, loss_sum / seen, right / seen, validation.loss, validation.accuracy, seconds))
        if on_epoch is not None:
            on_epoch(records[-1])
    return records


_DIVERGED = "the loss must stay finite, which a lower learning rate may help"
_quietly = np.errstate(over="ignore", invalid="ignore")  # overflow shows in the loss, which is checked


@_quietly
def _step(model: Layer, optimizer: Optimizer, x: Array, labels: Array, label_smoothing: float) -> tuple[float, Array]:
    """Teach the model one batch, and return the loss and the logits from before; a loss that is not finite teaches nothing."""
    logits = model(x)
    loss = float(softmax_cross_entropy(logits, labels, label_smoothing=label_smoothing))
    if math.isfinite(loss):
        one = np.ones((), logits.dtype)
        model.backward_params(softmax_cross_entropy_backward(one, logits, labels, label_smoothing=label_smoothing))
        optimizer.step(model)
    return loss, logits


@_quietly
def evaluate(model: Layer, images: Array, labels: Array, batch: int) -> Evaluation:
    """Loss, accuracy and predictions of `model` on images (N, C, H, W) with labels (N,), at most `batch` at a time.

    The model runs, and is left, in evaluation mode. Raises TypeError or ValueError where there is no image, batch is below 1,
    or labels are not one class number of the model's for each image.
    """
    count = check_array("images", images, "NCHW")[0]
    check_shape("labels", labels, (count,), "one class number per image")
    if count == 0:
        raise ValueError("images must hold at least one image, got none")
    model.eval()
    loss_sum, predictions = 0.0, []
    for part, part_labels in batches(images, labels, batch):
        logits = model(part)
        loss_sum += float(softmax_cross_entropy(logits, part_labels)) * len(part)
        predictions.append(logits.argmax(axis=1))
    predicted = np.concatenate(predictions)
    return Evaluation(loss_sum / count, float(np.mean(predicted == labels)), predicted)


def confusion_matrix(labels: Array, predictions: Array, classes: int) -> Array:
    """How many images of class i were taken for class j, as int array (classes, classes), of int arrays (N,) below `classes`.

    Raises ValueError where a label or a prediction is out of that range.

    >>> import numpy as np
    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
    array([[1, 0],
           [1, 1]])
    """
    for name, numbers in (("labels", labels), ("predictions", predictions)):
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < classes):
            raise ValueError(f"{name} must be in [0, {classes - 1}], got {numbers.min()} to {numbers.max()}")
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)
