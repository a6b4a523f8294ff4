"""The training loop: no printing, no files; whoever wants those passes callbacks."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from npconv import backends
from npconv.data import Dataset, batch_count, in_background, take
from npconv.data.batches import parts
from npconv.geometry import Array, shown
from npconv.nn import Layer
from npconv.nn.dropout import part_of_batch
from npconv.nn.normalization import synchronised
from npconv.ops import softmax_cross_entropy, softmax_cross_entropy_backward
from npconv.optim import Average, Optimizer
from npconv.training.diagnosis import first_nonfinite
from npconv.training.evaluation import as_model, evaluate, quietly
from npconv.training.parallel import Processes, add_up, alone, share
from npconv.training.progress import Augment, Batch, Epoch, Interrupted, Plan, Progress, stopped_improving


def train(
    model: Layer,
    dataset: Dataset,
    optimizer: Optimizer,
    plan: Plan,
    *,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
    average: Average | None = None,
    processes: Processes | None = None,
    stop: Callable[[], bool] | None = None,
    on_batch: Callable[[Batch], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Teach `model` to classify the training images of `dataset`, in place, and return one record per epoch.

    Parameters
    ----------
    model : layer
        Maps images (N, C, H, W) to logits (N, K). It is left in evaluation mode.
    dataset : Dataset
        The test part is not looked at. Images get the dtype of the model.
    optimizer : Optimizer
        Its ``step(model)`` is called once per batch.
    plan : Plan
        For how long, and on what batches.
    rng : numpy.random.Generator
        Shuffles and augments: the same seed gives the same numbers on the same backend. Not wanted with `progress`.
    progress : Progress, optional
        Where to go on, as `resume` returns it; it is moved along, so `save` may be given it at any time.
    average : npconv.optim.Average, optional
        Updated after each step; validation looks at it instead of the model.
    processes : Processes, optional
        Those that train together, each called with the same arguments; each works on its share of every batch.
    stop : function () -> bool, optional
        Asked after each step; where it is true in any process, all raise `Interrupted`.
    on_batch, on_epoch : function, optional
        Called with a `Batch` after each step and with an `Epoch` after each validation. The model may be looked at then.

    Returns
    -------
    list of Epoch

    Raises
    ------
    ValueError, TypeError
        A plan that is none; images that the model does not take; labels out of the range of its logits; a batch of so few
        images that there is nothing to normalise by.
    FloatingPointError
        The loss is no longer finite; the message has the step, and the layer and its numbers. The step that would have used it
        is not made.
    Interrupted
        See `stop`.

    Examples
    --------
    >>> from npconv import data, models, optim
    >>> net, rng = models.tiny_resnet(rng=np.random.default_rng(0)), np.random.default_rng(0)
    >>> images, labels = np.tile(np.eye(8), (40, 1, 1)), np.arange(40) % 2
    >>> images[1::2] *= -1
    >>> len(train(net, data.from_arrays(images, labels), optim.SGD(0.1), Plan(epochs=2, batch=14), rng=rng))
    2
    """
    for name, value, kind in (
        ("model", model, Layer), ("dataset", dataset, Dataset), ("optimizer", optimizer, Optimizer), ("plan", plan, Plan)
    ):  # fmt: skip
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be of the type {kind.__name__}, got {shown(value)}")
    epochs, batch, label_smoothing, augment, early_stop = plan.checked()
    progress = Progress.start(rng) if progress is None else progress  # type: ignore[arg-type]
    processes = processes or alone()
    count = len(dataset.train.images)
    steps = batch_count(count, batch)
    check_batch(model, dataset, batch, processes)
    with synchronised(processes.total) if processes.size > 1 else contextlib.nullcontext():
        while progress.epoch <= epochs and not stopped_improving(progress.records, early_stop):
            start = time.perf_counter() - progress.seconds
            model.train()
            items = in_background(_batches(dataset, batch, progress, augment, processes))
            with contextlib.closing(items):  # type: ignore[type-var]
                for whole, x, labels in items:
                    loss, right, stopped = _step(model, optimizer, x, labels, whole, label_smoothing, processes, stop)
                    if not math.isfinite(loss):
                        where = first_nonfinite(model, as_model(x, model))
                        raise FloatingPointError(
                            f"{_DIVERGED}, got {loss} in epoch {progress.epoch}, batch {progress.step + 1}; "
                            f"not finite is first {where}"
                        )
                    if average is not None:
                        average.update(model)
                    progress.step += 1
                    progress.seen += whole
                    progress.loss_sum += loss
                    progress.right += right
                    progress.seconds = time.perf_counter() - start
                    if on_batch is not None:
                        means = progress.loss_sum / progress.seen, progress.right / progress.seen
                        on_batch(Batch(progress.epoch, progress.step, steps, *means))
                    if stopped:
                        raise Interrupted
            loss, accuracy = _validate(model, dataset, batch, average, processes)
            if not math.isfinite(loss):
                raise FloatingPointError(f"{_DIVERGED}, got {loss} on the validation images in epoch {progress.epoch}")
            lr = optimizer.lr(optimizer.steps - 1)
            means = progress.loss_sum / progress.seen, progress.right / progress.seen
            seconds = time.perf_counter() - start
            progress.next_epoch(Epoch(progress.epoch, lr, *means, loss, accuracy, seconds))
            if on_epoch is not None:
                on_epoch(progress.records[-1])
    model.eval()
    return progress.records


_DIVERGED = "the loss must stay finite, which a lower learning rate may help"


def _batches(
    dataset: Dataset, batch: int, progress: Progress, augment: Augment | None, processes: Processes
) -> Iterator[tuple[int, Array, Array]]:
    """The batches of the epoch that are left: the size of the whole one, and this process's share of images and labels.

    The whole batch is augmented by each process, so that an image is augmented alike however many there are.
    """
    images, labels = dataset.train
    seed, epoch, first = progress.seed, progress.epoch, progress.step
    order = np.random.default_rng((seed, epoch)).permutation(len(images))
    for step, part in enumerate(parts(order, batch)[first:], start=first):
        own = share(len(part), processes)
        if augment is None:
            yield len(part), take(images, part[own]), labels[part[own]]
        else:
            x = augment(take(images, part), np.random.default_rng((seed, epoch, step)))
            yield len(part), x[own], labels[part[own]]


@quietly
def _step(
    model: Layer,
    optimizer: Optimizer,
    x: Array,
    labels: Array,
    whole: int,
    label_smoothing: float,
    processes: Processes,
    stop: Callable[[], bool] | None,
) -> tuple[float, int, bool]:
    """Teach the model one batch, of `whole` images in all processes.

    Returns the sum of the images' losses and how many were right before it, and whether to stop. A loss that is not finite
    teaches nothing.
    """
    with part_of_batch(share(whole, processes), whole) if processes.size > 1 else contextlib.nullcontext():
        logits = model(as_model(x, model))
    loss = float(softmax_cross_entropy(logits, labels, label_smoothing=label_smoothing)) * len(labels)
    right = int(np.count_nonzero(logits.argmax(axis=1) == labels))
    if math.isfinite(loss) or processes.size > 1:
        scale = np.asarray(len(labels) / whole, logits.dtype)  # the mean is that of the whole batch
        model.backward_params(softmax_cross_entropy_backward(scale, logits, labels, label_smoothing=label_smoothing))
    stopped = stop is not None and stop()
    gradients = [grad for _, grad in model.named_grads()] if processes.size > 1 else []
    loss, all_right, any_stopped = add_up(gradients, (loss, right, stopped), processes)
    if math.isfinite(loss):
        optimizer.step(model)
    return loss, int(all_right), any_stopped > 0


def _validate(
    model: Layer, dataset: Dataset, batch: int, average: Average | None, processes: Processes
) -> tuple[float, float]:
    """Mean loss and accuracy on the validation images, each process looking at its share."""
    images, labels = dataset.validation
    own = share(len(labels), processes)
    numbers = [0.0, 0.0]
    if own.start < own.stop:
        with contextlib.nullcontext() if average is None else average.in_place_of(model):
            result = evaluate(model, images[own], labels[own], batch)
        numbers = [result.loss * len(labels[own]), result.accuracy * len(labels[own])]
    loss, right = add_up([], numbers, processes)
    return loss / len(labels), round(right) / len(labels)


def check_batch(model: Layer, dataset: Dataset, batch: int, processes: Processes | None = None) -> None:
    """Raise ValueError, with what helps, where batches are too small for the model's batch norms or for the processes.

    Parameters
    ----------
    model : Layer
    dataset : Dataset
    batch : int
    processes : Processes, optional

    Raises
    ------
    ValueError
        A batch norm would have nothing to normalise by, or a process no image; the message says what helps.

    Examples
    --------
    >>> from npconv import data, models
    >>> check_batch(models.tiny_resnet(rng=np.random.default_rng(0)), data.digits(), 32)
    """
    size = 1 if processes is None else processes.size
    count = len(dataset.train.images)
    least = count // max(batch_count(count, batch), 1)
    if least < size:
        raise ValueError(f"batch must have an image for each of {size} processes, got batch={batch}")
    if least > 1:
        return
    trial = copy.deepcopy(model).train()
    with backends.backend("numpy"):
        x = np.zeros((1, *dataset.train.images.shape[1:]), np.float32)
        try:
            trial(as_model(x, model))
        except ValueError as error:
            if "more than one number per channel" not in str(error):
                raise
            raise ValueError(
                f"batch must be at least 2 where a batch norm sees one pixel of each image, got a batch of one image ({error})"
            ) from None
