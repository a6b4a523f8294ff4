"""What a process of a run is given before anything is imported: its number of threads, in every framework's words."""

from __future__ import annotations


def environment(threads: int) -> dict[str, str]:
    """Environment variables that make every framework use so many threads, as far as they decide that."""
    number = str(threads)
    return {
        "OMP_NUM_THREADS": number,
        "MKL_NUM_THREADS": number,
        "OPENBLAS_NUM_THREADS": number,
        "NUMBA_NUM_THREADS": number,
        "TF_NUM_INTRAOP_THREADS": number,
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
    }
