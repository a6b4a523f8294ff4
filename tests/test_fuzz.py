"""Hostile calls of every public function: see fuzzing.py. What random ones have found is kept here, and asked again each time."""

from __future__ import annotations

import fuzzing
import numpy as np
import pytest
import right_calls

import npconv
from npconv import OctaveMap, models, nn, ops, optim

CALLS = {call.name: call for call in right_calls.calls()}
HUGE = 10**400
AMBIGUOUS = np.array([2, 2])
MANY_LINES = np.zeros((1, 4, 6, 5))
X = right_calls.X

# Each was an error of another kind, or of many lines, when it was found.
CORPUS = [
    ("batch_norm2d", {"eps": HUGE}),
    ("batch_norm2d", {"eps": np.timedelta64(3, "s")}),
    ("softmax_cross_entropy", {"labels": np.array([0, 1], "m8[s]")}),
    ("softmax_cross_entropy", {"labels": np.ma.masked_array([0, 1000], mask=[0, 1])}),
    ("softmax_cross_entropy", {"label_smoothing": -HUGE}),
    ("conv2d", {"groups": HUGE}),
    ("conv2d", {"stride": MANY_LINES}),
    ("conv2d", {"stride": np.array(2.0)}),
    ("conv2d", {"padding": np.array("same")}),
    ("conv2d", {"padding": np.array([[1, 2], [3, 4], [5, 6]])}),
    ("conv2d", {"padding": "\udcff"}),
    ("conv2d", {"x": np.broadcast_to(np.float32(0), (2**15,) * 4)}),
    ("conv2d_weight_grad", {"w_shape": np.ma.masked, "groups": 1}),
    ("conv2d_weight_grad", {"w_shape": (6, 2, 3, np.array([[1, 2], [3, 4]]))}),
    ("octave_conv2d", {"stride_mode": AMBIGUOUS}),
    ("octave_conv2d", {"padding": HUGE}),
    ("max_pool2d", {"ceil_mode": AMBIGUOUS}),
    ("avg_pool2d", {"count_include_pad": AMBIGUOUS}),
    ("relu", {"x": (X, X)}),
    ("relu_backward", {"dy": (X, X)}),
    ("hard_swish", {"x": (X, X)}),
    ("linear", {"x": (X, X)}),
    ("nn.ReLU used", {"x": (X, X)}),
    ("nn.Flatten used", {"x": [1, 2]}),
    ("nn.Flatten used", {"x": np.array(3.0)}),
    ("nn.Dropout used", {"x": "x"}),
    ("nn.Dropout used", {"x": np.array(3.0, np.float32)}),
    ("weights.save", {"model": {"a": [1, 2]}}),
    ("weights.save", {"model": 3}),
    ("weights.save", {"metadata": {"a": 1}}),
    ("weights.save", {"metadata": {"\udcff": "a"}}),
    ("weights.save", {"model": {"a": np.array([None])}}),
    ("weights.save", {"path": 3}),
    ("weights.metadata", {"path": "9" * 5000}),
    ("weights.read", {"path": "é\x1b[31m\n"}),
    ("weights.load_state_dict", {"state": {1: 2}}),
    ("models.noted", {"path": "a\0b"}),
    ("training.save", {"model": 3}),
    ("training.save", {"about": 3}),
    ("training.save", {"about": {"a": object()}}),
    ("training.save", {"folder": "9" * 5000}),
    ("training.resume", {"folder": "é\x1b[31m\n"}),
    ("training.resume", {"folder": None}),
    ("training.read_recipe", {"path": "é\x1b[31m\n"}),
    ("data.load", {"path": "9" * 5000}),
    ("data.load", {"path": AMBIGUOUS}),
    ("data.from_arrays", {"labels": np.ma.masked_array(np.arange(9) % 3, mask=True)}),
    ("nn.Dropout used", {"dy": X.astype(np.float64)}),
    ("nn.PointwiseConv2d", {"bias": AMBIGUOUS}),
    ("nn.DepthwiseConv2d", {"padding": np.array("same")}),
    ("nn.Conv2d", {"dtype": "9" * 5000}),
    ("nn.Conv2d", {"dtype": np.dtype("f4,f8")}),
    ("nn.Conv2d", {"dtype": "\udcff"}),
    ("nn.Conv2d", {"out_channels": 2**31 - 1, "in_channels": 2**31 - 1, "groups": 1}),
    ("nn.BatchNorm2d", {"momentum_convention": AMBIGUOUS}),
    ("nn.BatchNorm2d", {"unbiased": AMBIGUOUS}),
    ("nn.SqueezeExcite", {"channels": MANY_LINES}),
    ("nn.SqueezeExcite used", {"x": ()}),
    ("nn.SqueezeExcite used", {"x": OctaveMap(None, None)}),
    ("nn.SqueezeExcite used", {"x": (X, None, X)}),
    ("nn.Concat", {"two": MANY_LINES}),
    ("models.resnet", {"squeeze_excite": AMBIGUOUS}),
    ("models.resnet", {"depth": AMBIGUOUS}),
    ("models.resnet", {"version": AMBIGUOUS}),
    ("models.oct_mobilenet_v1", {"stride_mode": AMBIGUOUS}),
    ("ghost_conv2d", {"padding": 2**31 - 1}),
    ("models.mobilenet_v1", {"width": 1e308}),
    ("models.mobilenet_v1", {"activation": AMBIGUOUS}),
    ("models.shufflenet_v1", {"scale": 1e308}),
    ("models.shufflenet_v1", {"shuffle": AMBIGUOUS}),
    ("models.ghostnet", {"width": 1e308}),
    ("models.tiny_mobilenet", {"in_channels": 2**31 - 1}),
    ("models.tiny_mobilenet", {"num_classes": AMBIGUOUS}),
    ("optim.SGD", {"grad": np.zeros((2, 2), np.complex64)}),
    ("optim.SGD", {"grad": np.recarray((2, 2), "V4")}),
    ("optim.SGD", {"nesterov": AMBIGUOUS}),
    ("optim.Adam", {"grad": np.zeros(4, np.float32)}),
    ("optim.Adam", {"grad": np.asfortranarray(np.zeros((2, 2)))}),
    ("optim.AdamW", {"no_decay": MANY_LINES}),
    ("optim.AdamW", {"betas": AMBIGUOUS}),
    ("optim.AdamW", {"eps": MANY_LINES}),
    ("optim.cosine", {"final": HUGE}),
    ("costs.add", {"x_shape": 1.0}),
    ("costs.activation", {"x_shape": np.array(3)}),
    ("costs.conv2d", {"direction": AMBIGUOUS}),
    ("costs.conv2d", {"count_padding": AMBIGUOUS}),
    ("costs.conv2d", {"itemsize": HUGE}),
    ("costs.conv2d", {"itemsize": np.int8(-3)}),
    ("costs.count", {"shape": (1, 4, 2**31 - 1, 2**31 - 1)}),
    ("costs.global_avg_pool2d", {"x_shape": (np.array([1, HUGE], object), 4, 6, 6)}),
    ("costs.separable_macs", {"alpha": np.timedelta64(3, "s")}),
    ("geometry.check_shuffle_groups", {"channels": "forward"}),
    ("geometry.check_shuffle_groups", {"channels": iter((1, 2))}),
    ("geometry.fraction", {"value": -HUGE}),
    ("geometry.positive", {"value": HUGE}),
    ("geometry.octave_paths", {"stride": np.array([2, 2.5], object), "stride_mode": np.array([])}),
    ("geometry.integer", {"value": -HUGE}),
    ("layouts.onnx_to_padding", {"pads": np.array(None)}),
    ("layouts.torch_to_padding", {"pad": (1, MANY_LINES, 3, 4, None)}),
    ("layouts.padding_to_onnx", {"padding": (b"ab", b"cd")}),
    ("npconv.backend", {"name": MANY_LINES}),
    ("npconv.winograd", {"tiles": AMBIGUOUS}),
    ("nn.predict", {"batch": HUGE}),
    ("nn.is_frozen", {"layer": 3}),
    ("nn.Sequential.freeze", {"pattern": 3}),
    ("nn.Sequential.unfreeze", {"pattern": b"same"}),
    ("data.batch_count", {"images": (1, 2)}),
    ("data.batches", {"labels": -HUGE}),
    ("data.batches", {"images": (None, None)}),
    ("data.take", {"index": "é"}),
    ("data.take", {"index": np.zeros(2)}),
    ("data.flip", {"rng": 1e-320}),
    ("data.pad_crop", {"rng": None}),
    ("data.rotate", {"degrees": 1e308}),
    ("data.rotate", {"images": X.astype(str)}),
    ("data.color", {"images": X.astype("V4")}),
    ("data.parse_augmentation", {"text": MANY_LINES}),
    ("testing.assert_close", {"op": {}}),
    ("testing.assert_close", {"arithmetic": {}}),
    ("testing.assert_close", {"x": np.zeros(X.shape, [("a", "f4"), ("b", "i4")])}),
    ("testing.error_in_bounds", {"bound": (1, 2)}),
    ("testing.check_gradients", {"rtol": (1, 2)}),
    ("testing.check_gradients", {"step": HUGE}),
    ("testing.check_gradients", {"step": 0}),
    ("testing.check_gradients", {"rng": (1, 2)}),
    ("testing.check_gradients", {"backward": []}),
    ("testing.check_gradients", {"samples": ">f8"}),
    ("testing.gamma", {"terms": "f2"}),
    ("testing.gamma", {"terms": AMBIGUOUS}),
    ("testing.gamma", {"roundoff": 3 + 4j}),
    ("testing.probable_gamma", {"terms": -HUGE}),
    ("testing.probable_gamma", {"roundoff": None}),
    ("testing.unit_roundoff", {"dtype": True}),
    ("testing.unit_roundoff", {"dtype": "9" * 5000}),
    ("testing.rigorous_bound", {"magnitude": "float32"}),
]


def test_every_public_function_is_called():
    """Operators, layers, networks, optimisers: whatever is exported stands in fuzzing.py."""
    operators = {name for name in ops.__all__ if not isinstance(getattr(ops, name), type)}
    assert operators <= CALLS.keys()
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)} - {"Layer", "OperatorLayer"}
    assert {f"nn.{name}" for name in layers} <= CALLS.keys()
    assert {f"models.{name}" for name in models.NETWORKS} <= CALLS.keys()
    assert {
        f"optim.{name}" for name in ("SGD", "Adam", "AdamW", "constant", "step", "linear", "cosine")
    } <= CALLS.keys()
    assert issubclass(optim.AdamW, optim.Optimizer)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in fuzzing.LARGE])
def test_each_call_is_right_as_it_is(name):
    with npconv.backend("numpy"):
        CALLS[name](dict(CALLS[name].arguments))


@pytest.mark.parametrize(("name", "wrong"), CORPUS, ids=[f"{place} {name}" for place, (name, _) in enumerate(CORPUS)])
def test_what_was_found_stays_mended(backend, name, wrong):
    """And none of them succeeds, for each is wrong."""
    call = CALLS[name]
    arguments = call.arguments | wrong
    assert fuzzing.judge(call, arguments) is None
    ends = (*fuzzing.OWN, ZeroDivisionError, OSError)
    with pytest.raises(ends):
        call(arguments)


def test_an_itemsize_of_few_bits_is_a_number_like_others():
    """NumPy's own error, when it was found: 474 bytes are out of the bounds of int8."""
    call = CALLS["costs.conv2d"]
    assert call(call.arguments | {"itemsize": np.int8(3)}) == call(call.arguments | {"itemsize": 3})


@pytest.mark.parametrize("name", [name for name in CALLS if name not in fuzzing.LARGE and "fed" not in name])
def test_some_random_calls(name):
    with npconv.backend("numpy"):
        for seed in range(12):
            arguments = fuzzing.case(CALLS[name], seed)
            assert fuzzing.judge(CALLS[name], arguments) is None, fuzzing.described(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_many_random_calls(backend, name):
    seeds = range(1000, 1010 if name in fuzzing.LARGE else 1100)
    for seed in seeds:
        arguments = fuzzing.case(CALLS[name], seed)
        found = fuzzing.judge(CALLS[name], arguments)
        assert found is None, f"{found} {seed}: {fuzzing.described(arguments)}"


# --- the judge ---------------------------------------------------------------------------------------------------


def verdict(function, **arguments):
    return fuzzing.judge(right_calls.Call("planted", function, arguments), arguments, seconds=1)


def test_a_foreign_error_is_found():
    assert "ValueError" in verdict(lambda x: x.reshape(5, 5), x=X)
    assert "OverflowError" in verdict(lambda x: float(x), x=HUGE)
    assert "IndexError" in verdict(lambda x: x[9], x=())
    assert "AttributeError" in verdict(lambda x: x.shape, x=())
    assert "TypeError" in verdict(lambda x: npconv.relu(X) + x, x="")
    assert verdict(lambda x: npconv.relu(x), x=3) is None


def test_numpys_own_error_inside_npconv_is_found():
    """It has the right kind; the line that raised it is no `raise`."""
    pair = OctaveMap(X, X)
    with pytest.raises(ValueError) as caught:
        npconv.reference.relu(pair.high).reshape(3)
    assert not fuzzing.is_own(caught.value)
    with pytest.raises(ValueError) as caught:
        npconv.reference.channel_shuffle(X, 3)
    assert not fuzzing.is_own(caught.value)
    with pytest.raises(ValueError) as caught:
        npconv.channel_shuffle(X, 3)
    assert fuzzing.is_own(caught.value)


def test_a_hang_is_found():
    def hang(x):
        while True:
            pass

    assert verdict(hang, x=1).startswith("slow: planted")


def test_a_message_of_many_lines_is_found():
    def tell(x):
        raise ValueError(f"x must be\n{x}")

    assert "ValueError" in verdict(tell, x=1)
