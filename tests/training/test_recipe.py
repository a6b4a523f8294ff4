"""A recipe: what a file and the command line say is what is done; what is no choice is named with the nearest one."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pytest

from npconv import optim
from npconv.training import Recipe, read_recipe
from npconv.training.recipe import NO_DECAY, transferred


def test_a_recipe_comes_back_from_its_file(tmp_path: Path) -> None:
    recipe = Recipe(
        model="tiny_octave",
        option=("alpha=0.5",),
        data='a "quoted" ü\\path',
        clip=1.0,
        ema=0.99,
        early_stop=3,
        weights="w",
        freeze=("a.*", "b"),
    ).checked()
    (tmp_path / "r.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(tmp_path / "r.toml") == recipe
    assert dataclasses.asdict(recipe)["lr"] is not None


def test_every_character_of_a_path_comes_back(tmp_path: Path) -> None:
    every = "".join(map(chr, [*range(0x300), 0x2028, 0x202E, 0xFEFF, 0x1F600]))
    recipe = Recipe(data=every, freeze=(every, "b"), weights="w")
    (tmp_path / "r.toml").write_text(recipe.to_toml(), encoding="utf-8", newline="")
    assert read_recipe(tmp_path / "r.toml") == recipe


def test_keys_are_spelled_as_options_are(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('label-smoothing = 0\nweight_decay = 1\noption = "alpha=0.5"\nsize = 32\n')
    recipe = read_recipe(tmp_path / "r.toml")
    assert (recipe.label_smoothing, recipe.weight_decay, recipe.option, recipe.size) == (0.0, 1.0, ("alpha=0.5",), "32")


def test_a_number_without_a_point_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(f"lr = {10**300}\nwarmup = 0\nclip = 123456\n")
    recipe = read_recipe(tmp_path / "r.toml")
    assert (recipe.lr, recipe.clip) == (1e300, 123456.0)
    assert type(recipe.lr) is type(recipe.clip) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"lr = 1{'0' * 400}", "lr must be a number, got 1000"),
        ("epoch = 3", r"there is no option 'epoch'; did you mean epochs\?"),
        ("epochs = 3.5", "epochs must be a number, got 3.5"),
        ("epochs = true", "epochs must be a number, got True"),
        ("model = 3", "model must be a text, got 3"),
        ("freeze = [1]", "freeze must be a list of texts"),
        ("epochs = ", "--config must be a TOML file"),
        ("a = " + "[" * 100_000, "--config must be a TOML file"),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(tmp_path / "r.toml")
    with pytest.raises(ValueError, match="--config must be a file, got a folder"):
        read_recipe(tmp_path)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"model": "tiny_resnt"}, r"--model must be one of .*, got 'tiny_resnt'; did you mean tiny_resnet "),
        ({"optimizer": "sgdd"}, r"--optimizer must be one of sgd, adam, adamw, got 'sgdd'; did you mean sgd\?"),
        ({"schedule": "cosinus"}, "did you mean cosine"),
        ({"no_decay": "all"}, "--no-decay must be one of nothing, vectors, depthwise, got 'all'"),
        ({"dtype": "bfloat16"}, r"--dtype must be one of .*; did you mean float16"),
        ({"batch": 0}, "--batch must be at least 1, got --batch=0"),
        ({"lr": -1.0}, "--lr must be finite and above 0, got --lr=-1.0"),
        ({"warmup": 1.0}, r"--warmup must be in \[0, 1\)"),
        ({"momentum": 0.5, "optimizer": "adamw"}, "--momentum must come with --optimizer sgd, got --optimizer adamw"),
        ({"clip": 0.0}, "--clip must be finite and above 0"),
        ({"ema": 1.0}, r"--ema must be in \[0, 1\)"),
        ({"augment": "mirror"}, "--augment: augment must be none or some of"),
        ({"freeze": ("stem.*",)}, "--freeze must come with --weights"),
    ],
)
def test_what_is_no_choice(choices: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**choices).checked()  # type: ignore[arg-type]


def test_the_command_repeats_the_run() -> None:
    recipe = Recipe(model="tiny_resnet", data="my pictures", freeze=("a", "b"), epochs=3)
    words = shlex.split(recipe.command())
    assert words == [
        "npconv", "train", "--model", "tiny_resnet", "--data", "my pictures", "--epochs", "3", "--freeze", "a", "--freeze", "b"
    ]  # fmt: skip


def test_defaults_are_those_of_the_network_and_the_optimizer() -> None:
    assert Recipe().checked().lr == 0.2
    assert Recipe(model="tiny_shufflenet").checked().lr == 0.1
    assert Recipe(optimizer="adamw").checked().weight_decay == 0.01
    assert Recipe(lr=0.3).checked().lr == 0.3


@pytest.mark.parametrize("schedule", ["constant", "step", "linear", "cosine"])
def test_schedules(schedule: str) -> None:
    rate = Recipe(schedule=schedule, lr=1.0, warmup=0.1).checked().make_optimizer(100).lr
    rates = [rate(step) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    last = {"constant": 1.0, "step": 0.01, "linear": 1 / 90, "cosine": (1 - np.cos(np.pi / 90)) / 2}[schedule]
    assert rates[-1] == pytest.approx(last)


def test_optimizers() -> None:
    sgd = Recipe(momentum=0.0, clip=2.0).checked().make_optimizer(10)
    assert (type(sgd), sgd.clip, sgd.weight_decay) == (optim.SGD, 2.0, 5e-4)
    assert isinstance(Recipe(optimizer="adam").checked().make_optimizer(10), optim.Adam)
    half = Recipe(optimizer="adamw", dtype="float16").checked().make_optimizer(10)
    assert isinstance(half, optim.AdamW)
    assert half.master_weights


def test_what_decays() -> None:
    shapes = {"conv": (4, 4, 3, 3), "depthwise": (4, 1, 3, 3), "bias": (4,), "linear": (4, 4)}
    arrays = {name: np.zeros(shape) for name, shape in shapes.items()}
    spared = {rule: [name for name, array in arrays.items() if test(name, array)] for rule, test in NO_DECAY.items()}
    assert spared == {"nothing": [], "vectors": ["bias"], "depthwise": ["depthwise", "bias"]}


def test_other_classes_get_a_new_head() -> None:
    own = {
        "a.w": np.zeros((2, 2), np.float32),
        "a.running_mean": np.zeros(2),
        "head.w": np.ones((3, 2)),
        "head.b": np.ones(3),
    }
    file = {
        "a.w": np.full((2, 2), 5.0),
        "a.running_mean": np.ones(2),
        "head.w": np.zeros((9, 2)),
        "head.b": np.zeros(9),
    }
    state, new = transferred(own, file, "w")
    assert new == ["head.w", "head.b"]
    assert (state["a.w"] == 5).all()
    assert state["a.w"].dtype == np.float32
    assert (state["head.w"] == 1).all()
    with pytest.raises(
        ValueError, match=r"--weights must be of the same network, got w with \(3, 2\) for a.w \(2, 2\)"
    ):
        transferred(own, {**file, "a.w": np.zeros((3, 2))}, "w")
    with pytest.raises(ValueError, match=r"got w without a.w of its arrays and with no others"):
        transferred(own, {name: array for name, array in file.items() if name != "a.w"}, "w")
