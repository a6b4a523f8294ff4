"""Every network of the package, as an ONNX file, gives its logits elsewhere too, up to the rounding that was measured."""

from __future__ import annotations

import pytest
from required import framework

from npconv.check.networks import RUNNERS, check_networks
from npconv.models import NETWORKS

PACKAGES = {"onnx_reference": "onnx.reference"}
SLOW = {"onnx_reference"}  # a second for each thousand pixels and layer


@pytest.mark.parametrize("runner", RUNNERS)
def test_networks(runner: str) -> None:
    framework("onnx")
    framework(PACKAGES.get(runner, runner))
    names = ["tiny_mobilenet"] if runner in SLOW else [name for name in NETWORKS if name.startswith("tiny_")]
    names += [] if runner in SLOW else ["mobilenet_v1", "shufflenet_v1", "ghostnet", "oct_mobilenet_v1"]
    results = list(check_networks(runner, names))
    assert [result.network for result in results] == names
    assert all(result.ok for result in results), "\n".join(map(str, results))
