"""Everything of the kernels that leans on Numba's inner workings: how loops are compiled, linked, kept on disk and launched.

`compiling` is what all loops agree on, `linking` how they are optimised, `cache` where they are kept, `announcing` what is said
meanwhile, `launching` on which threads they run, and `releases` which Numbas all this is known to work with. Kernels import from
here alone.
"""

from npconv.kernels.jit.compiling import LOOPS, VECTOR_BITS, cache_folder, compiled, configuration, contiguous
from npconv.kernels.jit.launching import MANY, scratch, thread_count

__all__ = [
    "LOOPS",
    "MANY",
    "VECTOR_BITS",
    "cache_folder",
    "compiled",
    "configuration",
    "contiguous",
    "scratch",
    "thread_count",
]
