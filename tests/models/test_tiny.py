"""The tiny networks and the papers' units that they are made of."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import npconv
from npconv import OctaveMap, models, nn, optim
from npconv.models import MODELS

every_model = pytest.mark.parametrize("name", MODELS)


def make(name, *sizes, seed=0, **options):
    return MODELS[name](*sizes, rng=np.random.default_rng(seed), **options)


def images(*shape, seed=1, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def loss_and_backward(net, x, labels):
    """The loss; the gradients are left in the layers."""
    logits = net(x)
    one = np.ones((), logits.dtype)
    dx = net.backward(npconv.softmax_cross_entropy_backward(one, logits, labels))
    return npconv.softmax_cross_entropy(logits, labels).item(), dx


# --- the networks ------------------------------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("size", [(8, 8), (13, 11), (32, 32), (96, 96)])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_shapes(name, size, in_channels):
    net = make(name, 7, in_channels, stem_stride=2 if size[0] > 32 else 1)
    x = images(2, in_channels, *size)
    y = net(x)
    assert (y.shape, y.dtype) == ((2, 7), np.float32)
    assert np.isfinite(y).all()
    dx = net.backward(y)
    assert (dx.shape, dx.dtype) == (x.shape, np.float32)
    assert net.eval()(x).shape == (2, 7)


@every_model
def test_empty_batch_in_evaluation(name):
    assert make(name).eval()(images(0, 1, 8, 8)).shape == (0, 10)


@every_model
def test_tiny(name):
    assert 5_000 < make(name).parameter_count() < 60_000


@every_model
def test_the_docstring_names_the_parts(name):
    text = inspect.getdoc(MODELS[name])
    for part, layer in make(name).children().items():
        names = [f"{part}.{place}" for place in layer.children()] if part.startswith("stage") else [part]
        assert all(f"\n{name} " in text for name in names)


@every_model
@pytest.mark.parametrize("training", [True, False])
def test_gradients_along_random_directions(name, training):
    """d loss / dt along a random direction of all parameters, and of the images, is the gradient's inner product with it."""
    net = make(name, 5, 2, dtype=np.float64)
    x, labels = images(4, 2, 9, 8, dtype=np.float64), np.array([0, 4, 2, 2])
    net(x)  # running statistics that are not 0 and 1
    net.train() if training else net.eval()
    rng = np.random.default_rng(2)
    _, dx = loss_and_backward(net, x, labels)
    params, grads = dict(net.named_params()), {n: array.copy() for n, array in net.named_grads()}
    start = {n: array.copy() for n, array in params.items()}
    assert all(grads[n].any() for n in params)
    step = 1e-6
    for what in ("parameters", "images"):
        along = {n: rng.standard_normal(array.shape) * (what == "parameters") for n, array in params.items()}
        x_along = rng.standard_normal(x.shape) * (what == "images")
        slope = sum(np.vdot(grads[n], along[n]) for n in params) + np.vdot(dx, x_along)
        values = []
        for t in (step, -step):
            for n, array in params.items():
                array[...] = start[n] + t * along[n]
            values.append(npconv.softmax_cross_entropy(net(x + t * x_along), labels).item())
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-5), what


@pytest.mark.slow
@every_model
def test_both_backends_agree(name):
    x, labels = images(3, 1, 9, 8, dtype=np.float64), np.array([0, 4, 2])
    results = []
    for backend in ("numpy", "numba"):
        with npconv.backend(backend):
            net = make(name, dtype=np.float64)
            results.append((*loss_and_backward(net, x, labels), dict(net.named_grads()), net.state()))
    for one, other in zip(*results, strict=True):
        np.testing.assert_equal(type(one), type(other))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-9, atol=1e-12)
    for place in (2, 3):
        assert list(results[0][place]) == list(results[1][place])
        for n, array in results[0][place].items():
            np.testing.assert_allclose(array, results[1][place][n], rtol=1e-9, atol=1e-12, err_msg=n)


@pytest.mark.slow
@every_model
def test_a_few_steps_learn(name):
    x, labels = images(16, 1, 8, 8), np.arange(16) % 10
    net = make(name)
    optimizer = optim.SGD(0.05, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(12):
        losses.append(loss_and_backward(net, x, labels)[0])
        optimizer.step(net)
    assert losses[0] > 1.8
    assert losses[-1] < 0.5 * losses[0]


@every_model
def test_same_seed_same_numbers(name):
    x, labels = images(4, 1, 8, 8), np.array([1, 2, 3, 4])

    def run(seed):
        net, optimizer = make(name, seed=seed), optim.AdamW(0.01)
        for _ in range(2):
            loss_and_backward(net, x, labels)
            optimizer.step(net)
        return net.state()

    one, two, other = run(0), run(0), run(1)
    assert {n: array.tobytes() for n, array in one.items()} == {n: array.tobytes() for n, array in two.items()}
    assert one["stem.conv.w"].tobytes() != other["stem.conv.w"].tobytes()


@every_model
def test_state_goes_to_another_network(name):
    x = images(4, 1, 8, 8)
    net, other = make(name), make(name, seed=1)
    net(x)
    other.load_state({n: array.copy() for n, array in net.state().items()})
    np.testing.assert_array_equal(net.eval()(x), other.eval()(x))


@every_model
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_classes": 0}, ValueError, "num_classes must be at least 1, got num_classes=0"),
        ({"in_channels": 0}, ValueError, "in_channels must be at least 1"),
        ({"stem_stride": 0}, ValueError, "stride must be at least 1"),
        ({"rng": 0}, TypeError, "rng must be a numpy.random.Generator, got int"),
        ({"dtype": "int8"}, TypeError, "dtype must be float16, float32 or float64, got 'int8'"),
    ],
)
def test_bad_arguments(name, arguments, error, message):
    with pytest.raises(error, match=message):
        MODELS[name](**{"rng": np.random.default_rng(0)} | arguments)


OPTIONS = [
    *(("mobilenet", {"width": width}) for width in (0.25, 0.5, 2)),
    *(("shufflenet", {"groups": groups}) for groups in (1, 2, 4, 8)),
    *(("ghostnet", {"ratio": ratio}) for ratio in (1, 3)),
    *(("octave", {"alpha": alpha}) for alpha in (0, 0.25, 0.75, 1)),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_options_of_the_papers(name, options):
    net = make(name, **options)
    y = net(images(2, 1, 11, 9))
    assert y.shape == (2, 10)
    assert net.backward(y).shape == (2, 1, 11, 9)


def test_the_octave_network_has_the_kernels_of_the_residual_network():
    """Splitting a kernel by frequency changes no number of weights; batch norm has one gamma for each channel either way."""

    def kernels(net):
        return sum(array.size for n, array in net.named_params() if array.ndim == 4)

    projection = 16 * 16 + 32 * 32  # where alpha changes, the shortcut is no identity
    assert kernels(make("octave")) == kernels(make("resnet")) + projection


# --- the units ---------------------------------------------------------------------------------------------------


def seeded():
    return {"rng": np.random.default_rng(0)}


def count(*layers):
    return sum(layer.parameter_count() for layer in layers)


def test_separable_blocks_make_mobilenet():
    """All 4,231,976 parameters of the paper's table 1, and those at widths 0.75, 0.5 and 0.25."""
    rows = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for width, parameters in [(1, 4_231_976), (0.75, 2_585_560), (0.5, 1_331_592), (0.25, 470_072)]:
        channels = models.scaled_channels(32, width)
        total = 3 * 9 * channels + 2 * channels
        for out, stride in rows:
            out = models.scaled_channels(out, width)
            total += count(models.separable_block(channels, out, stride=stride, **seeded()))
            channels = out
        assert total + channels * 1000 + 1000 == parameters


@pytest.mark.parametrize(
    ("groups", "stage2", "parameters"),
    [(1, 144, 1_531_936), (2, 200, 1_733_848), (3, 240, 1_865_728), (4, 272, 1_968_344), (8, 384, 2_434_768)],
)
def test_shuffle_units_make_shufflenet(groups, stage2, parameters):
    """All parameters of each column of the paper's table 1."""
    total, channels = 3 * 9 * 24 + 2 * 24, 24
    for stage, repeat in enumerate((4, 8, 4)):
        out = stage2 * 2**stage
        for place in range(repeat):
            first = stage > 0 or place > 0
            stride = 1 if place else 2
            total += count(
                models.shuffle_unit(channels, out, groups=groups, stride=stride, group_first=first, **seeded())
            )
            channels = out
    assert total + channels * 1000 + 1000 == parameters


# kernel, expanded, out, squeeze and excite, stride, all parameters: the paper's table 1 at width 1
GHOSTNET = [
    (3, 16, 16, False, 1, 464),
    (3, 48, 24, False, 2, 2_564),
    (3, 72, 24, False, 1, 2_352),
    (5, 72, 40, True, 2, 9_636),
    (5, 120, 40, True, 1, 13_672),
    (3, 240, 80, False, 2, 22_920),
    (3, 200, 80, False, 1, 17_820),
    (3, 184, 80, False, 1, 16_436),
    (3, 184, 80, False, 1, 16_436),
    (3, 480, 112, True, 1, 175_792),
    (3, 672, 112, True, 1, 306_992),
    (5, 672, 160, True, 2, 362_840),
    (5, 960, 160, False, 1, 160_880),
    (5, 960, 160, True, 1, 622_880),
    (5, 960, 160, False, 1, 160_880),
    (5, 960, 160, True, 1, 622_880),
]


def test_ghost_bottlenecks_make_ghostnet():
    """Each row of the paper's table 1, and all 5,182,508 parameters."""
    total, channels = 3 * 9 * 16 + 2 * 16, 16
    for kernel, expanded, out, squeeze_excite, stride, parameters in GHOSTNET:
        block = models.ghost_bottleneck(
            channels, expanded, out, kernel=kernel, stride=stride, squeeze_excite=squeeze_excite, **seeded()
        )
        assert block.parameter_count() == parameters
        total, channels = total + parameters, out
    assert total + channels * 960 + 2 * 960 + 960 * 1280 + 1280 + 1280 * 1000 + 1000 == 5_182_508


def test_the_shuffle_unit_at_stride_2_begins_with_the_pooled_input():
    x = np.abs(images(2, 8, 7, 6))
    y = models.shuffle_unit(8, 24, groups=2, stride=2, **seeded())(x)
    assert y.shape == (2, 24, 4, 3)
    pooled = npconv.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=True)
    np.testing.assert_array_equal(y[:, :8], pooled)
    assert (y >= 0).all()


def test_the_shuffle_unit_mixes_groups():
    """The first half of the output hears from the second half of the input only through the shuffle: all else is grouped."""
    unit = models.shuffle_unit(32, 32, groups=2, **seeded()).eval()
    x = images(1, 32, 5, 5)
    other = x.copy()
    other[:, 16:] = images(1, 16, 5, 5, seed=2)
    assert (unit(x)[:, :16] != unit(other)[:, :16]).any()
    (shuffle,) = (layer for _, layer in unit.named_layers() if isinstance(layer, nn.ChannelShuffle))
    shuffle.groups = 1  # the identity
    np.testing.assert_array_equal(unit(x)[:, :16], unit(other)[:, :16])


def test_the_ghost_bottleneck_ends_without_relu():
    x = images(2, 8, 6, 6)
    for options in ({}, {"stride": 2, "squeeze_excite": True, "kernel": 5}):
        block = models.ghost_bottleneck(8, 20, 8, **options, **seeded())
        y = block(x)
        assert (y < 0).any()
        modules = block.children()["main"].children()
        assert (modules["expand"].activation, modules["project"].activation) == (True, False)
        assert y.shape == ((2, 8, 6, 6) if not options else (2, 8, 3, 3))
        assert [type(layer).__name__ for layer in modules.values()] == (
            ["GhostModule", "GhostModule"]
            if not options
            else ["GhostModule", "DepthwiseConv2d", "BatchNorm2d", "SqueezeExcite", "GhostModule"]
        )


@pytest.mark.parametrize(("in_channels", "stride"), [(4, 1), (4, 2), (8, 1), (8, 2)])
def test_the_octave_block_without_a_low_frequency_is_the_basic_block(in_channels, stride):
    x = images(2, in_channels, 7, 6, dtype=np.float64)
    octave = models.octave_block(
        in_channels, 8, alpha_in=0, alpha_out=0, stride=stride, stride_mode="conv",
        rng=np.random.default_rng(3), dtype=np.float64,
    )  # fmt: skip
    basic = models.basic_block(in_channels, 8, stride=stride, rng=np.random.default_rng(3), dtype=np.float64)
    y = basic(x)
    np.testing.assert_array_equal(octave(x), y)
    np.testing.assert_array_equal(octave.backward(y), basic.backward(y))


def test_octave_blocks_of_all_alphas():
    x = images(2, 8, 7, 6)
    first = models.octave_block(8, 8, alpha_in=0, alpha_out=0.25, **seeded())
    middle = models.octave_block(8, 16, alpha_in=0.25, alpha_out=0.5, stride=2, **seeded())
    last = models.octave_block(16, 16, alpha_in=0.5, alpha_out=0, **seeded())
    one = first(x)
    assert OctaveMap(*(part.shape for part in one)) == OctaveMap((2, 6, 7, 6), (2, 2, 4, 3))
    two = middle(one)
    assert OctaveMap(*(part.shape for part in two)) == OctaveMap((2, 8, 4, 3), (2, 8, 2, 2))
    y = last(two)
    assert y.shape == (2, 16, 4, 3)
    assert first.backward(middle.backward(last.backward(y))).shape == x.shape


@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_separable_block_options(size):
    block = models.separable_block(4, 8, stride=2, kernel=5, padding="same", activation=nn.ReLU6, **seeded())
    assert block(20 * images(2, 4, *size)).shape == (2, 8, -(-size[0] // 2), -(-size[1] // 2))
    assert [type(layer) for layer in block.children().values()].count(nn.ReLU6) == 2
    same, centred = (
        models.separable_block(4, 8, stride=2, padding=p, rng=np.random.default_rng(0)) for p in ("same", None)
    )
    x = images(2, 4, 8, 8)
    assert (same(x) != centred(x)).any()  # at stride 2 and an even size "same" begins one pixel later


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (lambda: models.shuffle_unit(8, 8, groups=3, **seeded()), r"out_channels must be a multiple of 4 \* groups, got out_channels=8, groups=3"),
        (lambda: models.shuffle_unit(8, 16, groups=2, **seeded()), "in_channels must be out_channels = 16 at stride 1, got in_channels=8"),
        (lambda: models.shuffle_unit(16, 16, groups=2, stride=2, **seeded()), "in_channels must be below out_channels = 16 at stride 2, got in_channels=16"),
        (lambda: models.shuffle_unit(8, 8, groups=2, stride=3, **seeded()), "stride must be 1 or 2, got stride=3"),
        (lambda: models.scaled_channels(32, 0), "width must be finite and above 0"),
        (lambda: models.make_divisible(0), "value must be finite and above 0"),
        (lambda: models.octave_block(8, 8, alpha_in=0, alpha_out=2, **seeded()), r"alpha_out must be in \[0, 1\]"),
    ],
)  # fmt: skip
def test_units_that_do_not_fit(unit, message):
    with pytest.raises(ValueError, match=message):
        unit()
