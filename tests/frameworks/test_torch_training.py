"""Training against PyTorch: from the same weights, on the same batches, the same loss at every step."""

from __future__ import annotations

import numpy as np
import pytest
from required import framework

import npconv
from npconv.models import MODELS
from npconv.optim import SGD

torch = framework("torch")

from torch_models import NETWORKS, copy_parameters  # noqa: E402  (it needs torch, so it comes after the line that skips without)

STEPS, BATCH, CLASSES, TOLERANCE = 50, 16, 10, 1e-9
SMOOTHING = 0.1


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The 8x8 images of scikit-learn."""
    images, labels = framework("sklearn.datasets").load_digits(return_X_y=True)
    return images.reshape(-1, 1, 8, 8) / 8 - 1, labels


def odd_images() -> tuple[np.ndarray, np.ndarray]:
    """Noise in three channels of 13 x 11: at stride 2 something is always left over."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((200, 3, 13, 11)), rng.integers(0, CLASSES, 200)


@pytest.mark.parametrize("data", [digits, odd_images])
@pytest.mark.parametrize("name", MODELS)
def test_same_loss_at_every_step(name: str, data) -> None:
    images, labels = data()
    rng = np.random.default_rng(0)
    model = MODELS[name](CLASSES, images.shape[1], rng=rng, dtype=np.float64)
    network = NETWORKS[name](CLASSES, images.shape[1]).double()
    copy_parameters(model, network)
    optimizer = SGD(0.05, momentum=0.9, weight_decay=1e-3)
    torch_optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)

    for step in range(STEPS):
        chosen = rng.choice(len(images), BATCH, replace=False)
        x, targets = images[chosen], labels[chosen]

        logits = model(x)
        loss = npconv.softmax_cross_entropy(logits, targets, label_smoothing=SMOOTHING)
        model.backward(npconv.softmax_cross_entropy_backward(np.ones(()), logits, targets, label_smoothing=SMOOTHING))
        optimizer.step(model)

        torch_optimizer.zero_grad()
        torch_loss = torch.nn.functional.cross_entropy(
            network(torch.from_numpy(x)), torch.from_numpy(targets), label_smoothing=SMOOTHING
        )
        torch_loss.backward()
        torch_optimizer.step()

        assert float(loss) == pytest.approx(torch_loss.item(), rel=TOLERANCE, abs=0), f"step {step}"

    # Evaluation is judged too: it is where the running statistics of 50 steps show.
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(images[:BATCH])).numpy()
    np.testing.assert_allclose(model.eval()(images[:BATCH]), expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
