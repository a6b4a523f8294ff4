"""The networks of torchvision: its weights, loaded by their names there, give its logits and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import published
import pytest

from npconv import models, nn

torchvision = published.torchvision()

SOURCE = "torchvision/resnet"
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet50": {"depth": 50},
    "resnet101": {"depth": 101},
    "resnet152": {"depth": 152},
    "resnext50_32x4d": {"depth": 50, "groups": 32, "group_width": 4},
}


def pair(name: str, dtype: Any) -> tuple[Any, nn.Layer]:
    module = published.made(lambda: torchvision.models.get_model(name, weights=None), dtype)
    model = models.resnet(**NETWORKS[name], rng=np.random.default_rng(0), dtype=dtype)
    return module, model


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_gradients(name: str, dtype: Any, tolerance: float) -> None:
    published.check(*pair(name, dtype), SOURCE, image=32, tolerance=tolerance)


def test_a_safetensors_file(tmp_path: Any) -> None:
    published.check_file(*pair("resnet50", np.float32), SOURCE, tmp_path / "resnet.safetensors")


def test_another_depth_is_refused() -> None:
    module, _ = pair("resnet50", np.float32)
    model = models.resnet(101, rng=np.random.default_rng(0))
    published.check_refused(module, model, SOURCE, "layer3.6.conv1.weight")
