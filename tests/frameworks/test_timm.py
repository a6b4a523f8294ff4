"""The networks of timm: its weights, loaded by their names there, give its logits and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import published
import pytest
from required import framework

from npconv import models, nn

published.torchvision()  # which timm imports too
timm = framework("timm")

NETWORKS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "mobilenetv1_100": ("timm/mobilenetv1", models.mobilenet_v1, {"padding": 1, "eps": 1e-5}),
    "ghostnet_050": ("timm/ghostnet", models.ghostnet, {"width": 0.5}),
    "ghostnet_100": ("timm/ghostnet", models.ghostnet, {"width": 1.0}),
    "ghostnet_130": ("timm/ghostnet", models.ghostnet, {"width": 1.3}),
}


def pair(name: str, dtype: Any) -> tuple[Any, nn.Layer, str]:
    source, network, options = NETWORKS[name]
    module = published.made(lambda: timm.create_model(name), dtype)
    return module, network(**options, rng=np.random.default_rng(0), dtype=dtype), source


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_gradients(name: str, dtype: Any, tolerance: float) -> None:
    module, model, source = pair(name, dtype)
    published.check(module, model, source, image=32, tolerance=tolerance)


def test_a_safetensors_file(tmp_path: Any) -> None:
    published.check_file(*pair("ghostnet_050", np.float32), tmp_path / "ghostnet.safetensors")


def test_another_width_is_refused() -> None:
    module, _, source = pair("ghostnet_050", np.float32)
    published.check_refused(module, models.ghostnet(rng=np.random.default_rng(0)), source, "conv_stem.weight")
