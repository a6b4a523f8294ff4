"""Weights in other packages' names: every key finds its array, and what does not fit is named and changes nothing.

Against the packages themselves: tests/frameworks/test_timm.py and test_torchvision.py. The keys of those that no package
index has are listed here, as the authors' published code makes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import npconv
from npconv import models, nn, weights
from npconv.weights import SOURCES

BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def bn(*names: str) -> Iterator[str]:
    return (f"{name}.{what}" for name in names for what in BATCH_NORM)


def megvii() -> Iterator[str]:
    yield "first_conv.0.weight"
    yield from bn("first_conv.1")
    for unit in range(16):
        yield from (
            f"features.{unit}.{conv}.weight" for conv in ("branch_main_1.0", "branch_main_1.3", "branch_main_2.0")
        )
        yield from bn(
            *(f"features.{unit}.{norm}" for norm in ("branch_main_1.1", "branch_main_1.4", "branch_main_2.1"))
        )
    yield "classifier.0.weight"


def d_li14() -> Iterator[str]:
    """Of the network with two blocks in each stage: stage 1 begins, and stage 4 ends, with a plain map."""

    def part(name: str, low_in: bool, low_out: bool) -> Iterator[str]:
        for source in "hl" if low_in else "h":
            for target in "hl" if low_out else "h":
                yield f"{name}.conv.conv_{source}2{target}.weight"
        yield from bn(f"{name}.bn_h", *([f"{name}.bn_l"] if low_out else []))

    yield "conv1.weight"
    yield from bn("bn1")
    for stage in range(1, 5):
        for block in range(2):
            low_in, low = (stage > 1) and (stage < 4 or block == 0), stage < 4
            yield from part(f"layer{stage}.{block}.conv1", low_in or (stage == 1 and block > 0), low)
            yield from part(f"layer{stage}.{block}.conv2", low, low)
            yield from part(f"layer{stage}.{block}.conv3", low, low)
            if block == 0:
                yield from part(f"layer{stage}.0.downsample.0", low_in, low)
    yield from ("fc.weight", "fc.bias")


def huawei() -> Iterator[str]:
    """Of the network of any width."""
    yield "conv_stem.weight"
    yield from bn("bn1")
    for stage, blocks in enumerate((1, 1, 1, 1, 1, 1, 5, 1, 4)):
        for block in range(blocks):
            path = f"blocks.{stage}.{block}"
            strided = stage in (1, 3, 5, 7)
            for ghost in ("ghost1", "ghost2"):
                for part in ("primary_conv", "cheap_operation"):
                    yield f"{path}.{ghost}.{part}.0.weight"
                    yield from bn(f"{path}.{ghost}.{part}.1")
            if strided:
                yield f"{path}.conv_dw.weight"
                yield from bn(f"{path}.bn_dw")
            if (stage, block) in ((3, 0), (4, 0), (6, 3), (6, 4), (7, 0), (8, 1), (8, 3)):
                for conv in ("conv_reduce", "conv_expand"):
                    yield from (f"{path}.se.{conv}.{what}" for what in ("weight", "bias"))
            if strided or (stage, block) == (6, 3):  # from 80 to 112 channels
                yield from (f"{path}.shortcut.{place}.weight" for place in (0, 2))
                yield from bn(f"{path}.shortcut.1", f"{path}.shortcut.3")
    yield "blocks.9.0.conv.weight"
    yield from bn("blocks.9.0.bn1")
    for layer in ("conv_head", "classifier"):
        yield from (f"{layer}.{what}" for what in ("weight", "bias"))


def rng(seed: int = 0) -> dict[str, np.random.Generator]:
    return {"rng": np.random.default_rng(seed)}


def shufflenet(dtype: type = np.float32) -> nn.Layer:
    return models.shufflenet_v1(3, 0.5, 10, shuffle="inverse", fc_bias=False, dtype=dtype, **rng())


NETWORKS: dict[str, Callable[[], nn.Layer]] = {
    "timm/mobilenetv1": lambda: models.mobilenet_v1(0.25, 10, padding=1, eps=1e-5, **rng()),
    "timm/ghostnet": lambda: models.ghostnet(0.5, 10, **rng()),
    "huawei-noah/ghostnet": lambda: models.ghostnet(0.5, 10, **rng()),
    "torchvision/resnet": lambda: models.resnet(26, 10, channels=8, **rng()),
    "megvii/shufflenet_v1": shufflenet,
    "d-li14/octconv.pytorch": lambda: models.oct_resnet(26, 0.5, 10, version="v1", channels=8, **rng()),
}


def theirs(model: nn.Layer, source: str, seed: int = 1) -> dict[str, np.ndarray]:
    """Random arrays for `model` by their names at the source."""
    random = np.random.default_rng(seed)
    state = {
        SOURCES[source].name_there(name): random.uniform(0, 1, array.shape).astype(array.dtype)
        for name, array in model.state().items()
    }
    return state | {"some.num_batches_tracked": np.array(7)}


def copied(model: nn.Layer) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.state().items()}


def assert_same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_every_source_is_tested() -> None:
    assert NETWORKS.keys() == SOURCES.keys()


@pytest.mark.parametrize("source", NETWORKS)
def test_every_array_comes_from_its_own_key(source: str) -> None:
    model = NETWORKS[source]()
    state = theirs(model, source)
    assert len(state) == len(model.state()) + 1
    names = weights.load_state_dict(model, state, source)
    for name, array in model.state().items():
        if not (source.startswith("megvii") and re.search(r"depthwise|bn2", name)):
            np.testing.assert_array_equal(array, state[names[name]], err_msg=name)


@pytest.mark.parametrize(
    ("source", "keys"),
    [("megvii/shufflenet_v1", megvii), ("d-li14/octconv.pytorch", d_li14), ("huawei-noah/ghostnet", huawei)],
)
def test_the_keys_are_the_published_ones(source: str, keys: Callable[[], Iterator[str]]) -> None:
    published = list(keys())
    assert len(set(published)) == len(published)
    assert {SOURCES[source].name_there(name) for name in NETWORKS[source]().state()} == set(published)


@pytest.mark.parametrize(
    ("source", "here", "there"),
    [
        ("timm/mobilenetv1", "block1.depthwise.w", "blocks.0.0.conv_dw.weight"),
        ("timm/mobilenetv1", "block12.bn2.beta", "blocks.4.0.bn2.bias"),
        ("timm/ghostnet", "block10.main.squeeze_excite.gate.reduce.b", "blocks.6.3.se.conv_reduce.bias"),
        ("torchvision/resnet", "stage2.0.sum.shortcut.bn.running_var", "layer2.0.downsample.1.running_var"),
        ("megvii/shufflenet_v1", "stage2.0.concat.main.compress.w", "features.0.branch_main_1.0.weight"),
        ("megvii/shufflenet_v1", "stage4.3.sum.main.bn3.gamma", "features.15.branch_main_2.1.weight"),
        ("d-li14/octconv.pytorch", "stage1.0.sum.main.conv1.w_hl", "layer1.0.conv1.conv.conv_h2l.weight"),
        ("d-li14/octconv.pytorch", "stage2.0.sum.shortcut.bn.low.gamma", "layer2.0.downsample.0.bn_l.weight"),
        ("d-li14/octconv.pytorch", "stage4.1.sum.main.conv2.w", "layer4.1.conv2.conv.conv_h2h.weight"),
        ("d-li14/octconv.pytorch", "stage4.1.sum.main.bn2.beta", "layer4.1.conv2.bn_h.bias"),
    ],
)
def test_some_names(source: str, here: str, there: str) -> None:
    assert SOURCES[source].name_there(here) == there


def test_megviis_unit_shuffles_behind_the_depthwise_convolution() -> None:
    """A unit in their order, depthwise, batch norm, inverse shuffle, is the same function as the loaded one in ours."""
    model, source = shufflenet(np.float64), "megvii/shufflenet_v1"
    state = {key: np.abs(array) if "running_var" in key else array for key, array in theirs(model, source).items()}
    weights.load_state_dict(model, state, source)
    unit = dict(model.eval().named_layers())["stage2.1"]
    x = np.random.default_rng(2).standard_normal((2, 120, 5, 4))

    def normalised(y: np.ndarray, name: str) -> np.ndarray:
        gamma, beta, mean, var = (state[f"features.1.{name}.{what}"] for what in BATCH_NORM)
        return npconv.batch_norm2d(y, gamma, beta, mean=mean, var=var)

    y = npconv.pointwise_conv2d(x, state["features.1.branch_main_1.0.weight"], groups=3)
    y = npconv.relu(normalised(y, "branch_main_1.1"))
    y = npconv.depthwise_conv2d(y, state["features.1.branch_main_1.3.weight"], padding=1)
    y = npconv.channel_unshuffle(normalised(y, "branch_main_1.4"), 3)
    y = npconv.pointwise_conv2d(y, state["features.1.branch_main_2.0.weight"], groups=3)
    expected = npconv.relu(x + normalised(y, "branch_main_2.1"))
    np.testing.assert_allclose(unit(x), expected, rtol=1e-12, atol=1e-12)


def test_the_papers_shuffle_is_refused() -> None:
    model = models.shufflenet_v1(3, 0.5, 10, fc_bias=False, **rng())
    state = theirs(shufflenet(), "megvii/shufflenet_v1")
    before = copied(model)
    message = "model must be made with shuffle='inverse', as these weights were trained with, got stage2.0.concat.main.shuffle"
    with pytest.raises(ValueError, match=re.escape(message)):
        weights.load_state_dict(model, state, "megvii/shufflenet_v1")
    assert_same(copied(model), before)


def test_other_dtypes_become_the_models() -> None:
    model = models.resnet(26, 10, channels=8, dtype=np.float64, **rng())
    state = theirs(model, "torchvision/resnet")
    state["fc.bias"] = state["fc.bias"].astype(np.float16)
    weights.load_state_dict(model, state, "torchvision/resnet")
    assert {array.dtype for array in model.state().values()} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(model.state()["head.linear.b"], state["fc.bias"])


def test_a_file(tmp_path: Path) -> None:
    model, path = NETWORKS["torchvision/resnet"](), tmp_path / "resnet.safetensors"
    state = theirs(model, "torchvision/resnet")
    weights.save(state, path, {"format": "pt"})
    assert weights.load(model, path, "torchvision/resnet") == {"format": "pt"}
    np.testing.assert_array_equal(model.state()["stem.conv.w"], state["conv1.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv1.weight"), "got missing: conv1.weight"),
        (lambda s: s.update(extra=np.zeros(1)), "got extra: extra"),
        (lambda s: s.update({"fc.bias": np.zeros(11)}), "got of another shape: fc.bias is (11,) for (10,)"),
        (lambda s: s.update({"fc.b": s.pop("fc.bias")}), "got missing: fc.bias; extra: fc.b"),
        (lambda s: s.clear(), "got missing: conv1.weight, bn1.weight, bn1.bias, layer1.0.conv1.weight"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_changes(tmp_path: Path, change: Callable, message: str) -> None:
    model, path = NETWORKS["torchvision/resnet"](), tmp_path / "resnet.safetensors"
    state = theirs(model, "torchvision/resnet")
    change(state)
    before = copied(model)
    rule = "the arrays must be those of torchvision/resnet for resnet(depth), "
    with pytest.raises(ValueError, match="^" + re.escape(rule + message)):
        weights.load_state_dict(model, state, "torchvision/resnet")
    weights.save(state, path)
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: {rule}{message}")):
        weights.load(model, path, "torchvision/resnet")
    assert_same(copied(model), before)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda s: s.update({"fc.bias": np.zeros(10, int)}),
            TypeError,
            "fc.bias must be an array of floats, got int64",
        ),
        (lambda s: s.update({"fc.bias": [0.0] * 10}), TypeError, "fc.bias must be an array of floats, got list"),
    ],
)
def test_what_is_no_array_of_floats(change: Callable, error: type[Exception], message: str) -> None:
    model = NETWORKS["torchvision/resnet"]()
    state = theirs(model, "torchvision/resnet")
    change(state)
    before = copied(model)
    with pytest.raises(error, match=re.escape(message)):
        weights.load_state_dict(model, state, "torchvision/resnet")
    assert_same(copied(model), before)


def test_an_unknown_source() -> None:
    with pytest.raises(ValueError, match=r"source must be one of timm/mobilenetv1, .*, got 'keras'"):
        weights.load_state_dict(NETWORKS["torchvision/resnet"](), {}, "keras")


def test_a_truncated_file(tmp_path: Path) -> None:
    model, path = NETWORKS["torchvision/resnet"](), tmp_path / "resnet.safetensors"
    weights.save(theirs(model, "torchvision/resnet"), path)
    path.write_bytes(path.read_bytes()[:-100])
    before = copied(model)
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        weights.load(model, path, "torchvision/resnet")
    assert_same(copied(model), before)


# --- without a source ---


def head() -> nn.Layer:
    return nn.Sequential(
        conv=nn.Conv2d(1, 2, 3, **rng()), bn=nn.BatchNorm2d(2), fc=nn.Sequential(nn.Linear(2, 3, **rng()))
    )


PYTORCH = {"conv.w": "conv.weight", "conv.b": "conv.bias", "bn.gamma": "bn.weight", "bn.beta": "bn.bias",
           "fc.0.w": "fc.0.weight", "fc.0.b": "fc.0.bias"}  # fmt: skip


@pytest.mark.parametrize("module", ["", "module."])
@pytest.mark.parametrize("form", ["ours", "pytorch", "mapping"])
def test_names_that_fit_need_no_source(form: str, module: str) -> None:
    model, other = head(), head()
    arrays = {name: array + 1 for name, array in other.state().items()}
    words = {
        name: {"ours": name, "pytorch": PYTORCH.get(name, name), "mapping": f"x{k}"}[form]
        for k, name in enumerate(arrays)
    }
    state = {module + words[name]: array for name, array in arrays.items()}
    if form == "pytorch":
        state[f"{module}bn.num_batches_tracked"] = np.array(3)
    source = words if form == "mapping" else None
    assert weights.load_state_dict(model, state, source) == words
    assert_same(copied(model), arrays)


class Tensor:
    """What PyTorch's tensors have of what is asked for."""

    def __init__(self, array: np.ndarray, dtype: str = "torch.float32") -> None:
        self.array, self.dtype = array, dtype

    def detach(self) -> Tensor:
        return self

    cpu = detach

    def float(self) -> Tensor:
        return Tensor(self.array)

    def numpy(self) -> np.ndarray:
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array


def test_tensors_are_taken() -> None:
    model, arrays = head(), {name: array + 1 for name, array in head().state().items()}
    kinds = ("torch.float32", "torch.bfloat16")
    weights.load_state_dict(
        model, {name: Tensor(array, kinds[k % 2]) for k, (name, array) in enumerate(arrays.items())}
    )
    assert_same(copied(model), arrays)
    with pytest.raises(TypeError, match=r"conv.w must be an array of floats, got list: tensor.numpy\(\) makes one"):
        weights.load_state_dict(model, {**arrays, "conv.w": [1.0]})
    with pytest.raises(
        TypeError, match=r"conv.w must be of floats of at least 16 bits, got torch.float8_e5m2: tensor.float\(\)"
    ):
        weights.load_state_dict(model, {**arrays, "conv.w": Tensor(arrays["conv.w"], "torch.float8_e5m2")})
    with pytest.raises(TypeError, match="state must be a mapping of names to arrays, got list"):
        weights.load_state_dict(model, [1.0])  # type: ignore[arg-type]


def test_no_message_is_longer_than_a_screen() -> None:
    model = models.resnet(50, 10, channels=8, **rng())
    with pytest.raises(ValueError) as caught:
        weights.load_state_dict(model, {f"layer{k}": np.zeros(1, np.float32) for k in range(1000)})
    assert len(str(caught.value)) < 800
    assert " and 988 more" in str(caught.value)
