"""Which releases of Numba this room was tested on: the rest of it leans on what may change with any release.

`.ci/run` runs the kernels' tests on the oldest and on the newest. On a release that is newer still, loops are compiled by
plain `numba.njit`, which is right, takes twice as long, and is done again by every process.
"""

from __future__ import annotations

from numba import version_info

OLDEST, NEWEST = (0, 60), (0, 68)  # pyproject.toml allows these, and those between
LINKED = {(0, 68)}  # whose libraries of code are as `linking` needs them


def may_link() -> bool:
    """Whether `linking` knows how this Numba puts code together."""
    return version_info.short in LINKED


def may_cache() -> bool:
    """Whether `cache` knows how this Numba keeps compiled code."""
    return OLDEST <= version_info.short <= NEWEST


def limits() -> str:
    """What is not done on this Numba, as `npconv.show_config` says it: nothing where all of it was tested."""
    if may_link():
        return ""
    if may_cache():
        return " (kernels compile slower than on 0.68)"
    return " (not tested: kernels compile slower, in every process anew)"
