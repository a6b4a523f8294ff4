"""npconv: the reference for efficient convolutions, forward and backward, in NumPy, with Numba kernels on all cores.

The operators are here; layers are in `npconv.nn`, the papers' networks in `npconv.models`, gradient checks, error bounds
and Hypothesis strategies in `npconv.testing`. Importing this imports neither Numba nor any extra.
"""

from npconv.backends import backend, current_backend, show_config, winograd
from npconv.ops import *  # noqa: F403
from npconv.ops import __all__ as _operators
from npconv.version import __version__ as __version__

__all__ = [*_operators, "backend", "current_backend", "show_config", "winograd"]
