"""A network from its weights file alone."""

from __future__ import annotations

import inspect
import json
from os import PathLike
from typing import Any

import numpy as np

from npconv import weights
from npconv.nn import Sequential


def load_network(
    path: str | PathLike[str],
    networks: dict[str, Any],
    noted_networks: dict[str, Any],
    model: str | None = None,
    source: str | None = None,
    **options: Any,
) -> Sequential:
    """What `npconv.models.load` does, of `networks` by name, or of `noted_networks` where the file names one."""
    about = noted(path)
    if about is not None:
        if model is not None or options:
            raise ValueError(f"model and options must not be given where the file has them, got them for {path}")
        model, options, networks = about.get("model"), dict(about.get("architecture", {})), noted_networks
    if model is None:
        raise ValueError(f"model must be given where the weights do not say it themselves, got none for {path}")
    if model not in networks:
        raise ValueError(f"model must be one of {', '.join(sorted(networks))}, got {model!r}")
    known = [name for name in inspect.signature(networks[model]).parameters if name != "rng"]
    for name in options:
        if name not in known:
            raise ValueError(f"the options of {model} must be among {', '.join(known)}, got {name}")
    network: Sequential = networks[model](**options, rng=np.random.default_rng(0))  # all that is drawn is replaced
    weights.load(network, path, source)
    return network.eval()


def noted(path: str | PathLike[str]) -> dict[str, Any] | None:
    """What `npconv train` noted in the weights file `path`; None where it did not write it. ValueError for a damaged note."""
    about = weights.metadata(path).get("npconv")
    if about is None:
        return None
    try:
        return dict(json.loads(about))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the weights must say what `npconv train` notes, got {path} ({error!r})") from None
