"""What a file says of itself is read whatever its arrays are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from npconv import weights


@pytest.mark.parametrize(("kind", "size"), [("BF16", 2), ("F8_E4M3", 1), ("I64", 8), ("F32", 4)])
def test_metadata_asks_for_no_array(tmp_path: Path, kind: str, size: int) -> None:
    array = {"dtype": kind, "shape": [2], "data_offsets": [0, 2 * size]}
    head = json.dumps({"__metadata__": {"model": "tiny"}, "w": array}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(2 * size))
    assert weights.metadata(path) == {"model": "tiny"}
