"""A network of npconv in PyTorch: the modules that one would write by hand, layer by layer, with the same parameters.

Imports no PyTorch itself: it is given the module by who has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npconv import nn
from npconv.geometry import explicit_padding, octave_paths, pair

Module = Any


def twin(torch: Any, layer: nn.Layer) -> Module:
    """The PyTorch module that computes what `layer` does, with its parameters in the order of `layer.named_params()`.

    An octave map is a pair (high, low) of tensors, or one tensor where there is no low frequency. Raises
    NotImplementedError for a layer that none of the networks to be timed has.
    """
    return _Translation(torch).module(layer)


class _Translation:
    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.functional = torch.nn.functional

        class Composed(torch.nn.Module):  # type: ignore[misc]
            """Modules, and a function that says how they go together."""

            def __init__(self, parts: list[Module], function: Callable[[Any, Any], Any]) -> None:
                super().__init__()
                self.parts = torch.nn.ModuleList(parts)
                self.function = function

            def forward(self, x: Any) -> Any:
                return self.function(self.parts, x)

        self.composed = Composed

    def module(self, layer: nn.Layer) -> Module:
        """The module of one layer, those in it first."""
        torch_nn = self.torch.nn
        match layer:
            case nn.Sequential():
                return torch_nn.Sequential(*map(self.module, layer.children().values()))
            case nn.Conv2d():
                return self._convolution(layer, layer.kernel, layer.padding, layer.dilation, layer.groups)
            case nn.DepthwiseConv2d():
                return self._convolution(layer, layer.kernel, layer.padding, layer.dilation, layer.channels)
            case nn.PointwiseConv2d():
                return self._convolution(layer, 1, 0, 1, layer.groups)
            case nn.OctaveConv2d():
                return self._octave(layer, lambda outs: layer.groups)
            case nn.OctaveDepthwiseConv2d():
                return self._octave(layer, lambda outs: outs // layer.multiplier)
            case nn.BatchNorm2d():
                return self._with(torch_nn.BatchNorm2d(layer.channels, layer.eps, layer.momentum), layer)
            case nn.Linear():
                return self._with(torch_nn.Linear(layer.in_features, layer.out_features, layer.bias), layer)
            case nn.ReLU() | nn.ReLU6() | nn.Identity() | nn.Flatten():
                return getattr(torch_nn, type(layer).__name__)()
            case nn.HardSigmoid():
                return torch_nn.Hardsigmoid()
            case nn.HardSwish():
                return torch_nn.Hardswish()
            case nn.GlobalAvgPool2d():
                return torch_nn.AdaptiveAvgPool2d(1)
            case nn.MaxPool2d():
                return torch_nn.MaxPool2d(layer.kernel, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
            case nn.AvgPool2d():
                return torch_nn.AvgPool2d(
                    layer.kernel, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad
                )
            case nn.ChannelShuffle():
                return self.composed([], lambda _, x: self._shuffle(x, layer.groups))
            case nn.Residual():
                return self.composed([self.module(layer.main), self.module(layer.shortcut)], _residual)
            case nn.Concat():
                return self.composed([self.module(part) for part in layer.children().values()], self._concatenate)
            case nn.PerFrequency():
                return self.composed([self.module(layer.high), self.module(layer.low)], _per_frequency)
            case nn.GhostModule():
                parts = [self.module(part) for part in layer.children().values()]
                return self.composed(parts, lambda parts, x: self._ghost(parts, x, layer.out_channels))
            case nn.SqueezeExcite() if type(layer) is nn.SqueezeExcite:
                return self.composed([self.module(layer.gate)], lambda parts, x: x * parts[0](x))
        raise NotImplementedError(f"{type(layer).__name__} has no module in PyTorch here")

    def _with(self, module: Module, layer: nn.Layer) -> Module:
        """`module` with the parameters of `layer`, whose shapes must be its own."""
        with self.torch.no_grad():
            for parameter, array in zip(module.parameters(), layer.params.values(), strict=True):
                if parameter.shape != array.shape:
                    raise ValueError(f"parameters must have one shape, got {tuple(parameter.shape)} and {array.shape}")
                parameter.data = self.torch.from_numpy(array.copy())
        return module

    def _convolution(self, layer: Any, kernel: Any, padding: Any, dilation: Any, groups: int) -> Module:
        outs, ins_per_group = layer.params["w"].shape[:2]
        kernels, strides = pair("kernel", kernel, minimum=1), pair("stride", layer.stride, minimum=1)
        pads = _symmetric(padding, kernels, strides, pair("dilation", dilation, minimum=1))
        made = self.torch.nn.Conv2d(
            ins_per_group * groups, outs, kernels, strides, pads, dilation, groups, bias="b" in layer.params
        )
        return self._with(made, layer)

    def _octave(self, layer: nn.OctaveConv2d | nn.OctaveDepthwiseConv2d, groups: Callable[[int], int]) -> Module:
        """Each path as a `torch.nn.Conv2d`, in the order of the parameters; `groups` of one that gives so many channels."""
        if layer.bias or layer.stride_mode != "pool":
            raise NotImplementedError("an octave convolution must be without bias and pool for its stride")
        paths = {path.name: path for path in octave_paths(layer.stride, layer.stride_mode)[0]}
        kernels = pair("kernel", layer.kernel, minimum=1)
        pads = _symmetric(layer.padding, kernels, (1, 1), (1, 1))
        parts, taken = [], []
        for name, array in layer.params.items():
            outs, ins_per_group = array.shape[:2]
            number = groups(outs)
            ins = ins_per_group * number
            part = self.torch.nn.Conv2d(ins, outs, kernels, 1, pads, layer.dilation, number, bias=False)
            part.weight.data = self.torch.from_numpy(array.copy())
            parts.append(part)
            taken.append(paths[name.removeprefix("w_")])

        def forward(parts: Any, x: Any) -> Any:
            maps: list[Any] = [None, None]
            for part, path in zip(parts, taken, strict=True):
                source = x[path.source] if isinstance(x, tuple) else x
                if path.pool > 1:
                    source = self.functional.avg_pool2d(source, path.pool, ceil_mode=True, count_include_pad=False)
                y = part(source)
                if path.repeat > 1:
                    y = self.functional.interpolate(y, scale_factor=path.repeat, mode="nearest")
                before = maps[path.target]
                if before is not None:
                    y = before + y[:, :, : before.shape[2], : before.shape[3]]
                maps[path.target] = y
            return maps[0] if maps[1] is None else tuple(maps)

        return self.composed(parts, forward)

    def _shuffle(self, x: Any, groups: int) -> Any:
        return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)

    def _concatenate(self, parts: Any, x: Any) -> Any:
        return self.torch.cat([part(x) for part in parts], dim=1)

    def _ghost(self, parts: Any, x: Any, out_channels: int) -> Any:
        primary = parts[0](x)
        if len(parts) == 1:
            return primary
        return self.torch.cat([primary, parts[1](primary)], dim=1)[:, :out_channels]


def _symmetric(padding: Any, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Any:
    """The padding as (rows, columns): PyTorch's convolution has the same on both sides."""
    if padding in ("same", "same_lower") and stride != (1, 1):
        raise NotImplementedError('PyTorch has no padding "same" with a stride')
    pads = explicit_padding(padding, kernel, kernel, stride, dilation)
    if any(before != after for before, after in pads):
        raise NotImplementedError(f"PyTorch's convolution has no padding {padding!r}")
    return pads[0][0], pads[1][0]


def _residual(parts: Any, x: Any) -> Any:
    y, carried = parts[0](x), parts[1](x)
    if not isinstance(y, tuple):
        return y + carried
    return tuple(None if a is None else a + b for a, b in zip(y, carried, strict=True))


def _per_frequency(parts: Any, x: Any) -> Any:
    if not isinstance(x, tuple):
        return parts[0](x)
    return tuple(None if a is None else part(a) for part, a in zip(parts, x, strict=True))
