"""Whole networks on both sides: the same weights and images, and logits as far apart as rounding makes them.

    for result in check_networks("onnxruntime", ["mobilenet_v1", "ghostnet"]):
        print(result)

No useful theorem bounds the rounding of a network: gamma_K, from layer to layer, soon says nothing. So the unit of the
error is measured: the same network runs in float64, once as it is and a few times with every result of a layer disturbed
as float32 sums would be, one product after the other. How far the logits move then is what rounding does to this network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from npconv import backends, nn, reference
from npconv.check.adapters import Unsupported
from npconv.geometry import Array, integer
from npconv.models import NETWORKS
from npconv.testing import map_arrays
from npconv.testing.bounds import unit_roundoff
from npconv.workers import Worker, WorkerError

RUNNERS = "onnxruntime", "onnx_reference", "openvino"
"""What runs an ONNX file: the networks go there as one, with their weights inside."""

LIMIT = 16.0  # deviations. Right float32 implementations are about 1 off, and a wrong layer thousands
DISTURBED = 8  # runs whose logits tell the deviation

IMAGES = {"ds_cnn": (1, 49, 10)}  # where the network takes no images of `IMAGE`
IMAGE = 3, 32, 32

_SUMS = {"conv2d", "pointwise_conv2d", "depthwise_conv2d", "linear", "octave_conv2d"}
_MOVES = {
    "relu",
    "relu6",
    "max_pool2d",
    "upsample_nearest2d",
    "channel_shuffle",
    "channel_unshuffle",
    "concatenate",
}  # round nothing


class NetworkResult(NamedTuple):
    """How one network came out.

    Attributes
    ----------
    network, runner : str
    error : float
        The largest error of a logit, in deviations; at most `LIMIT` is right.
    deviation : float
        What rounding to float32 does to a logit: a root mean square, relative to that of the logits.
    problem : str
        What went wrong where there are no logits to judge, or "".
    """

    network: str
    runner: str
    error: float
    deviation: float
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether the logits are right."""
        return not self.problem and self.error <= LIMIT

    def __str__(self) -> str:
        if self.problem:
            return f"{self.network} on {self.runner}: {self.problem}"
        verdict = "equal up to rounding" if self.ok else "WRONG"
        return f"{self.network} on {self.runner}: {verdict}, off by {self.error:.2g} deviations of {self.deviation:.1e}"


def check_networks(
    runner: str, networks: Iterable[str] | None = None, *, batch: int = 2, seed: int = 0, timeout: float = 120.0
) -> Iterator[NetworkResult]:
    """Run `networks` by npconv and, as ONNX files in another process, by `runner`, and judge the logits one by one.

    Parameters
    ----------
    runner : str
        One of `RUNNERS`.
    networks : iterable of str, optional
        Names in `npconv.models.NETWORKS`; all where not given.
    batch, seed : int
        How many random images each network sees, and what they and the weights are drawn with.
    timeout : float
        Seconds that a network may take in the other process.

    Raises
    ------
    ValueError
        `runner` or a network is not known.
    """
    names = list(NETWORKS if networks is None else networks)
    if runner not in RUNNERS:
        raise ValueError(f"runner must be one of {', '.join(RUNNERS)}, got {runner!r}")
    for name in names:
        if name not in NETWORKS:
            raise ValueError(f"a network must be one of {', '.join(NETWORKS)}, got {name!r}")
    integer("batch", batch, minimum=1)
    return _checked(runner, names, batch, seed, timeout)


def _checked(runner: str, names: list[str], batch: int, seed: int, timeout: float) -> Iterator[NetworkResult]:
    from npconv.onnx import convert

    with Worker(timeout=timeout) as worker:
        for name in names:
            rng = np.random.default_rng(seed)
            image = IMAGES.get(name, IMAGE)
            options: dict[str, Any] = {"in_channels": 3} if name.startswith("tiny_") else {}
            model = lively(NETWORKS[name](rng=rng, **options), rng)
            x = rng.standard_normal((batch, *image)).astype(np.float32)
            try:
                proto = convert(model, image).SerializeToString()
                got = worker.call(f"{__name__}:onnx_logits", runner, proto, x)
            except WorkerError as error:
                if error.name == Unsupported.__name__:
                    raise Unsupported(str(error)) from None
                yield NetworkResult(name, runner, math.inf, math.nan, f"{error.kind}: {error}")
                continue
            wide = NETWORKS[name](rng=rng, dtype=np.float64, **options)
            for array, same in zip(wide.state().values(), model.state().values(), strict=True):
                array[...] = same
            yield judge(name, runner, got, wide, x)


def judge(network: str, runner: str, got: Array, model: nn.Layer, x: Array) -> NetworkResult:
    """The result for logits `got` of the images `x`; `model` is the network in float64."""
    exact, deviation = logits_and_deviation(model, x)
    relative = deviation / math.sqrt(np.mean(exact**2))
    if not isinstance(got, np.ndarray) or got.shape != exact.shape:
        return NetworkResult(network, runner, math.inf, relative, f"logits of shape {np.shape(got)}, not {exact.shape}")
    if not np.isfinite(got).all():
        return NetworkResult(network, runner, math.inf, relative, "logits that are not finite")
    return NetworkResult(network, runner, float(np.abs(got - exact).max() / deviation), relative)


def logits_and_deviation(model: nn.Layer, x: Array) -> tuple[Array, float]:
    """What `model`, in float64, gives for `x`, and how far float32's rounding moves that: a root mean square."""
    model.eval()
    wide = x.astype(np.float64)
    with backends.divert(_exact):
        exact = model(wide)
    rng = np.random.default_rng(0)
    squares = 0.0
    for _ in range(DISTURBED):
        with backends.divert(lambda primitive, *arguments: _disturbed(rng, primitive, *arguments)):
            squares += float(np.mean((model(wide) - exact) ** 2))
    return exact, math.sqrt(squares / DISTURBED)


def lively(model: nn.Layer, rng: np.random.Generator) -> nn.Layer:
    """`model` with random statistics, scales and shifts, near 0 and 1 as after training: new ones are exactly those."""
    for _, layer in model.named_layers():
        if isinstance(layer, nn.BatchNorm2d):
            for array in (layer.params["beta"], layer.buffers["running_mean"]):
                array[...] = rng.uniform(-0.2, 0.2, array.shape)
            for array in (layer.params["gamma"], layer.buffers["running_var"]):
                array[...] = rng.uniform(0.7, 1.4, array.shape)
    return model


def _exact(primitive: str, *arguments: Any) -> Any:
    return getattr(reference, primitive)(*arguments)


def _disturbed(rng: np.random.Generator, primitive: str, *arguments: Any) -> Any:
    """The result of `primitive` with an error like that of float32.

    Let s_k be the first k of K products' sum. Each is rounded, by about u |s_k|; for products of random signs and mean
    square t^2 that adds up to u t K / sqrt(2), for products that are all alike to u s_K sqrt(K / 3).
    """
    y = getattr(reference, primitive)(*arguments)
    if primitive in _MOVES:
        return y
    roundoff = unit_roundoff(np.float32)
    if primitive in _SUMS:
        x, w, _, *geometry = arguments
        squares = getattr(reference, primitive)(map_arrays(np.square, x), map_arrays(np.square, w), None, *geometry)
        if primitive == "octave_conv2d":  # each output adds up what all kernels that lead to it bring
            into = [[w.hh, w.lh], [w.hl, w.ll]]
            terms = [sum(math.prod(kernel.shape[1:]) for kernel in kernels if kernel is not None) for kernels in into]
            parts = zip(y, squares, terms, strict=True)
            return type(y)(*(None if part is None else _off(rng, part, *rest) for part, *rest in parts))
        return _off(rng, y, squares, math.prod(w.shape[1:]))
    # a few roundings of numbers as large as the result, or as most of it
    return y + 2 * roundoff * np.sqrt(y**2 + np.mean(y**2)) * rng.standard_normal(y.shape)


def _off(rng: np.random.Generator, y: Array, squares: Array, terms: int) -> Array:
    """y, sums of so many products whose squares add up to `squares`, rounded as in float32."""
    deviation = unit_roundoff(np.float32) * np.sqrt(terms / 2 * squares + terms / 3 * y**2 + y**2)
    return y + deviation * rng.standard_normal(y.shape)


# --- in the other process ----------------------------------------------------------------------------------------


def onnx_logits(runner: str, proto: bytes, x: Array) -> Array:
    """What `runner` makes of the images `x` with the ONNX file `proto`. Raises Unsupported where it is not installed."""
    try:
        if runner == "onnxruntime":
            import onnxruntime

            session = onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"])
            return session.run(["y"], {"x": x})[0]
        if runner == "onnx_reference":
            import onnx
            from onnx.reference import ReferenceEvaluator

            return ReferenceEvaluator(onnx.load_from_string(proto)).run(["y"], {"x": x})[0]
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32"}  # else bfloat16, where the processor has it
        compiled = core.compile_model(core.read_model(proto), "CPU", settings)
        return np.array(compiled(x)[0])
    except ImportError as error:
        raise Unsupported(f"{runner} is not installed: {error}") from None
