"""The training loop: it learns, it repeats itself, it stops where it must and goes on, and says what it did."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import npconv
from npconv import nn, optim
from npconv.data import Dataset, digits, from_arrays, random_shift
from npconv.training import Batch, Epoch, Interrupted, Plan, Progress, confusion_matrix, evaluate, train


@pytest.fixture(autouse=True, params=["numpy", "numba"])
def each_backend(request: pytest.FixtureRequest) -> object:
    with npconv.backend(request.param):
        yield


def dots(count: int = 60, seed: int = 0) -> Dataset:
    """Three easy classes: a bright dot in the left, middle or right third of noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.normal(size=(count, 4, 6))
    images[np.arange(count), rng.integers(4, size=count), 2 * labels] += 8
    return from_arrays(images, labels, name="dots", seed=0)


def network(seed: int = 0, *, dtype: type = np.float32) -> nn.Layer:
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False, rng=rng, dtype=dtype),
        nn.BatchNorm2d(6, dtype=dtype),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1, rng=rng),
        nn.Linear(6 * 4 * 6, 3, rng=rng, dtype=dtype),
    )


def learn(seed: int = 0, **options: object) -> tuple[nn.Layer, list[Epoch]]:
    model = network(seed)
    settings: dict[str, object] = {"epochs": 4, "batch": 8, "rng": np.random.default_rng(seed)} | options
    plan = Plan(**{name: settings.pop(name) for name in Plan._fields if name in settings})  # type: ignore[arg-type]
    optimizer = optim.SGD(0.05, momentum=0.9)
    return model, train(model, dots(), optimizer, plan, **settings)  # type: ignore[arg-type]


def test_it_learns() -> None:
    model, epochs = learn(epochs=10)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 11))
    assert epochs[-1].loss < epochs[0].loss / 3
    assert epochs[-1].validation_accuracy == 1.0
    assert evaluate(model, *dots().test, 5).accuracy == 1.0


@pytest.mark.parametrize("augment", [None, random_shift])
def test_the_same_seed_gives_the_same_numbers(augment: object) -> None:
    (one, first), (two, second), (_, other) = (learn(seed, augment=augment, label_smoothing=0.1) for seed in (1, 1, 2))
    assert [e._replace(seconds=0) for e in first] == [e._replace(seconds=0) for e in second]
    assert [e.loss for e in first] != [e.loss for e in other]
    for name, array in one.state().items():
        np.testing.assert_array_equal(array, two.state()[name])


def test_a_step_is_forward_backward_update_on_shuffled_augmented_batches() -> None:
    """The loop, written out for two epochs, gives the same weights and losses to the last bit."""
    data, model, twin = dots(), network(), network()
    plan = Plan(2, 9, label_smoothing=0.1, augment=random_shift)
    epochs = train(model, data, optim.SGD(0.05), plan, rng=np.random.default_rng(5))
    seed, by_hand = Progress.start(np.random.default_rng(5)).seed, optim.SGD(0.05)
    for epoch in epochs:
        order = np.random.default_rng((seed, epoch.epoch)).permutation(len(data.train.labels))
        losses, right = [], 0
        for step, part in enumerate(np.array_split(order, -(-len(order) // 9))):
            labels = data.train.labels[part]
            rng = np.random.default_rng((seed, epoch.epoch, step))
            logits = twin(random_shift(data.train.images[part], rng))
            one = np.ones((), np.float32)
            losses += [npconv.softmax_cross_entropy(logits, labels, label_smoothing=0.1)] * len(part)
            right += (logits.argmax(axis=1) == labels).sum()
            twin.backward(npconv.softmax_cross_entropy_backward(one, logits, labels, label_smoothing=0.1))
            by_hand.step(twin)
        assert abs(epoch.loss - np.mean(losses)) < 1e-6
        assert epoch.accuracy == right / len(order)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, twin.state()[name])


def test_callbacks_are_told_what_happens() -> None:
    batches: list[Batch] = []
    told: list[Epoch] = []
    model, epochs = learn(epochs=2, on_batch=batches.append, on_epoch=told.append, batch=10)
    assert told == epochs
    count = -(-len(dots().train.labels) // 10)
    expected = list(itertools.product((1, 2), range(1, count + 1), [count]))
    assert [(b.epoch, b.batch, b.batches) for b in batches] == expected
    for epoch in epochs:
        last = batches[epoch.epoch * count - 1]
        assert (epoch.loss, epoch.accuracy) == (last.loss, last.accuracy)
        assert epoch.seconds > 0
        assert epoch.lr == 0.05
    validation = evaluate(model, *dots().validation, 10)
    assert (epochs[-1].validation_loss, epochs[-1].validation_accuracy) == validation[:2]


def test_the_learning_rate_is_that_of_the_last_step() -> None:
    optimizer = optim.SGD(optim.linear(0.1, 10))
    data = dots()
    epochs = train(network(), data, optimizer, Plan(2, 9), rng=np.random.default_rng(0))
    assert optimizer.steps == 10
    np.testing.assert_allclose([e.lr for e in epochs], [0.06, 0.01])


def test_evaluation_is_the_mean_over_images_not_over_batches() -> None:
    data, model = dots(), network()
    images, labels = data.train
    whole, parts = evaluate(model, images, labels, len(labels)), evaluate(model, images, labels, 40)
    model.eval()
    logits = model(images).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for result in (whole, parts):
        assert abs(result.loss - -np.log(p[np.arange(len(labels)), labels]).mean()) < 1e-6
        np.testing.assert_array_equal(result.predictions, logits.argmax(axis=1))
        assert result.accuracy == (logits.argmax(axis=1) == labels).mean()


def test_evaluation_leaves_running_statistics_alone() -> None:
    model, _ = learn()
    before = {name: array.copy() for name, array in model.state().items()}
    evaluate(model, *dots().test, 4)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_test_part_is_not_looked_at() -> None:
    data = dots()
    spoilt = data._replace(test=data.test._replace(images=data.test.images * np.nan))
    rng = np.random.default_rng(0)
    epochs = train(network(), spoilt, optim.SGD(0.05, momentum=0.9), Plan(4, 8), rng=rng)
    assert [e.loss for e in epochs] == [e.loss for e in learn()[1]]


def test_a_diverging_loss_stops_before_it_teaches() -> None:
    data, model = dots(), network()
    images = data.train.images.copy()
    images[7] = np.nan
    spoilt = data._replace(train=data.train._replace(images=images))
    steps = optim.SGD(0.05)
    with pytest.raises(
        FloatingPointError,
        match=r"the loss must stay finite, .* got nan in epoch 1, batch \d+; not finite is first the images: 24 of \d+",
    ):
        train(model, spoilt, steps, Plan(2, 8), rng=np.random.default_rng(0))
    for _, array in model.named_params():
        assert np.isfinite(array).all()


def test_an_absurd_learning_rate_is_one_error_and_no_warning() -> None:
    with pytest.raises(FloatingPointError, match=r"a lower learning rate may help, got (nan|inf) in epoch"):
        train(network(), dots(), optim.SGD(1e30), Plan(3, 8), rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got epochs=0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
        ({"batch": 0}, ValueError, "batch must be at least 1, got batch=0"),
        ({"rng": None}, TypeError, "rng must be a numpy.random.Generator, got NoneType"),
        ({"label_smoothing": 2.0}, ValueError, "label_smoothing must be in"),
        ({"augment": "flip"}, TypeError, "augment must be a function of images and rng, as .*, got 'flip'"),
    ],
)
def test_bad_arguments(options: dict[str, object], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        learn(**options)


@pytest.mark.parametrize(
    ("name", "kind"), [("model", "Layer"), ("dataset", "Dataset"), ("optimizer", "Optimizer"), ("plan", "Plan")]
)
def test_arguments_of_another_type(name: str, kind: str) -> None:
    given = {"model": network(), "dataset": dots(), "optimizer": optim.SGD(0.1), "plan": Plan(1, 8)} | {name: "a.npz"}
    with pytest.raises(TypeError, match=f"{name} must be of the type {kind}, got 'a.npz'"):
        train(**given, rng=np.random.default_rng(0))  # type: ignore[arg-type]


def test_bad_evaluations() -> None:
    images, labels = dots().test
    with pytest.raises(TypeError, match="model must be of the type Layer, got 'net'"):
        evaluate("net", images, labels, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"labels must have the shape \(12,\)"):
        evaluate(network(), images, labels[:-1], 4)
    with pytest.raises(ValueError, match="images must hold at least one image"):
        evaluate(network(), images[:0], labels[:0], 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_confusion_matrix_of_any_integers(dtype: type) -> None:
    """In 8 bits, 100 * 100 + 99 is 163."""
    labels, predictions = np.array([100, 3], dtype), np.array([99, 100])
    matrix = confusion_matrix(labels, predictions, 101)
    assert (matrix[100, 99], matrix[3, 100], matrix.sum()) == (1, 1, 2)
    with pytest.raises(TypeError, match="labels must be integers, got dtype float64"):
        confusion_matrix(labels * 1.0, predictions, 101)
    with pytest.raises(ValueError, match="predictions must have the shape"):
        confusion_matrix(labels, predictions[:1], 101)


def test_confusion_matrix_counts_by_class_and_prediction() -> None:
    labels, predictions = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0])
    matrix = confusion_matrix(labels, predictions, 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 0, 0], [1, 0, 2]])


def test_confusion_matrix_refuses_what_is_no_class() -> None:
    """A prediction of 3 of 3 classes would count as 0 of the next class."""
    with pytest.raises(ValueError, match=r"predictions must be in \[0, 2\], got 1 to 3"):
        confusion_matrix(np.array([0, 1]), np.array([3, 1]), 3)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\], got -1 to 1"):
        confusion_matrix(np.array([-1, 1]), np.array([0, 1]), 3)


def test_real_digits_in_two_epochs() -> None:
    data, rng = digits(), np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False, rng=rng),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10, rng=rng),
    )
    train(model, data, optim.SGD(0.1, momentum=0.9), Plan(2, 32), rng=rng)
    assert evaluate(model, *data.test, 64).accuracy > 0.9


# --- going on ---


def halted(stop_after: int, **options: object) -> tuple[nn.Layer, optim.Optimizer, Progress]:
    """A training that is interrupted after so many steps."""
    model, optimizer, progress = network(), optim.SGD(0.05, momentum=0.9), Progress.start(np.random.default_rng(3))
    steps = itertools.count(1)
    with pytest.raises(Interrupted):
        train(
            model, dots(), optimizer, Plan(3, 8, augment=random_shift), progress=progress,
            stop=lambda: next(steps) == stop_after, **options,  # type: ignore[arg-type]
        )  # fmt: skip
    return model, optimizer, progress


@pytest.mark.parametrize("stop_after", [1, 5, 6, 7, 18])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(stop_after: int) -> None:
    """Also where the last step of an epoch, or of all, was the last one made."""
    model, optimizer, progress = halted(stop_after)
    assert optimizer.steps == stop_after
    records = train(model, dots(), optimizer, Plan(3, 8, augment=random_shift), progress=progress)
    other = network()
    whole = train(
        other,
        dots(),
        optim.SGD(0.05, momentum=0.9),
        Plan(3, 8, augment=random_shift),
        rng=np.random.default_rng(3),
    )
    assert [e._replace(seconds=0) for e in records] == [e._replace(seconds=0) for e in whole]
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, other.state()[name])


def test_early_stop() -> None:
    model = network()
    epochs = train(model, dots(), optim.SGD(0.0), Plan(50, 8, early_stop=3), rng=np.random.default_rng(0))
    best = max(epochs, key=lambda e: (e.validation_accuracy, -e.validation_loss)).epoch
    assert len(epochs) == best + 3 < 50


def test_the_average_is_validated() -> None:
    model, average_of = network(), network()
    average = optim.Average(model, 0.9)
    epochs = train(model, dots(), optim.SGD(0.05), Plan(2, 8), rng=np.random.default_rng(0), average=average)
    with average.in_place_of(model):
        validation = evaluate(model, *dots().validation, 8)
    assert epochs[-1].validation_loss == validation.loss != evaluate(model, *dots().validation, 8).loss
    assert average.steps == 12
    assert average_of.state().keys() == average.arrays.keys()


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_images_get_the_dtype_of_the_model(dtype: type) -> None:
    model = network(dtype=dtype)
    optimizer = optim.SGD(0.05, momentum=0.9, master_weights=dtype == np.float16)
    epochs = train(model, dots(), optimizer, Plan(10, 8), rng=np.random.default_rng(0))
    assert epochs[-1].validation_accuracy == 1.0
    assert {array.dtype for _, array in model.named_params()} == {np.dtype(dtype)}


def test_a_batch_of_one_is_explained() -> None:
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.GlobalAvgPool2d(), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(1, 3, rng=rng))
    with pytest.raises(ValueError, match="batch must be at least 2 where a batch norm sees one pixel of each image"):
        train(model, dots(), optim.SGD(0.1), Plan(1, 1), rng=rng)
    assert train(network(), dots(), optim.SGD(0.01), Plan(1, 1), rng=rng)  # has more than a pixel


def test_the_layer_where_numbers_end_is_named() -> None:
    model = network()
    model.children()["5"].params["w"][...] = 3e38
    with pytest.raises(FloatingPointError, match=r"batch 1; not finite is first the output of 5: \d+ of \d+ numbers"):
        train(model, dots(), optim.SGD(0.1), Plan(1, 8), rng=np.random.default_rng(0))
