"""What an operator may apply to its result before it is written: one sweep over memory less than an operator of its own."""

from __future__ import annotations

from typing import Literal, TypeAlias

from npconv.geometry import is_word, shown

Epilogue: TypeAlias = Literal["relu", "relu6"]


def check_epilogue(activation: object) -> None:
    """Raise ValueError unless `activation` is None, "relu" or "relu6"."""
    if activation is not None and not is_word(activation, ("relu", "relu6")):
        raise ValueError(f"activation must be None, 'relu' or 'relu6', got {shown(activation)}")
