"""A network from its weights file alone."""

from __future__ import annotations

import contextlib
import inspect
import json
from os import PathLike
from typing import Any

import numpy as np

from npconv import weights
from npconv.geometry import integer, one_of, shown
from npconv.nn import Sequential
from npconv.nn.initialization import at_most
from npconv.printable import printable
from npconv.weights.files import file_of

LONGEST_NOTE = 1 << 20  # characters
MOST_PIXELS = 1 << 22  # that a network is asked to look at: 64 channels of that size are 1 GiB


def load_network(
    path: str | PathLike[str],
    networks: dict[str, Any],
    model: str | None = None,
    source: str | None = None,
    **options: Any,
) -> Sequential:
    """What `npconv.models.load` does, of `networks` by name."""
    about = noted(path)
    if about is not None:
        if model is not None or options:
            raise ValueError(
                f"model and options must not be given where the file has them, got them for {printable(path)}"
            )
        model, options = about["model"], about["architecture"]
    if model is None:
        raise ValueError(
            f"model must be given where the weights do not say it themselves, got none for {printable(path)}"
        )
    one_of("model", model, sorted(networks))
    known = [name for name in inspect.signature(networks[model]).parameters if name != "rng"]
    for name in options:
        if name not in known:
            raise ValueError(f"the options of {model} must be among {', '.join(known)}, got {name}")
    with contextlib.nullcontext() if about is None else no_larger_than(path):
        network: Sequential = networks[model](**options, rng=np.random.default_rng(0))  # all that is drawn is replaced
    weights.load(network, path, source)
    return network.eval()


def no_larger_than(path: str | PathLike[str]) -> contextlib.AbstractContextManager[None]:
    """A block in which no network is made of more numbers than the file has bytes: it could have no weights for them."""
    return at_most(file_of(path).stat().st_size)


def check_pixels(name: str, rows: int, columns: int) -> None:
    """Raise ValueError where a network of the four papers would need more memory than such machines have.

    >>> check_pixels("image", 224, 224)
    """
    if rows * columns > MOST_PIXELS:
        raise ValueError(f"{name} must have at most {MOST_PIXELS} pixels, got {rows}x{columns}")


def noted(path: str | PathLike[str]) -> dict[str, Any] | None:
    """What `npconv train` noted in a weights file: the network, the classes, how images are prepared.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict, or None where `npconv train` did not write the file

    Raises
    ------
    ImportError
        safetensors is not installed.
    ValueError
        The file is missing or damaged, or its note is.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from npconv import models, weights
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     weights.save(models.tiny_resnet(rng=np.random.default_rng(0)), f"{folder}/w.safetensors")
    ...     print(noted(f"{folder}/w.safetensors"))
    None
    """
    about = weights.metadata(path).get("npconv")
    if about is None:
        return None
    try:
        if len(about) > LONGEST_NOTE:
            raise ValueError(f"the note must have at most {LONGEST_NOTE} characters, got {len(about)}")
        found = json.loads(about)
        if not (
            isinstance(found, dict)
            and isinstance(found.get("model"), str)
            and isinstance(found.get("architecture"), dict)
        ):
            raise TypeError("the note must have a model and its architecture")
        size = file_of(path).stat().st_size
        for name, value in found["architecture"].items():
            # Each class and channel has a weight in the file, so its size bounds the memory.
            if isinstance(value, int | float) and not abs(value) <= size:
                raise ValueError(f"{name} must be at most what the file has weights for, got {name}={shown(value)}")
        image = found.get("image")
        if isinstance(image, list) and len(image) == 3:
            _, rows, columns = (integer("image", side, minimum=1) for side in image)
            check_pixels("image", rows, columns)
        return found
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the weights must say what `npconv train` notes, got {printable(path)} ({error!r})") from None
