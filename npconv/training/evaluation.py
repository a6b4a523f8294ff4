"""How a model does on labelled images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npconv.data import batches
from npconv.geometry import Array, check_array, check_shape, integer, shown
from npconv.nn import Layer
from npconv.ops import softmax_cross_entropy


class Evaluation(NamedTuple):
    """How a model does on labelled images.

    Attributes
    ----------
    loss : float
        The mean, in nats.
    accuracy : float
        The share of right answers.
    logits : array (N, K)
        Of the model's dtype.
    """

    loss: float
    accuracy: float
    logits: Array

    @property
    def predictions(self) -> Array:
        """The class (N,) of the largest logit of each image."""
        return self.logits.argmax(axis=1)


quietly = np.errstate(over="ignore", invalid="ignore")  # overflow shows in the loss, which is checked


@quietly
def evaluate(model: Layer, images: Array, labels: Array, batch: int) -> Evaluation:
    """Loss, accuracy and logits of a model on labelled images.

    Parameters
    ----------
    model : Layer
        It runs, and is left, in evaluation mode.
    images : array (N, C, H, W)
        Of floats; they get the model's dtype.
    labels : array (N,) of int
    batch : int
        At most how many images are worked on at a time.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError, ValueError
        There is no image, batch is below 1, or labels are not one class number of the model's for each image.

    Examples
    --------
    >>> import numpy as np
    >>> from npconv import models
    >>> net = models.tiny_resnet(rng=np.random.default_rng(0))
    >>> evaluate(net, np.zeros((4, 1, 8, 8), np.float32), np.arange(4), 2).logits.shape
    (4, 10)
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be of the type Layer, got {shown(model)}")
    count = check_array("images", images, "NCHW")[0]
    check_shape("labels", labels, (count,), "one class number per image")
    if count == 0:
        raise ValueError("images must hold at least one image, got none")
    model.eval()
    loss_sum, parts = 0.0, []
    for part, part_labels in batches(images, labels, batch):
        logits = model(as_model(part, model))
        loss_sum += float(softmax_cross_entropy(logits, part_labels)) * len(part)
        parts.append(logits)
    logits = np.concatenate(parts)
    return Evaluation(loss_sum / count, float(np.mean(logits.argmax(axis=1) == labels)), logits)


def as_model(images: Array, model: Layer) -> Array:
    """The images in the dtype of the model's parameters."""
    return images.astype(next((array.dtype for _, array in model.named_params()), images.dtype), copy=False)


def confusion_matrix(labels: Array, predictions: Array, classes: int) -> Array:
    """How many images of class i were taken for class j.

    Parameters
    ----------
    labels, predictions : arrays (N,) of integers below `classes`
    classes : int

    Returns
    -------
    array (classes, classes) of int

    Raises
    ------
    TypeError, ValueError
        Arrays that are not of integers or not of one length; a label or a prediction out of that range.

    Examples
    --------
    >>> import numpy as np
    >>> confusion_matrix(np.array([0, 1, 1], np.uint8), np.array([0, 1, 0]), 2)
    array([[1, 0],
           [1, 1]])
    """
    classes = integer("classes", classes, minimum=1)
    for name, numbers in (("labels", labels), ("predictions", predictions)):
        check_array(name, numbers, "N")
        if not np.issubdtype(numbers.dtype, np.integer):
            raise TypeError(f"{name} must be integers, got dtype {numbers.dtype}")
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < classes):
            raise ValueError(f"{name} must be in [0, {classes - 1}], got {numbers.min()} to {numbers.max()}")
    check_shape("predictions", predictions, labels.shape, "that of the labels")
    places = labels.astype(np.int64) * classes + predictions.astype(np.int64)  # in uint8, 10 * 30 is 44
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)
