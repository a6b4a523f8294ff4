"""Training against PyTorch: from the same weights, on the same batches, the same loss at every step and the same weights at the end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from required import framework

import npconv
from npconv.geometry import Array
from npconv.models import MODELS
from npconv.optim import SGD, AdamW

torch = framework("torch")

# They need torch, so they come after the line that skips without it.
from torch_models import NETWORKS, copy_parameters  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS, BATCH, CLASSES = 200, 16, 10
TOLERANCE = 1e-8
LOSS = {"label_smoothing": 0.1}
SGD_OPTIONS = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
ADAMW_OPTIONS = {"lr": 1e-3, "weight_decay": 0.01, "eps": 1e-4}  # a small eps divides rounding errors by nothing
RULES = {"sgd": (SGD, torch.optim.SGD, SGD_OPTIONS), "adamw": (AdamW, torch.optim.AdamW, ADAMW_OPTIONS)}


def digits() -> tuple[Array, Array]:
    """The 8x8 images of scikit-learn."""
    images, labels = framework("sklearn.datasets").load_digits(return_X_y=True)
    return images.reshape(-1, 1, 8, 8) / 8 - 1, labels


def odd_images() -> tuple[Array, Array]:
    """Noise in three channels of 13 x 11: at stride 2 something is always left over."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((200, 3, 13, 11)), rng.integers(0, CLASSES, 200)


@pytest.mark.parametrize(("data", "rule"), [(digits, "sgd"), (odd_images, "adamw")])
@pytest.mark.parametrize("name", MODELS)
def test_same_loss_at_every_step(name: str, data: Callable[[], tuple[Array, Array]], rule: str) -> None:
    images, labels = data()
    rng = np.random.default_rng(0)
    model = MODELS[name](CLASSES, images.shape[1], rng=rng, dtype=np.float64)
    network = NETWORKS[name](CLASSES, images.shape[1]).double()
    copy_parameters(model, network)
    make, torch_make, options = RULES[rule]
    optimizer, torch_optimizer = make(**options), torch_make(network.parameters(), **options)

    for step in range(STEPS):
        chosen = rng.choice(len(images), BATCH, replace=False)
        x, targets = images[chosen], labels[chosen]

        logits = model(x)
        loss = npconv.softmax_cross_entropy(logits, targets, **LOSS)
        model.backward(npconv.softmax_cross_entropy_backward(np.ones(()), logits, targets, **LOSS))
        optimizer.step(model)

        torch_logits = network(torch.from_numpy(x))
        torch_loss = torch.nn.functional.cross_entropy(torch_logits, torch.from_numpy(targets), **LOSS)
        torch_optimizer.zero_grad()
        torch_loss.backward()
        torch_optimizer.step()

        assert float(loss) == pytest.approx(torch_loss.item(), rel=TOLERANCE, abs=0), f"step {step}"

    ours = NETWORKS[name](CLASSES, images.shape[1]).double()
    copy_parameters(model, ours)
    for own, (label, expected) in zip(ours.parameters(), network.named_parameters(), strict=True):
        # absolute: what the next batch norm takes away again has no gradient but rounding errors
        np.testing.assert_allclose(own.detach(), expected.detach(), rtol=0, atol=TOLERANCE, err_msg=label)

    # Only evaluation shows the running statistics of all those steps.
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(images[:BATCH])).numpy()
    np.testing.assert_allclose(model.eval()(images[:BATCH]), expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
