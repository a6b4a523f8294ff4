"""TensorBoard's event files, by the library tensorboardX."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def event_writer(folder: Path, *, wanted: bool) -> Any:
    """Something with `add_scalar(name, value, step)` that writes to `folder`, or None where it is not wanted.

    Raises ImportError, with what to install, where tensorboardX is missing.
    """
    if not wanted:
        return None
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ImportError(
            "--tensorboard needs tensorboardX, got no such package: pip install 'npconv[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder))
