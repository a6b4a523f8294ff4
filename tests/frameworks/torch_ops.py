"""Every operator of npconv in PyTorch: the same names, arguments and options on tensors, gradients left to autograd.

Written with `torch.nn.functional`, the way one would in PyTorch, and independent of npconv: sizes and padding are worked
out here again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from required import framework

torch = framework("torch")
functional = torch.nn.functional

Tensor = Any
Pair = tuple[int, int]
Sides = tuple[Pair, Pair]


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
    stride, dilation = pair(stride), pair(dilation)
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


class OctaveMap(NamedTuple):
    high: Tensor | None
    low: Tensor | None


def octave_conv2d(
    x: tuple[Tensor | None, Tensor | None],
    w: tuple[Tensor | None, ...],
    b: tuple[Tensor | None, Tensor | None] | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> OctaveMap:
    """Equation 4 of the OctConv paper; with stride 2 in the mode "pool", the published code."""
    high, low = x
    hh, hl, lh, ll = w
    if stride_mode == "pool" and pair(stride) == (2, 2):
        # high is halved first, so that the low input already has the size of the high output: nothing is up-sampled.
        paths = (
            None if hh is None else conv2d(_pool(high, 2), hh, **options),
            None if lh is None else conv2d(low, lh, **options),
            None if hl is None else conv2d(_pool(high, 4), hl, **options),
            None if ll is None else conv2d(_pool(low, 2), ll, **options),
        )
    else:
        high_to_high = None if hh is None else conv2d(high, hh, stride=stride, **options)
        low_to_high = None
        if lh is not None:
            low_to_high = functional.interpolate(conv2d(low, lh, stride=stride, **options), scale_factor=2)
            if high_to_high is not None:
                low_to_high = low_to_high[:, :, : high_to_high.shape[2], : high_to_high.shape[3]]
        paths = (
            high_to_high,
            low_to_high,
            None if hl is None else conv2d(_pool(high, 2), hl, stride=stride, **options),
            None if ll is None else conv2d(low, ll, stride=stride, **options),
        )
    high_bias, low_bias = (None, None) if b is None else b
    return OctaveMap(_sum(*paths[:2], high_bias), _sum(*paths[2:], low_bias))


def octave_depthwise_conv2d(
    x: tuple[Tensor | None, Tensor | None],
    w: tuple[Tensor | None, ...],
    b: tuple[Tensor | None, Tensor | None] | None = None,
    *,
    stride: Any = 1,
    stride_mode: str = "pool",
    **options: Any,
) -> OctaveMap:
    """Each frequency by itself: no path from one to the other."""
    if stride_mode == "pool" and pair(stride) == (2, 2):
        x, stride = tuple(None if a is None else _pool(a, 2) for a in x), 1
    biases = (None, None) if b is None else b
    return OctaveMap(
        *(
            None if a is None else depthwise_conv2d(a, kernel, bias, stride=stride, **options)
            for a, kernel, bias in zip(x, (w[0], w[3]), biases, strict=True)
        )
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
    rows, columns = sides(padding, x.shape[2:], kernel, stride, (1, 1))
    if _pools_by_itself(x, kernel, rows, columns):
        return functional.avg_pool2d(x, kernel, stride, (rows[0], columns[0]), ceil_mode, count_include_pad)

    def total(plane: Tensor, fill: float) -> Tensor:
        padded = _filled_up(functional.pad(plane, (*columns, *rows), value=fill), kernel, 0.0)
        sums = functional.avg_pool2d(padded, kernel, stride, ceil_mode=ceil_mode, divisor_override=1)
        return _started(sums, x, stride, rows, columns)

    return total(x, 0.0) / total(torch.ones_like(x), float(count_include_pad))


def max_pool2d(x: Tensor, kernel: Any, *, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> Tensor:
    kernel, stride = pair(kernel), pair(kernel if stride is None else stride)
    rows, columns = sides(padding, x.shape[2:], kernel, stride, (1, 1))
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
    # F.batch_norm gives fixed statistics no gradient, so the formula stands here; a test compares the two.
    mean, var, gamma, beta = (a[:, None, None] for a in (mean, var, gamma, beta))
    return (x - mean) / torch.sqrt(var + eps) * gamma + beta


def relu(x: Tensor) -> Tensor:
    return functional.relu(x)


def relu6(x: Tensor) -> Tensor:
    return functional.relu6(x)


def hard_sigmoid(x: Tensor) -> Tensor:
    # Not F.hardsigmoid: the 1/6 of its gradient has single precision, in float64 too. A test pins that down.
    return functional.relu6(x + 3) / 6


def hard_swish(x: Tensor) -> Tensor:
    return functional.hardswish(x)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    return functional.linear(x, w, b)


def softmax_cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    return functional.cross_entropy(logits, labels.long(), label_smoothing=label_smoothing)


# --- arguments ---------------------------------------------------------------------------------------------------


def pair(value: Any) -> Pair:
    """(rows, columns); one number counts for both."""
    rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
    return int(rows), int(columns)


def sides(padding: Any, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    """Any form of padding as ((top, bottom), (left, right))."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding in ("same", "same_lower"):
        rows, columns = (_same(*axis) for axis in zip(size, kernel, stride, dilation, strict=True))
        return (rows, columns) if padding == "same" else (rows[::-1], columns[::-1])
    if isinstance(padding, (tuple, list)) and isinstance(padding[0], (tuple, list)):
        rows, columns = padding
        return pair(rows), pair(columns)
    rows, columns = pair(padding)
    return (rows, rows), (columns, columns)


def _same(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    """TensorFlow's documented rule: what the last of ceil(size / stride) windows lacks, the odd pixel after the image.

    The last window starts at the largest multiple of the stride inside the image, and must end at its last tap.
    """
    last_start = (size - 1) // stride * stride
    lacking = max(last_start + (kernel - 1) * dilation - (size - 1), 0)
    return lacking // 2, (lacking + 1) // 2
