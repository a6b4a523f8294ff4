"""Checkpoints: folders with all of a training's state, each written aside and renamed, so that what is there is whole.

A checkpoint has two files: ``state.safetensors``, with the arrays of the model, the optimiser and the average, and ``state.json``, with
the numbers: where the training is, the states of random generators, what the training is about.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from npconv import files, weights
from npconv.geometry import Array, integer, shown
from npconv.nn import Layer
from npconv.optim import Average, Optimizer
from npconv.printable import printable
from npconv.training.progress import Epoch, Progress, checked_epoch

FORMAT = 1
ASIDE = ".writing-"  # and the process that writes, and a random number


def save(
    folder: str | PathLike[str],
    model: Layer,
    optimizer: Optimizer,
    progress: Progress,
    *,
    average: Average | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint into `folder`, which is made where it is missing, and remove those before it.

    Parameters
    ----------
    folder : path
        Holds checkpoints, and nothing else.
    model, optimizer, progress, average
        As `train` has them.
    about : mapping, optional
        Whatever JSON can hold.

    Returns
    -------
    Path
        Of the checkpoint. At no time is there none, once there was one: a process that is killed leaves the last whole one.

    Raises
    ------
    ImportError
        safetensors is not installed.
    OSError
        The folder cannot be written; what was there before is as it was.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from npconv import nn, optim, training
    >>> net, sgd = nn.Linear(2, 1, rng=np.random.default_rng(0)), optim.SGD(0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     training.save(folder, net, sgd, training.Progress(seed=7)).exists()
    True
    """
    folder = files.as_path("folder", folder)
    for name, value, kind in (
        ("model", model, Layer),
        ("optimizer", optimizer, Optimizer),
        ("progress", progress, Progress),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be of the class {kind.__name__}, got {shown(value)}")
    told = _json("about", {} if about is None else about)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"epoch{progress.epoch:06d}-step{progress.step:08d}"
    for left in folder.glob(f"{ASIDE}*"):
        if not _is_being_written(left):
            shutil.rmtree(left, ignore_errors=True)
    if target.exists():  # the state at a step is the same whenever it is written
        return target
    aside = folder / f"{ASIDE}{os.getpid()}-{secrets.token_hex(8)}"
    aside.mkdir()
    try:
        arrays = {f"model/{name}": array for name, array in model.state().items()}
        arrays |= {f"optimizer/{name}": array for name, array in optimizer.state().items()}
        if average is not None:
            arrays |= {f"average/{name}": array for name, array in average.arrays.items()}
        weights.save(arrays, aside / "state.safetensors")
        numbers = {
            "format": FORMAT,
            "progress": dataclasses.asdict(progress) | {"records": [list(record) for record in progress.records]},
            "optimizer": {"kind": type(optimizer).__name__, "steps": optimizer.steps},
            "average": None if average is None else average.steps,
            "generators": {path: _plain(rng.bit_generator.state) for path, rng in _generators(model)},
            "about": told,
        }
        files.write(aside / "state.json", json.dumps(numbers, indent=1))
        try:
            os.replace(aside, target)
        except OSError:
            if not target.exists():
                raise
            shutil.rmtree(aside, ignore_errors=True)  # another thread or process was first
        files.flush_folder(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for other in _checkpoints(folder):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)
    return target


def resume(
    folder: str | PathLike[str], model: Layer, optimizer: Optimizer, *, average: Average | None = None
) -> Progress:
    """Read the last checkpoint in `folder` into the model, the optimiser and the average, and return where it goes on.

    ``train(model, dataset, optimizer, plan, progress=resume(folder, model, optimizer))``, with the other arguments as before,
    makes the same steps as if it had never been interrupted, to the last bit on the same backend.

    Parameters
    ----------
    folder : path
        Which `save` was given.
    model, optimizer, average
        Made as they were before; generators in the model are set too.

    Returns
    -------
    Progress

    Raises
    ------
    ImportError
        safetensors is not installed.
    ValueError
        There is no checkpoint, or one of another model or optimiser; nothing is changed then.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from npconv import nn, optim, training
    >>> net, sgd = nn.Linear(2, 1, rng=np.random.default_rng(0)), optim.SGD(0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = training.save(folder, net, sgd, training.Progress(seed=7))
    ...     training.resume(folder, net, sgd).seed
    7
    """
    path = last_checkpoint(files.as_path("folder", folder))
    numbers = read_numbers(path)
    arrays = weights.read(path / "state.safetensors")[1]
    kinds = type(optimizer).__name__, average is not None
    if kinds != (numbers["optimizer"]["kind"], numbers["average"] is not None):
        raise ValueError(
            f"the checkpoint must be of {kinds[0]}{' with' if kinds[1] else ' without'} an average, got "
            f"{numbers['optimizer']['kind']}{' without' if numbers['average'] is None else ' with'} one in {printable(path)}"
        )
    averaged = _part(arrays, "average/")
    if average is not None and _shapes(averaged) != _shapes(average.arrays):
        raise ValueError(f"the checkpoint must have the average of this model, got another one in {printable(path)}")
    try:
        model.load_state(_part(arrays, "model/"))
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from None
    optimizer.load_state(_part(arrays, "optimizer/"), numbers["optimizer"]["steps"])
    if average is not None:
        average.steps = numbers["average"]
        average.arrays = averaged
    try:
        for place, rng in _generators(model):
            rng.bit_generator.state = numbers["generators"][place]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"the checkpoint must have the model's generators, got {printable(path)} ({error!r})"
        ) from None
    progress: Progress = numbers["progress"]
    return progress


def _shapes(arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def read_numbers(path: Path) -> dict[str, Any]:
    """What ``state.json`` of the checkpoint `path` says, its progress as a `Progress`; ValueError where it is damaged."""
    try:
        numbers = json.loads(files.read("state.json", path / "state.json"))
        form = numbers["format"]
        if form == FORMAT:
            return _checked(numbers)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"the checkpoint must be one that was written here, got {printable(path)} ({error})") from None
    raise ValueError(f"the checkpoint must have the format {FORMAT}, got {shown(form)} in {printable(path)}")


def _checked(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers, all of which must be there and of their kinds."""
    told, optimizer, average = numbers["progress"], numbers["optimizer"], numbers["average"]
    progress = Progress(**told | {"records": [checked_epoch(Epoch(*record)) for record in told["records"]]})
    if type(progress.seed) is not int or progress.seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {shown(progress.seed)}")
    for name in ("epoch", "step", "seen", "right"):
        integer(name, getattr(progress, name), minimum=0)
    for name in ("loss_sum", "seconds"):
        if not isinstance(getattr(progress, name), int | float):
            raise TypeError(f"{name} must be a number, got {shown(getattr(progress, name))}")
    integer("steps", optimizer["steps"], minimum=0)
    if average is not None:
        integer("average", average, minimum=0)
    if not isinstance(optimizer["kind"], str) or not isinstance(numbers["about"], dict):
        raise TypeError("it must say which optimiser it is of, and what it is about")
    return numbers | {"progress": progress}


def _part(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _json(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` as a file of JSON gives it back."""
    try:
        if isinstance(value, Mapping):
            found: dict[str, Any] = json.loads(json.dumps(dict(value)))
            return found
    except (TypeError, ValueError, RecursionError, OverflowError):
        pass
    raise TypeError(f"{name} must be a mapping that JSON can hold, got {shown(value)}")


def _is_being_written(aside: Path) -> bool:
    """Whether the process lives that made this folder; one that was killed has left it."""
    process = aside.name.removeprefix(ASIDE).partition("-")[0]
    if os.name != "posix":  # where there is no such question
        return False
    try:
        os.kill(int(process), 0)
    except PermissionError:  # it is somebody else's
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch*-step*"))


def last_checkpoint(folder: Path) -> Path:
    """The newest one: those before it may be half removed. ValueError where there is none."""
    found = _checkpoints(folder)
    if not found:
        raise ValueError(f"there must be a checkpoint to go on from, got none in {printable(folder)}")
    return found[-1]


def _generators(model: Layer) -> Iterator[tuple[str, np.random.Generator]]:
    """(path, generator) of every one that a layer draws from in training."""
    for path, layer in model.named_layers():
        for name, value in vars(layer).items():
            if isinstance(value, np.random.Generator):
                yield f"{path}.{name}", value


def _plain(value: Any) -> Any:
    """A generator's state as JSON has it."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
