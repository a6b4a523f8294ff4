"""What all tests share: the backends that they run on, how much Hypothesis draws, and `import definitions`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numba
import pytest
from hypothesis import HealthCheck, settings
from numba.core.dispatcher import Dispatcher
from numba.np.ufunc import parallel

import npconv

# Whole packages before pytest imports single files for their doctests. It makes each an attribute of its package, and so
# would hide a function of the same name, as `npconv.models.resnet`, if the package were not imported yet.
import npconv.check
import npconv.kernels
import npconv.models
import npconv.reference

os.environ.setdefault("NPCONV_QUIET", "1")  # what commands print shall not depend on whether kernels are compiled

os.environ.pop(
    "COLUMNS", None
)  # nor on a window: readline, which pytest loads, sets it for the processes that run the tests

sys.path.insert(0, str(Path(__file__).parent))  # for definitions.py and checks.py

# The same examples on every run; NPCONV_EXAMPLES=1000 looks deeper. A fixture that chooses the backend may live as long
# as all the examples of a test: it is the same for each.
settings.register_profile(
    "npconv",
    deadline=None,
    derandomize=True,
    max_examples=int(os.environ.get("NPCONV_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("npconv")


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    """The test runs on this backend, once on each."""
    with npconv.backend(request.param):
        yield request.param


def pytest_configure(config):
    """The quick lane, `-m "not slow"`, runs on the reference alone, in the processes that tests start too."""
    if config.getoption("markexpr") == "not slow":
        os.environ["NPCONV_BACKEND"] = "numpy"
        Dispatcher.compile = _refuse_to_compile
    npconv.current_backend()  # reads the environment once, before a test changes it


def _refuse_to_compile(*_):
    raise AssertionError("a test that compiles a kernel must be marked as slow")


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items):
    """Mark as slow what is about compiled code by its place or by its backend; a single test says so itself."""
    for item in items:
        place = Path(item.path).relative_to(item.config.rootpath).parts
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        on_numba = any(isinstance(value, str) and value == "numba" for value in parameters)  # others may be arrays
        if on_numba or {"kernels", "bench", "frameworks"} & set(place):
            item.add_marker("slow")


@pytest.hookimpl(trylast=True)  # after the fixtures of the test have put back what they changed
def pytest_runtest_teardown():
    """A test leaves Numba's number of threads as it was, or the next ones run on fewer than they ask for."""
    if parallel._is_initialized:
        left, threads = parallel._get_num_threads(), numba.config.NUMBA_NUM_THREADS
        numba.set_num_threads(threads)
        assert left == threads, f"the test leaves kernels {left} threads of {threads}"
