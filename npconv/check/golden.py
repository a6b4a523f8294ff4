"""Golden files: problems with their right results in files, for programs that cannot call Python, and what these wrote.

    write("conv2d", Path("golden"), cases=100)          # npconv cases conv2d -o golden
    judge(Path("golden"))                               # npconv check --results golden

The folder has a line for every problem in ``problems.txt``, all of it as JSON in ``manifest.json``, and a folder for every
problem: ``x.npy`` and the other arguments and `dy`; ``y.npy``, ``dx.npy`` and so on, which are right; and ``y.bound.npy``, how far
each number may be from them, 0 where sums are exact. The other program writes its own beside them, as ``y.got.npy``, or as
``y.got.bin``: the numbers alone, in C order, in the dtype of the arguments. As safetensors, a problem is a file with tensors of
these names, and the results are in another, ``0001w.got.safetensors``. As ONNX, problems are in the layout of ONNX's own tests of
backends, which runtimes can take as they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npconv import __version__, files
from npconv.check import corpus
from npconv.check.adapters import Unsupported
from npconv.check.building import both
from npconv.check.case import Case
from npconv.check.comparison import DIRECTIONS, VALUE_KINDS, Direction, Failure, is_bounded
from npconv.check.contract import Contract
from npconv.check.expected import expected
from npconv.check.golden_formats import FORMATS, Results, read_answer, reading_lines, save
from npconv.check.report import Report
from npconv.check.reproduction import number_code
from npconv.check.running import run
from npconv.geometry import Array
from npconv.testing import Exact, Tree, map_arrays, named_arrays

PLAIN = Contract(words=False, orders=False)  # padding is written as four numbers, arrays in C order
MANIFEST = "manifest.json"

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["npconv", "op", "dtype", "seed", "cases", "format", "problems"],
    "properties": {
        "npconv": {"type": "string"},
        "op": {"type": "string"},
        "dtype": {"enum": ["float16", "float32", "float64"]},
        "seed": {"type": "integer", "minimum": 0},
        "cases": {"type": "integer", "minimum": 1},
        "format": {"enum": list(FORMATS)},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "label", "options", "arguments", "results"],
                "properties": {
                    "name": {"type": "string", "description": "of its folder"},
                    "label": {"type": "string"},
                    "options": {"type": "object"},
                    "arguments": {"type": "object", "description": "name -> shape, of those that are there"},
                    "results": {"type": "object", "description": "name -> shape"},
                },
            },
        },
    },
}
"""The JSON schema of ``manifest.json``, which is written beside it."""


def write(
    op: str, folder: Path, *, cases: int = 100, seed: int = 0, dtype: DTypeLike = np.float32, format: str = "npy"
) -> int:
    """Write the problems of `cases` cases of `op` into `folder`, which is made, and return how many there are.

    `format` is one of `npconv.check.golden_formats.FORMATS`. A case makes a problem of whole numbers, whose results are exact, and one of real numbers, whose results have bounds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    problems, lines = [], []
    for number, case in enumerate(corpus.cases(op, cases, seed=seed, dtype=dtype)):
        for suffix, one in _problems(PLAIN.adapted(case)):
            results = _right(one, whole=suffix == "w")
            if not results:
                continue
            name = f"{number:04}{suffix}"
            arrays = _arguments(one)
            if not save(format, folder, name, one, arrays, results):
                continue
            problems.append(_row(name, one, arrays, results))
            lines.append(_line(name, one, arrays))
    told = {
        "npconv": __version__,
        "op": op,
        "dtype": np.dtype(dtype).name,
        "seed": seed,
        "cases": cases,
        "format": format,
    }
    files.write(folder / MANIFEST, json.dumps(told | {"problems": problems}, indent=1) + "\n")
    files.write(folder / "manifest.schema.json", json.dumps(SCHEMA, indent=1) + "\n")
    files.write(folder / "problems.txt", "".join(lines))
    return len(problems)


def judge(folder: Path) -> Report:
    """The report on what another program wrote for the problems in `folder`: what it did not write is declined.

    Raises ValueError where there are no golden files, or those of another release of npconv.
    """
    try:
        told = json.loads(files.read("--results", folder / MANIFEST))
        op, dtype, seed, cases, _ = (told[name] for name in ("op", "dtype", "seed", "cases", "format"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"--results must be a folder that npconv cases has written, got {folder}: {error}") from None
    if told["format"] == "onnx":
        raise ValueError(
            "--results must be npy or safetensors: what runs ONNX's own tests compares their outputs by itself"
        )
    if told["npconv"] != __version__:
        raise ValueError(f"the golden files must be those of npconv {__version__}, got those of {told['npconv']}")
    kept = {name: _Answers(folder, op, name) for name in DIRECTIONS}
    report = run(
        op,
        forward=kept["forward"],
        backward=kept["backward"],
        cases=cases,
        seed=seed,
        dtype=dtype,
        modes=("exact", "bound"),
        subject=str(folder),
        shrinking=0,
    )
    shown = (one._replace(reproduction=kept[one.direction].reproduction(one)) for one in report.failures)
    return dataclasses.replace(report, failures=tuple(shown))


class _Answers:
    """A function whose results another program has written into files: found by the arguments."""

    contract = PLAIN

    def __init__(self, folder: Path, op: str, direction: Direction) -> None:
        self._folder, self._direction = folder, direction
        self._names: dict[bytes, str] | None = None

    def __call__(self, *args: Tree, **options: Any) -> Tree:
        arguments = args if self._direction == "forward" else args[1:]
        name = self._name(arguments, args[0] if self._direction == "backward" else None, options)
        if name is None:
            raise Unsupported("not among the golden files")
        if self._direction == "forward":
            return self._read(name, "y", None)
        gradients = tuple(
            None if tree is None else self._read(name, f"d{argument}", tree)
            for argument, tree in zip(self._arguments, arguments, strict=True)
        )
        return gradients if len(gradients) > 1 else gradients[0]

    def reproduction(self, failure: Failure) -> str:
        """The lines that read what is wrong from its file, and print it beside what is right."""
        given, backward = failure.case.multiplied(), self._direction == "backward"
        name = self._name(given.args, given.dy if backward else None, given.options)
        if name is None:
            return f"# {failure.message}\n"
        shape = tuple(self._shapes[name].get(failure.argument, ()))
        problem = _line(name, failure.case, _arguments(failure.case)).rstrip()
        lines = [f"# {problem}", *reading_lines(self._folder, name, failure.argument, self._dtype, shape)]
        lines.append(f"# {failure.message}")
        if failure.kind in VALUE_KINDS:
            place = f"[{', '.join(map(str, failure.index))}]" if failure.index else ""
            lines.append(f'print(got{place}, "must be", {number_code(failure.expected)})')
        elif len(lines) > 2:
            lines.append("print(got.shape, got.dtype)")
        return "\n".join(lines) + "\n"

    def _name(self, args: Tree, dy: Tree, options: dict[str, Any]) -> str | None:
        """That of the problem with these arguments."""
        if self._names is None:
            self._names = dict(self._known())
        return self._names.get(_key(args, dy, options))

    def _known(self) -> Iterator[tuple[bytes, str]]:
        """The key of every problem."""
        told = json.loads(files.read("--results", self._folder / MANIFEST))
        every = corpus.cases(told["op"], told["cases"], seed=told["seed"], dtype=told["dtype"])
        self._dtype = np.dtype(told["dtype"])
        self._shapes = {row["name"]: row["results"] for row in told["problems"]}
        for number, case in enumerate(every):
            for suffix, one in _problems(PLAIN.adapted(case)):
                given = one.multiplied()
                self._arguments = one.problem.names
                dy = given.dy if self._direction == "backward" else None
                yield _key(given.args, dy, given.options), f"{number:04}{suffix}"

    def _read(self, name: str, result: str, like: Tree) -> Tree:
        """What was written for a result; a tuple where that has parts, "y.high" and "y.low"."""
        shapes = self._shapes.get(name, {})
        if result in shapes:
            return self._array(name, result, tuple(shapes[result]))
        parts = {key: shape for key, shape in shapes.items() if key.startswith(f"{result}.")}
        if not parts:
            raise Unsupported("not among the golden files")
        fields = getattr(like, "_fields", ("high", "low"))
        return tuple(
            self._array(name, f"{result}.{field}", tuple(parts[f"{result}.{field}"]))
            if f"{result}.{field}" in parts
            else None
            for field in fields
        )

    def _array(self, name: str, result: str, shape: tuple[int, ...]) -> Array:
        found = read_answer(self._folder, name, result, self._dtype, shape)
        if found is None:
            raise Unsupported("no result was written")
        return found


def _problems(case: Case) -> Iterator[tuple[str, Case]]:
    """The case with whole numbers, and with real ones, where anything is known of their results."""
    yield "w", case
    if case.is_bounded or not case.has_exact_result:
        yield "r", case.real()


def _right(case: Case, *, whole: bool) -> Results:
    """Every array of the results, with how far each number may be off; none of a direction of which nothing is known.

    Where several gradients are right, y alone; where several y are, nothing.
    """
    found = []
    for direction in DIRECTIONS:
        right = expected(case, direction)
        if not right.judged or not is_bounded(right.rows, case):
            continue
        if not all(map(_is_only_one, right.rows)):
            break
        for row in right.rows:
            exact = whole and right.whole and not case.rounds
            bound = np.zeros(row.value.shape) if exact else np.asarray(row.bound(case.dtype), np.float64)
            if row.other is not None and np.isfinite(row.other).all():
                bound = bound + np.abs(row.other - row.value)  # beside a kink either slope is right
            found.append((row, bound))
    return found


def _is_only_one(row: Exact) -> bool:
    """Whether there is one right result, but for what a bound can say."""
    if row.other is None or np.isfinite(row.other).all():
        return True
    return np.array_equal(row.value, row.other, equal_nan=True)


def _arguments(case: Case) -> dict[str, Array]:
    """The arrays of the call by their names, those of a tuple apart, and the options that are arrays."""
    given = case.multiplied()
    rows = [row for name, tree in given.arrays.items() for row in named_arrays(tree, name)]
    return dict(rows) | {name: value for name, value in case.options.items() if isinstance(value, np.ndarray)}


def _row(name: str, case: Case, arrays: dict[str, Array], results: Results) -> dict[str, Any]:
    options = {key: value for key, value in case.options.items() if not isinstance(value, np.ndarray)}
    return {
        "name": name,
        "label": case.label,
        "numbers": case.numbers,
        "options": options,
        "arguments": {key: list(array.shape) for key, array in arrays.items()},
        "results": {row.name: list(row.value.shape) for row, _ in results},
    }


def _line(name: str, case: Case, arrays: dict[str, Array]) -> str:
    """As "0001w x=2,3,8,9 w=5,3,3,3 dy=2,5,3,4 stride=2,2 padding=0,0,0,0 dilation=1,1 groups=1", easy to read in C."""
    words = [name, *(f"{key}={','.join(map(str, array.shape))}" for key, array in arrays.items())]
    for key, value in case.options.items():
        if key in ("stride", "dilation", "kernel", "scale", "size") and value is not None:
            words.append(f"{key}={','.join(map(str, both(value)))}")
        elif key == "padding" and isinstance(value, tuple):
            words.append(f"padding={','.join(str(side) for sides in value for side in both(sides))}")
        elif isinstance(value, bool | int | float):
            words.append(f"{key}={int(value) if isinstance(value, bool) else value}")
    return " ".join(words) + "\n"


def _key(args: Tree, dy: Tree, options: dict[str, Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)

    def add(array: Array) -> None:
        digest.update(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())

    map_arrays(add, (args, dy))
    map_arrays(add, tuple(options.values()))
    digest.update(repr(sorted((key, str(value)) for key, value in options.items())).encode())
    return digest.digest()
