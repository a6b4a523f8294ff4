"""A study trains all its variants alike, and its sentences say what the numbers say."""

from __future__ import annotations

import numpy as np
import pytest

import npconv
from npconv.data import from_arrays
from npconv.nn import Sequential
from npconv.studies import STUDIES, Outcome, Study, Trend, Variant, compare, run_study


def small() -> object:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.normal(size=(60, 8, 8))
    images[np.arange(60), :, labels * 2] += 5
    return from_arrays(images, labels, name="stripes", seed=0)


def test_a_study_is_run() -> None:
    width = STUDIES["width"]
    chosen = width._replace(variants=(width.variants[0], width.variants[1]), trends=(Trend("width 0.5", "width 0.25"),))
    told: list[tuple[str, int]] = []
    kept: dict[str, Sequential] = {}
    with npconv.backend("numpy"):
        outcomes = run_study(
            chosen, small(), seeds=2, epochs=1,  # type: ignore[arg-type]
            on_run=lambda variant, seed, accuracy: told.append((variant.label, seed)),
            keep=lambda variant, network: kept.update({variant.label: network}),
        )  # fmt: skip
    assert told == [("width 0.25", 0), ("width 0.25", 1), ("width 0.5", 0), ("width 0.5", 1)]
    assert [outcome.parameters for outcome in outcomes] == [
        kept[one.variant.label].parameter_count() for one in outcomes
    ]
    assert outcomes[0].macs < outcomes[1].macs
    assert all(len(outcome.accuracies) == 2 for outcome in outcomes)
    assert len(compare(chosen, outcomes)) == 1


def test_after_each_step_something_may_be_done() -> None:
    octave = STUDIES["octave"]
    chosen = octave._replace(variants=octave.variants[-1:], trends=())
    kept: list[Sequential] = []
    with npconv.backend("numpy"):
        run_study(chosen, small(), seeds=1, epochs=1, keep=lambda _, network: kept.append(network))  # type: ignore[arg-type]
    zero = [name for name, array in kept[0].named_params() if name.endswith(("w_hl", "w_lh")) and (array == 0).all()]
    assert len(zero) >= 4


def outcome(label: str, *accuracies: float) -> Outcome:
    return Outcome(Variant(label, {"s": 0}, lambda *_: Sequential()), 100, 10, accuracies)


@pytest.mark.parametrize(
    ("trend", "better", "worse", "word"),
    [
        (Trend("a", "b"), (0.9, 0.92), (0.5, 0.52), "is visible: a is better than b by 0.4000"),
        (Trend("a", "b"), (0.9, 0.5), (0.8, 0.4), "is not visible at this scale"),
        (Trend("a", "b"), (0.5, 0.52), (0.9, 0.92), "is reversed at this scale: a is worse than b"),
        (
            Trend("a", "b"),
            (0.9,),
            (0.1,),
            "cannot be judged by one seed, which has no spread: a gains against b by 0.8000 at",
        ),
        (Trend("a", "b", within=0.02), (0.90, 0.90), (0.91, 0.91), "is visible: a loses against b by 0.0100"),
        (Trend("a", "b", within=0.02), (0.80, 0.80), (0.91, 0.91), "is not visible: a loses against b"),
        (
            Trend("a", "b", within=0.02),
            (0.90, 0.82),
            (0.90, 0.90),
            "is not clear: a loses against b by 0.0400 +- 0.0400",
        ),
        (
            Trend("a", "b", within=0.02),
            (0.80,),
            (0.90,),
            "cannot be judged by one seed, which has no spread: a loses against b by 0.1000 at",
        ),
        (Trend("a", "b", within=0.02), (0.95, 0.95), (0.91, 0.91), "is visible: a gains against b"),
    ],
)
def test_sentences(trend: Trend, better: tuple[float, ...], worse: tuple[float, ...], word: str) -> None:
    study = Study("?", "paper", "x", (), (trend,))
    (sentence,) = compare(study, [outcome("a", *better), outcome("b", *worse)])
    assert sentence.startswith(word)
    assert "at 1.00 times the cost" in sentence
