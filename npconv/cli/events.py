"""TensorBoard's event files, by the library tensorboardX."""

from __future__ import annotations

from typing import Any


def summary_writer() -> Any:
    """The class whose objects write event files into a folder: they have `add_scalar(name, value, step)` and `close()`.

    Raises ImportError, with what to install, where tensorboardX is missing.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ImportError(
            "--tensorboard needs tensorboardX, got no such package: pip install 'npconv[tensorboard]'"
        ) from None
    return SummaryWriter
