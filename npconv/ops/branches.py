"""How branches come together, and part: what `npconv.nn` does between operators. None of it is an operator to users.

An activation, None, "relu" or "relu6", is applied to what is made in the same sweep; its gradient is seen in its output.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from npconv.backends import primitives
from npconv.geometry import Array, check_array, check_shape
from npconv.ops.epilogue import Epilogue
from npconv.ops.operator import operator


@operator("x", "other", either_order=True)
def add(x: Array, other: Array, *, activation: Epilogue | None = None) -> Array:
    """``activation(x + other)``, two maps of one shape.

    >>> import numpy as np
    >>> add(np.array([1.0, 2.0]), np.array([3.0, -4.0]), activation="relu")
    array([4., 0.])
    """
    check_shape("other", other, x.shape, "that of x")
    return primitives.add(x, other, activation)


@operator("parts", trees=("parts",))
def concatenate(parts: tuple[Array, ...], *, activation: Epilogue | None = None) -> Array:
    """``activation(concatenate(parts))``, along axis 1; the parts have one size on all others.

    >>> import numpy as np
    >>> concatenate((np.array([[1.0]]), np.array([[-2.0, 3.0]])), activation="relu")
    array([[1., 0., 3.]])
    """
    return primitives.concatenate(parts, activation)


@operator("dy", "y")
def concatenate_backward(
    dy: Array, channels: Sequence[int], y: Array | None = None, *, activation: Epilogue | None = None
) -> tuple[Array, ...]:
    """The gradients of parts of so many channels; y, the output, tells where an activation was flat, and is needed with one.

    >>> import numpy as np
    >>> concatenate_backward(np.array([[1.0, 2.0, 3.0]]), [1, 2])
    (array([[1.]]), array([[2., 3.]]))
    """
    seen = dy if y is None else y
    check_shape("dy", dy, seen.shape, "that of the output")
    ends = [0, *itertools.accumulate(channels)]
    return tuple(
        primitives.concatenate_input_grad(dy, seen, *ends_of, activation) for ends_of in itertools.pairwise(ends)
    )


@operator("x", "gate", "more")
def scale_channels(x: Array, gate: Array, more: Array | None = None) -> Array:
    """``x * gate``, and ``+ more``, for x and more (N, C, H, W) and gate (N, C, 1, 1): also the gradient of x for dy in its place.

    >>> import numpy as np
    >>> scale_channels(np.ones((1, 2, 1, 2)), np.array([2.0, 3.0]).reshape(1, 2, 1, 1)).ravel()
    array([2., 2., 3., 3.])
    """
    batch, channels, _, _ = check_array("x", x, "NCHW")
    check_shape("gate", gate, (batch, channels, 1, 1), "one number per plane of x")
    if more is not None:
        check_shape("more", more, x.shape, "that of x")
    return primitives.scale(x, gate, more)


@operator("dy", "x")
def scale_channels_gate_grad(dy: Array, x: Array) -> Array:
    """The gradient (N, C, 1, 1) of a gate that has scaled x.

    >>> import numpy as np
    >>> scale_channels_gate_grad(np.ones((1, 1, 1, 2)), np.array([2.0, 3.0]).reshape(1, 1, 1, 2)).ravel()
    array([5.])
    """
    check_shape("dy", dy, x.shape, "that of x")
    return primitives.scale_gate_grad(dy, x)
