"""Functions to fill in: what `npconv check` calls, in NumPy, PyTorch, JAX, or C through ctypes."""

from __future__ import annotations

from npconv.check.adapters.definitions import arguments
from npconv.check.arrays import LIBRARIES
from npconv.check.hard import OPERATORS
from npconv.testing.problem import signature

KINDS = "numpy", "torch", "jax", "c"

_HEAD = '''"""{op} for `npconv check mine:{op} --op {op} --backward mine:{op}_backward`.

Delete the parameters that your function does not have: what needs them is not asked. Stride, dilation and kernel come as
one number or as (rows, columns), padding as ((top, bottom), (left, right)) unless its default here is a word such as
"same". Raise NotImplementedError for what you decline. Arrays may lie in memory in any way; np.ascontiguousarray makes a copy where that matters.
"""
'''

_BODIES = {
    "numpy": ("import numpy as np\n", "    raise NotImplementedError  # return y, a new array\n"),
    "torch": (
        "import torch\n",
        "    raise NotImplementedError  # return y, a new tensor\n",
    ),
    "jax": (
        "import jax\n",
        "    raise NotImplementedError  # return y, a new array\n",
    ),
    "c": (
        "import ctypes\n\nimport numpy as np\n\nlibrary = ctypes.CDLL('./mine.so')\n\n\ndef pointer(array):\n"
        "    return None if array is None else array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))\n",
        "    x = np.ascontiguousarray({first})  # and the others likewise; keep them until the call is done\n"
        "    raise NotImplementedError  # y = np.empty(shape, np.float32); library.mine(pointer(x), ..., pointer(y)); return y\n",
    ),
}


def template(kind: str, op: str) -> str:
    """A module with both functions of `op` to fill in.

    Raises ValueError where `kind` is none of `KINDS`, or `op` no operator.

    >>> "def relu(x):" in template("numpy", "relu")
    True
    """
    if kind not in KINDS:
        raise ValueError(f"--template must be one of {', '.join(KINDS)}, got {kind!r}")
    if op not in OPERATORS:
        raise ValueError(f"--op must be one of {', '.join(OPERATORS)}, got {op!r}")
    imports, body = _BODIES[kind]
    names = arguments(op)
    parameters = []
    for parameter in signature(op).parameters.values():
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        if parameter.name == "padding" and not op.startswith("octave"):
            default = "=((0, 0), (0, 0))"  # as it comes
        parameters.append(f"{parameter.name}{default}")
    given, body = ", ".join(parameters), body.format(first=names[0])
    gradients = ", ".join(f"d{name}" for name in names)
    backward = body.replace("return y, a new array", f"return {gradients}").replace("return y", f"return {gradients}")
    asked = f'\n\n{op}.takes_arrays = {op}_backward.takes_arrays = "{kind}"\n' if kind in LIBRARIES else ""
    return (
        f"{_HEAD.format(op=op)}\n{imports}\n\ndef {op}({given}):\n{body}\n\n"
        f"def {op}_backward(dy, {given}):\n    # one gradient for each array, None for None: {gradients}\n{backward}{asked}"
    )
