"""Training the variants of a study, and comparing what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from npconv import costs, optim
from npconv.data import Dataset, batch_count, random_shift
from npconv.geometry import integer
from npconv.nn import Sequential
from npconv.studies.variants import Study, Trend, Variant
from npconv.training import Plan, evaluate, train

LR, MOMENTUM, WEIGHT_DECAY, BATCH, LABEL_SMOOTHING = 0.1, 0.9, 5e-4, 32, 0.1


class Outcome(NamedTuple):
    """What came of a variant.

    Attributes
    ----------
    variant : Variant
    macs, parameters : int
        Its cost for an image.
    accuracies : tuple of float
        On the test images, with each seed.
    """

    variant: Variant
    macs: int
    parameters: int
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the accuracies."""
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float | None:
        """Their standard deviation from seed to seed, None of a single one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None


def run_study(
    study: Study,
    dataset: Dataset,
    *,
    seeds: int = 3,
    epochs: int = 8,
    on_run: Callable[[Variant, int, float], None] | None = None,
    keep: Callable[[Variant, Sequential], None] | None = None,
) -> list[Outcome]:
    """Train every variant with every seed, all in the same way, and try it on the test images.

    Parameters
    ----------
    study : Study
    dataset : Dataset
    seeds, epochs : int
    on_run : function (variant, seed, accuracy), optional
        Called after each training.
    keep : function (variant, network), optional
        Called with the network of the last seed of each variant.

    Returns
    -------
    list of Outcome
        In the order of the variants.

    Raises
    ------
    ValueError, TypeError
        seeds or epochs below 1, images that a network does not take.
    FloatingPointError
        A training diverged.

    Examples
    --------
    >>> from npconv.studies import STUDIES
    >>> STUDIES["width"].axis
    'width multiplier'
    """
    seeds, epochs = integer("seeds", seeds, minimum=1), integer("epochs", epochs, minimum=1)
    outcomes = []
    for variant in study.variants:
        images = variant.prepare(dataset)
        accuracies, macs, parameters = [], 0, 0
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            _, channels, height, width = images.train.images.shape
            network = variant.make(dataset.classes, channels, (height, width), rng)
            macs = costs.count(network, (1, channels, height, width)).macs
            parameters = network.parameter_count()
            steps = epochs * batch_count(len(images.train.labels), BATCH)
            optimizer = optim.SGD(
                optim.cosine(LR, steps, warmup=steps // 10),
                momentum=MOMENTUM,
                nesterov=True,
                weight_decay=WEIGHT_DECAY,
                no_decay=lambda name, array: array.ndim == 1,
            )
            variant.after_step(network)
            train(
                network,
                images,
                optimizer,
                Plan(epochs, BATCH, LABEL_SMOOTHING, random_shift),
                rng=rng,
                on_batch=lambda _, network=network, variant=variant: variant.after_step(network),  # type: ignore[misc]
            )
            accuracies.append(evaluate(network, *images.test, 256).accuracy)
            if on_run is not None:
                on_run(variant, seed, accuracies[-1])
        if keep is not None:
            keep(variant, network)
        outcomes.append(Outcome(variant, macs, parameters, tuple(accuracies)))
    return outcomes


def compare(study: Study, outcomes: Sequence[Outcome]) -> list[str]:
    """A plain sentence for each of the study's trends: whether it is visible, by how much, against the spread of the seeds.

    Parameters
    ----------
    study : Study
    outcomes : sequence of Outcome

    Returns
    -------
    list of str

    Raises
    ------
    KeyError
        A trend is about a variant that has no outcome.

    Examples
    --------
    >>> from npconv.studies import STUDIES
    >>> study = STUDIES["shuffle"]
    >>> outcomes = [Outcome(variant, 1, 1, (0.5, 0.5)) for variant in study.variants]
    >>> len(compare(study, outcomes)) == len(study.trends)
    True
    """
    found = {outcome.variant.label: outcome for outcome in outcomes}
    return [_sentence(trend, found[trend.better], found[trend.worse]) for trend in study.trends]


def _sentence(trend: Trend, better: Outcome, worse: Outcome) -> str:
    difference = better.mean - worse.mean
    cost = f"at {better.macs / worse.macs:.2f} times the cost"
    moved = f"{trend.better} {'loses' if difference < 0 else 'gains'} against {trend.worse}"
    allowed = "" if trend.within is None else f" (a loss of at most {trend.within:g} is the trend)"
    if better.spread is None or worse.spread is None:
        return f"cannot be judged by one seed, which has no spread: {moved} by {abs(difference):.4f} {cost}{allowed}"
    error = float(
        np.hypot(better.spread, worse.spread) / np.sqrt(len(better.accuracies))
    )  # of the difference of two means
    measured = f"by {abs(difference):.4f} +- {error:.4f} {cost}"
    if trend.within is not None:
        beyond = -trend.within - difference  # by so much the loss is more than the trend allows
        word = "is not visible" if beyond > error else "is not clear" if beyond > 0 else "is visible"
        return f"{word}: {moved} {measured}{allowed}"
    if difference > 2 * error:
        return f"is visible: {trend.better} is better than {trend.worse} {measured}"
    if difference < -2 * error:
        return f"is reversed at this scale: {trend.better} is worse than {trend.worse} {measured}"
    return f"is not visible at this scale: {trend.better} and {trend.worse} differ {measured}"
