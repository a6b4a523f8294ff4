"""Lets the test files of this folder import the modules that they share: `required`, `torch_ops`, `torch_models`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
