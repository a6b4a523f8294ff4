"""No kernel reads or writes outside its arrays: `guarded` lays them against pages that end its process when touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs mprotect", allow_module_level=True)

import guarded


def test_no_loop_leaves_its_arrays(tmp_path: Path) -> None:
    """With a few problems of each operator; tests/frameworks has thousands."""
    assert guarded.run(tmp_path / "diary", examples=12) > 1000


@pytest.mark.parametrize(("planted", "page"), [("reads_behind", "behind"), ("writes_before", "before")])
def test_one_byte_outside_is_found(tmp_path: Path, planted: str, page: str) -> None:
    died = rf"exit status -\d+ in npconv.kernels.activations._relu\(.*with the page {page}"
    with pytest.raises(AssertionError, match=died):
        guarded.run(tmp_path / "diary", examples=4, planted=planted)
