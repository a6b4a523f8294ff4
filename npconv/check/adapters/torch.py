"""Every operator in PyTorch: the same names, arguments and options on tensors, gradients left to autograd.

Written with `torch.nn.functional`, the way one would in PyTorch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch.nn import functional

from npconv.check.adapters import Unsupported
from npconv.check.adapters.padding import Pair, pair, sides
from npconv.check.adapters.torch_source import lines_of
from npconv.testing.gradients import Array, Tree, map_arrays

NAME = "PyTorch"

Tensor: TypeAlias = Any
Maps: TypeAlias = tuple[Any, Any]
"""(high, low), either None where it has no channels."""


# --- convolutions ------------------------------------------------------------------------------------------------


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    rows, columns = sides(padding, x.shape[2:], w.shape[2:], stride, dilation)
    if rows[0] == rows[1] and columns[0] == columns[1]:
        return functional.conv2d(x, w, b, stride, (rows[0], columns[0]), dilation, groups)
    return functional.conv2d(functional.pad(x, (*columns, *rows)), w, b, stride, 0, dilation, groups)


def depthwise_conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, **options: Any) -> Tensor:
    return conv2d(x, w, b, groups=x.shape[1], **options)


def pointwise_conv2d(x: Tensor, w: Tensor, b: Tensor | None = None, *, stride: Any = 1, groups: int = 1) -> Tensor:
    return functional.conv2d(x, w, b, stride, groups=groups)


def separable_conv2d(
    x: Tensor, w_depthwise: Tensor, w_pointwise: Tensor, b: Tensor | None = None, **options: Any
) -> Tensor:
    return functional.conv2d(depthwise_conv2d(x, w_depthwise, **options), w_pointwise, b)


def ghost_conv2d(
    x: Tensor, w_primary: Tensor, w_cheap: Tensor | None = None, *, out_channels: int | None = None, **options: Any
) -> Tensor:
    primary = conv2d(x, w_primary, **options)
    if w_cheap is None:
        return primary
    ghosts = depthwise_conv2d(primary, w_cheap, padding="same")
    return torch.cat([primary, ghosts], dim=1)[:, :out_channels]


def octave_conv2d(
    x: Maps,
    w: tuple[Tensor | None, ...],
    b: Maps | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> Maps:
    """Equation 4 of the OctConv paper; with stride 2 in the mode "pool", the published code."""
    high, low = x
    hh, hl, lh, ll = w
    if stride_mode == "pool" and pair(stride) == (2, 2):
        # high is halved first, so that the low input already has the size of the high output: nothing is up-sampled.
        to_high = None if hh is None else conv2d(_pool(high, 2), hh, **options)
        low_to_high = None if lh is None else conv2d(low, lh, **options)
        high_to_low = None if hl is None else conv2d(_pool(high, 4), hl, **options)
        to_low = None if ll is None else conv2d(_pool(low, 2), ll, **options)
    else:
        to_high = None if hh is None else conv2d(high, hh, stride=stride, **options)
        low_to_high = None
        if lh is not None:
            low_to_high = functional.interpolate(conv2d(low, lh, stride=stride, **options), scale_factor=2)
            if to_high is not None:
                low_to_high = low_to_high[:, :, : to_high.shape[2], : to_high.shape[3]]
        high_to_low = None if hl is None else conv2d(_pool(high, 2), hl, stride=stride, **options)
        to_low = None if ll is None else conv2d(low, ll, stride=stride, **options)
    high_bias, low_bias = (None, None) if b is None else b
    return _sum(to_high, low_to_high, high_bias), _sum(high_to_low, to_low, low_bias)


def octave_depthwise_conv2d(
    x: Maps,
    w: tuple[Tensor | None, ...],
    b: Maps | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> Maps:
    """Each frequency by itself: no path from one to the other."""
    high, low = x
    if stride_mode == "pool" and pair(stride) == (2, 2):
        high, low = (None if a is None else _pool(a, 2) for a in x)
        stride = 1
    high_bias, low_bias = (None, None) if b is None else b
    return (
        None if high is None else depthwise_conv2d(high, w[0], high_bias, stride=stride, **options),
        None if low is None else depthwise_conv2d(low, w[3], low_bias, stride=stride, **options),
    )


def _pool(x: Tensor, factor: int) -> Tensor:
    return functional.avg_pool2d(x, factor, ceil_mode=True, count_include_pad=False)


def _sum(first: Tensor | None, second: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """Whatever there is of two paths that meet, and of the bias of their output."""
    parts = [part for part in (first, second) if part is not None]
    if not parts:
        return None
    total = sum(parts[1:], parts[0])
    return total if bias is None else total + bias[:, None, None]


# --- moves, pools, and the rest of a network ---------------------------------------------------------------------


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    return functional.channel_shuffle(x, groups)


def channel_unshuffle(x: Tensor, groups: int) -> Tensor:
    return x.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2)


def avg_pool2d(
    x: Tensor,
    kernel: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Tensor:
    kernel, stride = pair(kernel), pair(kernel if stride is None else stride)
    rows, columns = sides(padding, x.shape[2:], kernel, stride)
    if _pools_by_itself(x, kernel, rows, columns):
        return functional.avg_pool2d(x, kernel, stride, (rows[0], columns[0]), ceil_mode, count_include_pad)

    def total(plane: Tensor, fill: float) -> Tensor:
        padded = _filled_up(functional.pad(plane, (*columns, *rows), value=fill), kernel, 0.0)
        sums = functional.avg_pool2d(padded, kernel, stride, ceil_mode=ceil_mode, divisor_override=1)
        return _started(sums, x, stride, rows, columns)

    return total(x, 0.0) / total(torch.ones_like(x), float(count_include_pad))


def max_pool2d(x: Tensor, kernel: Any, *, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> Tensor:
    kernel, stride = pair(kernel), pair(kernel if stride is None else stride)
    rows, columns = sides(padding, x.shape[2:], kernel, stride)
    if _pools_by_itself(x, kernel, rows, columns):
        return functional.max_pool2d(x, kernel, stride, (rows[0], columns[0]), ceil_mode=ceil_mode)
    nothing = float("-inf")
    padded = _filled_up(functional.pad(x, (*columns, *rows), value=nothing), kernel, nothing)
    return _started(functional.max_pool2d(padded, kernel, stride, ceil_mode=ceil_mode), x, stride, rows, columns)


def _pools_by_itself(x: Tensor, kernel: Pair, rows: Pair, columns: Pair) -> bool:
    """PyTorch's pools pad both sides alike, by at most half the kernel, and refuse a kernel that the input cannot hold."""
    return all(
        low == high <= k // 2 and low + size + high >= k
        for size, k, (low, high) in zip(x.shape[2:], kernel, (rows, columns), strict=True)
    )


def _filled_up(padded: Tensor, kernel: Pair, value: float) -> Tensor:
    """`padded`, at least as large as the kernel: ceil mode has one window even where the kernel overhangs it."""
    rows, columns = (max(k - size, 0) for size, k in zip(padded.shape[2:], kernel, strict=True))
    return functional.pad(padded, (0, columns, 0, rows), value=value)


def _started(y: Tensor, x: Tensor, stride: Pair, rows: Pair, columns: Pair) -> Tensor:
    """`y` without the windows that start in the trailing padding: PyTorch makes none where the padding is its own."""
    height, width = (
        -(-(size + pads[0]) // s) for size, pads, s in zip(x.shape[2:], (rows, columns), stride, strict=True)
    )
    return y[:, :, :height, :width]


def global_avg_pool2d(x: Tensor) -> Tensor:
    return functional.adaptive_avg_pool2d(x, 1)


def upsample_nearest2d(x: Tensor, scale: Any = 2, *, size: Any = None) -> Tensor:
    y = functional.interpolate(x, scale_factor=pair(scale), mode="nearest")
    height, width = y.shape[2:] if size is None else pair(size)
    return y[:, :, :height, :width]


def batch_norm2d(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> Tensor:
    if mean is None or var is None:
        # What F.batch_norm calls once it has refused channels of a single value, whose variance is 0 but well defined.
        return torch.batch_norm(x, gamma, beta, None, None, True, 0.0, eps, False)
    if not mean.requires_grad:
        return functional.batch_norm(x, mean, var, gamma, beta, eps=eps)
    # F.batch_norm gives fixed statistics no gradient, so the formula stands here.
    mean, var, gamma, beta = (a[:, None, None] for a in (mean, var, gamma, beta))
    return (x - mean) / torch.sqrt(var + eps) * gamma + beta


def relu(x: Tensor) -> Tensor:
    return functional.relu(x)


def relu6(x: Tensor) -> Tensor:
    return functional.relu6(x)


def hard_sigmoid(x: Tensor) -> Tensor:
    return functional.hardsigmoid(x)


def hard_swish(x: Tensor) -> Tensor:
    return functional.hardswish(x)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    return functional.linear(x, w, b)


def softmax_cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    return functional.cross_entropy(logits, labels.long(), label_smoothing=label_smoothing)


# --- the adapter -------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        conv2d,
        depthwise_conv2d,
        pointwise_conv2d,
        separable_conv2d,
        octave_conv2d,
        octave_depthwise_conv2d,
        ghost_conv2d,
        channel_shuffle,
        channel_unshuffle,
        avg_pool2d,
        max_pool2d,
        global_avg_pool2d,
        upsample_nearest2d,
        batch_norm2d,
        relu,
        relu6,
        hard_sigmoid,
        hard_swish,
        linear,
        softmax_cross_entropy,
    )
}
OPERATORS = tuple(FUNCTIONS)
DIRECTIONS = dict.fromkeys(OPERATORS, ("forward", "backward"))


_device = torch.device("cpu")


def version() -> str:
    return str(torch.__version__)


def use_device(name: str) -> None:
    """Compute on the device of that name, "cuda:0" for example.

    Raises ValueError where PyTorch has none here.
    """
    global _device
    try:
        torch.ones(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        words = str(error).partition("\n")[0]
        raise ValueError(f"--device must be one that PyTorch has here, got {name}: {words}") from None
    _device = torch.device(name)


def arithmetic_settings() -> dict[str, str]:
    if _device.type == "cuda":
        return {
            "device": f"{_device}, {torch.cuda.get_device_name(_device)}",
            "TF32 in cuDNN": str(torch.backends.cudnn.allow_tf32),
            "float32 matmul precision": torch.get_float32_matmul_precision(),
        }
    return {
        **({} if _device.type == "cpu" else {"device": str(_device)}),
        "threads": str(torch.get_num_threads()),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "oneDNN": "on" if torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled else "off",
        "float32 matmul precision": torch.get_float32_matmul_precision(),
    }


@contextlib.contextmanager
def on_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def forward(op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    return evaluate(FUNCTIONS[op], args, options)


def backward(op: str, dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]) -> tuple[Tree, ...]:
    return differentiate(FUNCTIONS[op], dy, args, options)


def evaluate(function: Callable[..., Any], args: tuple[Tree, ...], options: dict[str, Any]) -> Tree:
    """``function(*args, **options)`` of tensors, from arrays to arrays."""
    with torch.no_grad(), _words():
        y = function(*map_arrays(_tensor, args), **_tensor_options(options))
    return each(_array, y)


def differentiate(
    function: Callable[..., Any], dy: Tree, args: tuple[Tree, ...], options: dict[str, Any]
) -> tuple[Tree, ...]:
    """The gradients of ``function(*args, **options)`` for dy, one per argument."""
    leaves: list[Tensor] = []

    def leaf(array: Array) -> Tensor:
        leaves.append(_tensor(array).requires_grad_())
        return leaves[-1]

    with _words():
        y = function(*map_arrays(leaf, args), **_tensor_options(options))
        outputs = [output for output in y if output is not None] if isinstance(y, tuple) else [y]
        dys = [_tensor(array) for array in (dy if isinstance(dy, tuple) else (dy,)) if array is not None]
        gradients = iter(torch.autograd.grad(outputs, leaves, dys))
    result: tuple[Tree, ...] = map_arrays(lambda _: _array(next(gradients)), args)
    return result


def source(op: str, options: dict[str, Any], direction: str, **form: bool) -> str:
    """Of the `form` that is said: ``compiled``, ``channels_last``."""
    return lines_of(FUNCTIONS[op], options, direction, device=str(_device), **form)


def each(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with `function` applied to each of its tensors."""
    if isinstance(tree, tuple):
        return tuple(each(function, part) for part in tree)
    return None if tree is None else function(tree)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(array.copy()).to(_device)


def _array(tensor: Tensor) -> Array:
    found: Array = tensor.cpu().numpy()
    return found


def _tensor_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: map_arrays(_tensor, value) for name, value in options.items()}


@contextlib.contextmanager
def _words() -> Iterator[None]:
    """PyTorch's own words for what it has no kernel for."""
    try:
        yield
    except RuntimeError as error:
        if "not implemented for" in str(error):
            raise Unsupported(str(error)) from error
        raise
