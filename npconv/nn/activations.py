"""Activation layers, on arrays of any shape."""

from __future__ import annotations

from npconv.nn.layer import OperatorLayer
from npconv.ops import (
    hard_sigmoid,
    hard_sigmoid_backward,
    hard_swish,
    hard_swish_backward,
    relu,
    relu6,
    relu6_backward,
    relu_backward,
)
from npconv.ops.epilogue import Epilogue


class ReLU(OperatorLayer):
    """``max(x, 0)``: `npconv.relu`.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    operator = staticmethod(relu)
    operator_backward = staticmethod(relu_backward)

    def as_activation(self) -> Epilogue | None:
        return "relu" if type(self) is ReLU else None


class ReLU6(OperatorLayer):
    """``min(max(x, 0), 6)``: `npconv.relu6`.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU6()(np.array([-1.0, 2.0, 7.0]))
    array([0., 2., 6.])
    """

    operator = staticmethod(relu6)
    operator_backward = staticmethod(relu6_backward)

    def as_activation(self) -> Epilogue | None:
        return "relu6" if type(self) is ReLU6 else None


class HardSigmoid(OperatorLayer):
    """``relu6(x + 3) / 6``: `npconv.hard_sigmoid`.

    Examples
    --------
    >>> import numpy as np
    >>> HardSigmoid()(np.array([-3.0, 0.0, 3.0]))
    array([0. , 0.5, 1. ])
    """

    operator = staticmethod(hard_sigmoid)
    operator_backward = staticmethod(hard_sigmoid_backward)


class HardSwish(OperatorLayer):
    """``x * relu6(x + 3) / 6``: `npconv.hard_swish`.

    Examples
    --------
    >>> import numpy as np
    >>> HardSwish()(np.array([-3.0, 0.0, 3.0])) + 0.0
    array([0., 0., 3.])
    """

    operator = staticmethod(hard_swish)
    operator_backward = staticmethod(hard_swish_backward)
