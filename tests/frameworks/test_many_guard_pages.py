"""No kernel reads or writes outside its arrays, in the thousands of problems that the test suite has no time for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs mprotect", allow_module_level=True)

import guarded
from required import thorough

thorough()


def test_no_loop_leaves_its_arrays(tmp_path: Path) -> None:
    assert guarded.run(tmp_path / "diary", examples=200) > 20_000
