"""What all tests share: the backends that they run on, how much Hypothesis draws, and `import definitions`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import npconv

# Whole packages before pytest imports single files for their doctests. It makes each an attribute of its package, and so
# would hide a function of the same name, as `npconv.models.resnet`, if the package were not imported yet.
import npconv.check
import npconv.kernels
import npconv.models
import npconv.reference

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
