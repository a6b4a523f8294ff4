"""PyTorch: `torch.nn.functional` on tensors as they come, in the memory order `torch.channels_last`, and compiled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from npconv.check.adapters.definitions import arguments, call, definitions
from npconv.check.adapters.framework import Framework, Outputs, Tensor
from npconv.check.adapters.padding import Pair, pair, sides
from npconv.testing.gradients import Array, Tree, named_arrays


def pools_by_itself(x: Tensor, kernel: Pair, rows: Pair, columns: Pair) -> bool:
    """PyTorch's pools pad both sides alike, by at most half the kernel, and refuse a kernel that the input cannot hold."""
    return all(
        low == high <= k // 2 and low + size + high >= k
        for size, k, (low, high) in zip(x.shape[2:], kernel, (rows, columns), strict=True)
    )


def filled_up(padded: Tensor, kernel: Pair, value: float) -> Tensor:
    """`padded`, at least as large as the kernel: ceil mode has one window even where the kernel overhangs it."""
    rows, columns = (max(k - size, 0) for size, k in zip(padded.shape[2:], kernel, strict=True))
    return functional.pad(padded, (0, columns, 0, rows), value=value)


def started(y: Tensor, x: Tensor, stride: Pair, rows: Pair, columns: Pair) -> Tensor:
    """`y` without the windows that start in the trailing padding: PyTorch makes none where the padding is its own."""
    height, width = (
        -(-(size + pads[0]) // s) for size, pads, s in zip(x.shape[2:], (rows, columns), stride, strict=True)
    )
    return y[:, :, :height, :width]


class Torch(Framework):
    """Gradients are left to autograd."""

    NAME = "PyTorch"
    VERSION = str(torch.__version__)
    ERRORS, REFUSALS = (RuntimeError,), ("not implemented for",)
    IMPORTS: tuple[str, ...] = ("import torch", "from torch.nn import functional")
    TENSOR, ARRAY = "torch.tensor({})", "{}.numpy()"
    BFLOAT16 = True
    device = "cpu"

    def convolution(
        self, x: Tensor, w: Tensor, b: Tensor | None, stride: Pair, padding: Any, dilation: Pair, groups: int
    ) -> Tensor:
        rows, columns = sides(padding, x.shape[2:], w.shape[2:], stride, dilation)
        if rows[0] == rows[1] and columns[0] == columns[1]:
            return functional.conv2d(x, w, b, stride, (rows[0], columns[0]), dilation, groups)
        return functional.conv2d(functional.pad(x, (*columns, *rows)), w, b, stride, 0, dilation, groups)

    def concatenate(self, maps: list[Tensor]) -> Tensor:
        return torch.cat(maps, dim=1)

    def octave_pool(self, x: Tensor, factor: int) -> Tensor:
        return functional.avg_pool2d(x, factor, ceil_mode=True, count_include_pad=False)

    def channel_shuffle(self, x: Tensor, groups: int) -> Tensor:
        return functional.channel_shuffle(x, groups)

    def channel_unshuffle(self, x: Tensor, groups: int) -> Tensor:
        return x.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2)

    def average_pool(
        self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool, count_include_pad: bool
    ) -> Tensor:
        rows, columns = sides(padding, x.shape[2:], kernel, stride)
        if pools_by_itself(x, kernel, rows, columns):
            return functional.avg_pool2d(x, kernel, stride, (rows[0], columns[0]), ceil_mode, count_include_pad)

        def total(plane: Tensor, fill: float) -> Tensor:
            padded = filled_up(functional.pad(plane, (*columns, *rows), value=fill), kernel, 0.0)
            sums = functional.avg_pool2d(padded, kernel, stride, ceil_mode=ceil_mode, divisor_override=1)
            return started(sums, x, stride, rows, columns)

        return total(x, 0.0) / total(torch.ones_like(x), float(count_include_pad))

    def max_pool(self, x: Tensor, kernel: Pair, stride: Pair, padding: Any, ceil_mode: bool) -> Tensor:
        rows, columns = sides(padding, x.shape[2:], kernel, stride)
        if pools_by_itself(x, kernel, rows, columns):
            return functional.max_pool2d(x, kernel, stride, (rows[0], columns[0]), ceil_mode=ceil_mode)
        nothing = float("-inf")
        padded = filled_up(functional.pad(x, (*columns, *rows), value=nothing), kernel, nothing)
        return started(functional.max_pool2d(padded, kernel, stride, ceil_mode=ceil_mode), x, stride, rows, columns)

    def global_avg_pool2d(self, x: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(x, 1)

    def repeat(self, x: Tensor, scale: Pair) -> Tensor:
        return functional.interpolate(x, scale_factor=scale, mode="nearest")

    def normalise(
        self, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor | None, var: Tensor | None, eps: float
    ) -> Tensor:
        if mean is None or var is None:
            # What F.batch_norm calls once it has refused channels of a single value, whose variance is 0 but well defined.
            return torch.batch_norm(x, gamma, beta, None, None, True, 0.0, eps, False)
        if not mean.requires_grad:
            return functional.batch_norm(x, mean, var, gamma, beta, eps=eps)
        # F.batch_norm gives fixed statistics no gradient, so the formula stands here.
        mean, var, gamma, beta = (a[:, None, None] for a in (mean, var, gamma, beta))
        return (x - mean) / torch.sqrt(var + eps) * gamma + beta

    def relu(self, x: Tensor) -> Tensor:
        return functional.relu(x)

    def relu6(self, x: Tensor) -> Tensor:
        return functional.relu6(x)

    def hard_sigmoid(self, x: Tensor) -> Tensor:
        return functional.hardsigmoid(x)

    def hard_swish(self, x: Tensor) -> Tensor:
        return functional.hardswish(x)

    def linear(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return functional.linear(x, w, b)

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        return functional.cross_entropy(logits, labels.long(), label_smoothing=label_smoothing)

    # --- the adapter ---------------------------------------------------------------------------------------------

    def use_device(self, name: str) -> None:
        """Compute on the device of that name, "cuda:0" for example.

        Raises ValueError where PyTorch has none here.
        """
        try:
            torch.ones(1, device=name).cpu()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            words = str(error).partition("\n")[0]
            raise ValueError(f"--device must be one that PyTorch has here, got {name}: {words}") from None
        self.device = name
        self.IMPORTS = (*type(self).IMPORTS, f"torch.set_default_device({name!r})")
        self.ARRAY = "{}.cpu().numpy()"

    def arithmetic_settings(self) -> dict[str, str]:
        kind = torch.device(self.device).type
        if kind == "cuda":
            return {
                "device": f"{self.device}, {torch.cuda.get_device_name(self.device)}",
                "TF32 in cuDNN": str(torch.backends.cudnn.allow_tf32),
                "float32 matmul precision": torch.get_float32_matmul_precision(),
            }
        return {
            **({} if kind == "cpu" else {"device": self.device}),
            "threads": str(torch.get_num_threads()),
            "vectors": torch.backends.cpu.get_cpu_capability(),
            "oneDNN": "on" if torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled else "off",
            "float32 matmul precision": torch.get_float32_matmul_precision(),
        }

    @contextlib.contextmanager
    def on_threads(self, count: int) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def tensor(self, array: Array) -> Tensor:
        if array.dtype.name == "bfloat16":  # that of ml_dtypes: PyTorch takes and gives its bits alone
            return torch.from_numpy(array.copy().view(np.int16)).view(torch.bfloat16).to(self.device)
        return torch.from_numpy(array.copy()).to(self.device)

    def array(self, tensor: Tensor) -> Array:
        if tensor.dtype == torch.bfloat16:
            import ml_dtypes

            return tensor.cpu().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return tensor.cpu().numpy()

    def source(self, op: str, args: tuple[Tree, ...], options: dict[str, Any], direction: str) -> str:
        if all(array.dtype.name != "bfloat16" for _, array in named_arrays(args)):
            return super().source(op, args, options, direction)
        lines = super().source(op, args, options, direction).replace("torch.tensor(", "tensor_of(")
        lines = lines.replace(self.ARRAY.format(""), f".float(){self.ARRAY.format('')}")
        return f"import torch\n\n{definitions(tensor_of)}\n\n{lines}"

    def gradients(self, outputs: Outputs, tensors: list[Tensor], dys: list[Tensor]) -> Iterable[Tensor]:
        leaves = [tensor.requires_grad_() for tensor in tensors]
        return torch.autograd.grad(outputs(*leaves), leaves, dys)

    def gradient_lines(self, y: str, dy: str) -> list[str]:
        return [
            "for a in tensors: a.requires_grad_()",
            f"gradients = iter(torch.autograd.grad({y}, tensors, {dy}))",
        ]

    def short(self, op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> str | None:
        padding = options.get("padding", 0)
        if padding in ("same", "same_lower"):
            return None
        rows, columns = sides(padding, (), ())
        if op in ("conv2d", "depthwise_conv2d"):
            symmetric = rows[0] == rows[1] and columns[0] == columns[1]
            x = "x" if symmetric else f"functional.pad(x, {(*columns, *rows)})"
            numbers = {"padding": (rows[0], columns[0]) if symmetric else 0}
            groups = ("groups=x.shape[1]",) if op == "depthwise_conv2d" else ()
            defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
            return call("functional.conv2d", (x, "w", "b", *groups), options | numbers, defaults)
        if op in ("avg_pool2d", "max_pool2d") and pools_by_itself(args[0], pair(options["kernel"]), rows, columns):
            numbers = {"kernel_size": pair(options["kernel"]), "padding": (rows[0], columns[0])}
            keywords = {name: value for name, value in options.items() if name != "kernel"} | numbers
            if op == "avg_pool2d":  # PyTorch's default is True
                keywords["count_include_pad"] = options.get("count_include_pad", False)
            return call(f"functional.{op}", ("x",), keywords, {"stride": None, "padding": (0, 0), "ceil_mode": False})
        return None


def tensor_of(a: Array) -> Tensor:
    """One of bfloat16 from an array of ml_dtypes' dtype, of any other from NumPy's."""
    return torch.tensor(a.astype("float32")).bfloat16() if a.dtype.name == "bfloat16" else torch.tensor(a)


def ordered(a: Tensor) -> Tensor:
    return a.contiguous(memory_format=torch.channels_last) if a.ndim == 4 else a


class ChannelsLast(Torch):
    """On maps and kernels in that order, for which PyTorch has kernels of its own. Results come in the order of these."""

    NAME = "PyTorch (channels_last)"
    IMPORTS = (*Torch.IMPORTS, "", definitions(ordered), "")
    ARGUMENT = "ordered(torch.tensor({}))"

    def arithmetic_settings(self) -> dict[str, str]:
        return super().arithmetic_settings() | {"memory": "torch.channels_last"}

    def argument(self, array: Array) -> Tensor:
        return ordered(self.tensor(array))


class Compiled(Torch):
    """Through `torch.compile`, with its default backend, Inductor, which compiles C++.

    Every call is compiled for its own sizes and options, which takes seconds: ask for tens of cases, not for hundreds.
    """

    NAME = "PyTorch (torch.compile)"

    def arithmetic_settings(self) -> dict[str, str]:
        return super().arithmetic_settings() | {"torch.compile": "inductor, fullgraph=True"}

    def function(self, op: str) -> Callable[..., Any]:
        """Compiled anew: of a function that it has met in some ten forms, torch.compile compiles no more of them."""
        torch.compiler.reset()
        return torch.compile(super().function(op), fullgraph=True)

    def called(self, op: str, options: dict[str, Any]) -> str:
        return call(f"torch.compile({op}, fullgraph=True)", arguments(op), options)

    def short(self, op: str, args: tuple[Tree, ...], options: dict[str, Any]) -> str | None:
        return None


TORCH, CHANNELS_LAST, COMPILED = Torch(), ChannelsLast(), Compiled()
