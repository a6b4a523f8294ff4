"""The one rule on missing frameworks: their tests are skipped, or fail where a skip would hide something.

Continuous integration sets NPCONV_REQUIRE_FRAMEWORKS=1, so that a broken installation cannot pass as a skip.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


def framework(name: str) -> ModuleType:
    """Import `name`. Where it is missing, skip the importing module, or raise if NPCONV_REQUIRE_FRAMEWORKS is set."""
    if os.environ.get("NPCONV_REQUIRE_FRAMEWORKS"):
        return importlib.import_module(name)
    return pytest.importorskip(name)


def thorough() -> None:
    """Skip the calling module, which needs no framework but minutes, where nobody asks for what takes long."""
    if not os.environ.get("NPCONV_REQUIRE_FRAMEWORKS"):
        pytest.skip("takes minutes; NPCONV_REQUIRE_FRAMEWORKS=1 runs it", allow_module_level=True)
