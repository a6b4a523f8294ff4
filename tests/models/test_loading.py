"""A network from its file alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from npconv import models, weights
from npconv.training import Recipe, Run


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_a_run_wrote_is_loaded_without_a_word(tmp_path: Path, dtype: str) -> None:
    images = np.random.default_rng(0).random((30, 8, 8))
    np.savez(tmp_path / "d.npz", images=images, labels=np.arange(30) % 3)
    recipe = Recipe(
        data=str(tmp_path / "d.npz"), model="tiny_octave", option=("alpha=0.5",), epochs=1, dtype=dtype, backend="numpy"
    )
    run = Run(recipe, tmp_path / "run")
    run.save_weights()
    network = models.load(tmp_path / "run" / "weights.safetensors")
    assert not network.training
    for name, array in run.network.state().items():
        assert network.state()[name].dtype == array.dtype
        np.testing.assert_array_equal(network.state()[name], array)
    with pytest.raises(ValueError, match="must not be given where the file has them"):
        models.load(tmp_path / "run" / "weights.safetensors", "tiny_octave")


def test_other_files_need_the_name(tmp_path: Path) -> None:
    model = models.resnet(26, 4, rng=np.random.default_rng(0), channels=8)
    source = weights.SOURCES["torchvision/resnet"]
    path = tmp_path / "w.safetensors"
    weights.save({source.name_there(name): array for name, array in model.state().items()}, path)
    network = models.load(path, "resnet", source="torchvision/resnet", depth=26, num_classes=4, channels=8)
    for name, array in model.state().items():
        np.testing.assert_array_equal(network.state()[name], array)
    for arguments, options, message in (
        ([], {}, "model must be given where the weights do not say it themselves"),
        (["alexnet"], {}, "model must be one of "),
        (["resnet"], {"deep": 3}, "the options of resnet must be among depth, .*, got deep"),
    ):
        with pytest.raises(ValueError, match=message):
            models.load(path, *arguments, **options)  # type: ignore[arg-type]


def test_a_damaged_note(tmp_path: Path) -> None:
    weights.save({"w": np.zeros(1)}, tmp_path / "w.safetensors", {"npconv": "{"})
    with pytest.raises(ValueError, match="the weights must say what `npconv train` notes"):
        models.load(tmp_path / "w.safetensors")
