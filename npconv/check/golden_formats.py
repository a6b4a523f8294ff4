"""The formats of golden files: .npy, safetensors, and the layout of the ONNX backend tests."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from npconv import files
from npconv.check.adapters import Unsupported
from npconv.check.case import Case
from npconv.geometry import Array
from npconv.printable import printable
from npconv.testing import Exact, map_arrays

LARGEST = 1 << 30  # bytes of an array that another program wrote

Results = list[tuple[Exact, Array]]
"""Every array of the results, with how far each of its numbers may be off."""


def _npy(folder: Path, name: str, case: Case, arrays: dict[str, Array], results: Results) -> None:
    """A file for each array, in a folder of the problem."""
    (folder / name).mkdir(exist_ok=True)
    for key, array in (arrays | _results(results)).items():
        contents = io.BytesIO()
        np.save(contents, np.array(array, order="C"))
        files.write(folder / name / f"{key}.npy", contents.getvalue())


def _safetensors(folder: Path, name: str, case: Case, arrays: dict[str, Array], results: Results) -> None:
    """One file for the problem."""
    from safetensors.numpy import save

    tensors = {key: np.array(array, order="C") for key, array in (arrays | _results(results)).items()}
    contents = save(tensors, metadata={"op": case.op, "label": case.label})
    files.write(folder / f"{name}.safetensors", contents)


def _onnx(folder: Path, name: str, case: Case, arrays: dict[str, Array], results: Results) -> None:
    """A model of one call, its inputs and its outputs, as ONNX's own tests of backends have them: forward alone."""
    from onnx import numpy_helper

    from npconv.check.adapters import onnx

    right = [np.asarray(row.value, case.dtype) for row, _ in results if row.name.partition(".")[0] == "y"]
    given = case.multiplied()
    options = {key: map_arrays(np.array, value) for key, value in given.options.items()}
    nodes, feeds, y = onnx.REFERENCE.graph(case.op, given.args, options, "forward")
    model = onnx.model(nodes, feeds, onnx.names_of(y))
    place = folder / f"test_{case.op}_{name}"
    data = place / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    files.write(place / "model.onnx", model.SerializeToString())
    for kind, named in (("input", feeds), ("output", dict(zip(_outputs(model), right, strict=True)))):
        for number, (key, array) in enumerate(named.items()):
            tensor = numpy_helper.from_array(np.array(array, order="C"), key)
            files.write(data / f"{kind}_{number}.pb", tensor.SerializeToString())


def _outputs(model: Any) -> list[str]:
    return [value.name for value in model.graph.output]


def _results(results: Results) -> dict[str, Array]:
    """In float64: "y", "y.bound", "dx" and so on."""
    values = {row.name: np.asarray(row.value, np.float64) for row, _ in results}
    return values | {f"{row.name}.bound": np.asarray(bound, np.float64) for row, bound in results}


_SAVE: dict[str, Callable[[Path, str, Case, dict[str, Array], Results], None]] = {
    "npy": _npy,
    "safetensors": _safetensors,
    "onnx": _onnx,
}
FORMATS = tuple(_SAVE)


def save(kind: str, folder: Path, name: str, case: Case, arrays: dict[str, Array], results: Results) -> bool:
    """Write a problem of that name in one of `FORMATS`; whether the format has such a problem.

    Raises ValueError where there is no such format, and ImportError where its library is not installed.
    """
    if kind not in _SAVE:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}, got {kind!r}")
    try:
        _SAVE[kind](folder, name, case, arrays, results)
    except Unsupported:
        return False
    return True


def read_answer(folder: Path, name: str, result: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array | None:
    """What another program wrote for an array of a problem's results; None where it wrote nothing.

    That is ``y.got.npy`` or ``y.got.bin`` in the problem's folder, or ``y`` in the file ``0001w.got.safetensors``.
    """
    path = _answer(folder, name, result)
    if path is None:
        return None
    contents = files.read("--results", path, LARGEST)
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load

            return load(contents).get(result)
        if path.suffix == ".npy":
            found: Array = np.load(io.BytesIO(contents), allow_pickle=False)
            return found
        numbers = np.frombuffer(contents, dtype)
    except Exception as error:  # NumPy and safetensors have a dozen kinds for a damaged file, all meaning the same
        raise ValueError(f"--results must hold whole arrays, got {printable(path)} ({error})") from None
    return numbers.reshape(shape) if numbers.size == int(np.prod(shape, dtype=int)) else numbers


def reading_lines(folder: Path, name: str, result: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> list[str]:
    """Lines of Python that read what `read_answer` gives, as `got`."""
    path = _answer(folder, name, result)
    if path is None:
        return []
    lines = ["import numpy as np", ""]
    if path.suffix == ".safetensors":
        lines.insert(1, "from safetensors.numpy import load_file")
        return [*lines, f"got = load_file({str(path)!r})[{result!r}]"]
    if path.suffix == ".npy":
        return [*lines, f"got = np.load({str(path)!r})"]
    return [*lines, f"got = np.fromfile({str(path)!r}, np.{dtype.name}).reshape({shape})"]


def _answer(folder: Path, name: str, result: str) -> Path | None:
    """The file that another program wrote."""
    paths = [folder / name / f"{result}.got.{kind}" for kind in ("npy", "bin")]
    return next((path for path in (*paths, folder / f"{name}.got.safetensors") if path.exists()), None)
