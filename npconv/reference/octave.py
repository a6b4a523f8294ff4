"""Octave convolution: y[target] = b[target] + sum over the paths to it of up(conv2d(pool(x[source]), w[path])).

pool averages windows, up repeats pixels; a path that needs neither has both with the factor 1. The geometry says which paths
there are: high to high, high to low, low to high, low to low, as far as there is a kernel for it.
"""

from __future__ import annotations

from npconv.geometry import Array, OctaveBias, OctaveGeometry, OctaveMap, OctaveWeight
from npconv.reference.pooling import avg_pool2d, avg_pool2d_input_grad
from npconv.reference.standard import conv2d, conv2d_input_grad, conv2d_weight_grad
from npconv.reference.upsampling import upsample_nearest2d, upsample_nearest2d_input_grad


def octave_conv2d(x: OctaveMap, w: OctaveWeight, b: OctaveBias | None, geometry: OctaveGeometry) -> OctaveMap:
    """What the paths bring to a frequency adds up, and its bias is added once."""
    y = (
        OctaveMap(None, None)
        if b is None
        else OctaveMap(*(None if bias is None else bias[:, None, None] for bias in b))
    )
    for path, pooling, convolution, upsampling in geometry.steps:
        pooled = avg_pool2d(_of(x, path.source), False, pooling)
        part = conv2d(pooled, _of(w, path.name), None, None, convolution)
        y = _plus(y, path.target, upsample_nearest2d(part, upsampling))
    return y


def octave_conv2d_grad(
    dy: OctaveMap, x: OctaveMap, w: OctaveWeight, geometry: OctaveGeometry
) -> tuple[OctaveMap, OctaveWeight]:
    """(dx, dw). The chain rule, each path backwards: up's adjoint sums blocks, pool's spreads shares, and dx adds up where paths began."""
    dx, dw = OctaveMap(None, None), OctaveWeight()
    for path, pooling, convolution, upsampling in geometry.steps:
        dpart = upsample_nearest2d_input_grad(_of(dy, path.target), upsampling)
        pooled = avg_pool2d(_of(x, path.source), False, pooling)
        dw = dw._replace(**{path.name: conv2d_weight_grad(dpart, pooled, convolution)})
        dpooled = conv2d_input_grad(dpart, _of(w, path.name), convolution)
        dx = _plus(dx, path.source, avg_pool2d_input_grad(dpooled, False, pooling))
    return dx, dw


def _of(arrays: OctaveMap | OctaveWeight, which: int | str) -> Array:
    """The array of that place or name, which is there: the geometry has seen it."""
    array = getattr(arrays, which) if isinstance(which, str) else arrays[which]
    assert array is not None
    return array


def _plus(total: OctaveMap, frequency: int, part: Array) -> OctaveMap:
    """`total` with `part` added to one frequency."""
    maps = list(total)
    before = maps[frequency]
    maps[frequency] = part if before is None else before + part
    return OctaveMap(*maps)
