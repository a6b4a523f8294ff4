"""The values of a problem's features: what `building.build` makes one of the same shapes and options of."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from npconv.check.building import Values, both, octave_ends, out_size, window
from npconv.geometry import explicit_padding
from npconv.testing import Problem


def measure(problem: Problem) -> Values:
    """The values of a problem, such that `build` makes one of the same shapes and options of them."""
    values = _MEASURE[problem.op](problem)
    return values | derived(problem.op, values)


def derived(op: str, values: Values) -> Values:
    """The features that follow from the others, all of which are given: what the loops of most kernels run over."""
    found: Values = {}
    if "kernel" in values and not op.startswith("octave"):
        kernel, stride, dilation, padding = window(op, values)
        size = values["height"], values["width"]
        _, sides = explicit_padding(padding, size, kernel, stride, dilation)
        found = {"padded width": size[1] + sum(sides), "out width": out_size(op, values)[1]}
    elif "scale" in values:
        factor, crop = both(values["scale"])[1], values["crop"]
        found = {"out width": values["width"] * factor - (crop[1] if crop else 0)}
    elif "axes" in values:
        found = {
            "size": prod(values[name] for name in ("batch", "channels", "height", "width") if name in values)
            * (2 if values["axes"] == 5 else 1)
        }
    elif "height" in values and not op.startswith("octave"):
        found = {"pixels": values["height"] * values["width"]}
    return found


def _plain(option: Any) -> Any:
    """An option as the table has it: one number where both axes have the same."""
    if isinstance(option, (tuple, list)):
        if isinstance(option[0], (tuple, list)):
            return tuple(map(tuple, option))
        return option[0] if option[0] == option[1] else tuple(option)
    return option


def _measured(problem: Problem, *options: str, **defaults: Any) -> Values:
    """Batch, height and width, and the values of these options."""
    x = problem.args[0]
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | defaults
    found = {name: _plain(problem.options.get(name, defaults.get(name))) for name in options}
    return {"batch": x.shape[0], "height": x.shape[2], "width": x.shape[3]} | found


def _of_conv2d(p: Problem) -> Values:
    w = p.args[1]
    names = ("stride", "groups") if p.op == "pointwise_conv2d" else ("stride", "padding", "dilation", "groups")
    v = _measured(p, *names)
    v |= {"channels": w.shape[1], "filters": len(w) // v["groups"], "memory of b": _absent(p.args[2])}
    return v if p.op == "pointwise_conv2d" else v | {"kernel": w.shape[2:]}


def _of_depthwise(p: Problem) -> Values:
    x, w, *rest = p.args
    v = _measured(p, "stride", "padding", "dilation") | {"kernel": w.shape[2:], "channels": x.shape[1]}
    v |= {"multiplier": len(w) // x.shape[1], "memory of b": _absent(rest[-1])}
    return v | {"filters": len(rest[0])} if p.op == "separable_conv2d" else v


def _absent(b: Any) -> str:
    return "absent" if b is None else "C order"


def _of_ghost(p: Problem) -> Values:
    _, primary, cheap = p.args
    v = _measured(p, "stride", "padding", "dilation", "groups")
    ratio = 1 if cheap is None else 1 + len(cheap) // len(primary)
    kept = p.options.get("out_channels")
    return v | {
        "kernel": primary.shape[2:],
        "channels": primary.shape[1],
        "filters": len(primary) // v["groups"],
        "ratio": ratio,
        "cheap": (1, 1) if cheap is None else cheap.shape[2:],
        "cut": None if kept is None else len(primary) * ratio - kept,
    }


def _of_octave(p: Problem) -> Values:
    x, w, b = p.args
    there = next(a for a in x if a is not None)
    groups = p.options.get("groups", 1)
    kernel = next(a for a in w if a is not None).shape[2:]
    size = x[0].shape[2:] if x[0] is not None else tuple(2 * length for length in x[1].shape[2:])
    padding = p.options.get("padding", 0)
    v: Values = {
        "batch": len(there),
        "height": size[0],
        "width": size[1],
        "kernel": kernel,
        "stride": (_plain(p.options.get("stride", 1)), p.options.get("stride_mode", "pool")),
        "dilation": _plain(p.options.get("dilation", 1)),
        "padding": padding if isinstance(padding, str) else "half" if isinstance(padding, int) else "split",
        "in_channels": tuple(0 if a is None else a.shape[1] // groups for a in x),
        "memory of b": _absent(b),
    }
    if v["stride"][0] == 1:
        v["stride"] = (1, "pool")
    if p.op == "octave_depthwise_conv2d":
        path, source = next((a, x[n]) for n, a in ((0, w.hh), (1, w.ll)) if a is not None)
        return v | {"multiplier": len(path) // source.shape[1]}
    outs = tuple(next((len(a) // groups for a in pair if a is not None), 0) for pair in ((w[0], w[2]), (w[1], w[3])))
    v |= {"groups": groups, "out_channels": outs}
    missing = [path for path in octave_ends(v) if getattr(w, path) is None]
    return v | {"missing": missing[0] if missing else None}


def _of_map(p: Problem) -> Values:
    return _measured(p) | {"channels": p.args[0].shape[1]}


def _of_shuffle(p: Problem) -> Values:
    v = _measured(p, "groups")
    return v | {"channels": p.args[0].shape[1] // v["groups"]}


def _of_pool(p: Problem) -> Values:
    v = _of_map(p) | _measured(p, "stride", "padding", stride=None) | {"ceil_mode": p.options.get("ceil_mode", False)}
    kernel = p.options["kernel"]
    v["kernel"] = both(kernel)
    return v | ({"count_include_pad": p.options.get("count_include_pad", False)} if p.op == "avg_pool2d" else {})


def _of_upsample(p: Problem) -> Values:
    v, scale, size = _of_map(p), _plain(p.options.get("scale", 2)), p.options.get("size")
    if size is None:
        return v | {"scale": scale, "crop": None}
    whole = zip((v["height"], v["width"]), both(scale), both(size), strict=True)
    return v | {"scale": scale, "crop": tuple(length * factor - kept for length, factor, kept in whole)}


def _of_batch_norm(p: Problem) -> Values:
    return _of_map(p) | {"statistics": p.args[3] is not None, "eps": p.options.get("eps", 1e-5)}


def _of_elementwise(p: Problem) -> Values:
    """The last axes are those of a map."""
    shape = p.args[0].shape
    return {"axes": len(shape)} | dict(zip(("width", "height", "channels", "batch"), shape[::-1], strict=False))


def _of_linear(p: Problem) -> Values:
    x, w, b = p.args
    return {"batch": len(x), "filters": len(w), "features": w.shape[1], "memory of b": _absent(b)}


def _of_cross_entropy(p: Problem) -> Values:
    batch, classes = p.args[0].shape
    labels, smoothing = p.options["labels"], p.options.get("label_smoothing", 0.0)
    return {"batch": batch, "classes": classes, "label_smoothing": smoothing, "labels": str(labels.dtype)}


_MEASURE: dict[str, Callable[[Problem], Values]] = {
    "conv2d": _of_conv2d,
    "depthwise_conv2d": _of_depthwise,
    "pointwise_conv2d": _of_conv2d,
    "separable_conv2d": _of_depthwise,
    "octave_conv2d": _of_octave,
    "octave_depthwise_conv2d": _of_octave,
    "ghost_conv2d": _of_ghost,
    "channel_shuffle": _of_shuffle,
    "channel_unshuffle": _of_shuffle,
    "avg_pool2d": _of_pool,
    "max_pool2d": _of_pool,
    "global_avg_pool2d": _of_map,
    "upsample_nearest2d": _of_upsample,
    "batch_norm2d": _of_batch_norm,
    "relu": _of_elementwise,
    "relu6": _of_elementwise,
    "hard_sigmoid": _of_elementwise,
    "hard_swish": _of_elementwise,
    "linear": _of_linear,
    "softmax_cross_entropy": _of_cross_entropy,
}
