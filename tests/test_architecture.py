"""Who may import whom, read from the source; and what `import npconv` does, which is next to nothing."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import npconv

PACKAGE = Path(npconv.__file__).parent
MODULES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path for path in PACKAGE.rglob("*.py")
}

# Each room with the rooms that it may import, itself aside, and the packages besides NumPy and Python's own. `backends`
# reaches `kernels` by name alone, so nobody lists it.
MAY_IMPORT = {
    "__init__": ({"backends", "ops", "version"}, set()),
    "__main__": ({"cli"}, set()),
    "geometry": (set(), set()),
    "memory": ({"geometry"}, set()),
    "files": ({"printable"}, set()),
    "figures": ({"files", "printable"}, {"matplotlib"}),
    "printable": (set(), set()),
    "version": (set(), set()),
    "backends": (
        {"version", "geometry", "memory", "reference"},
        set(),
    ),  # the version for show_config, the reference for type checkers
    "reference": ({"geometry"}, set()),
    "kernels": (
        {"geometry", "memory", "reference"},
        {"numba", "llvmlite"},
    ),  # NumPy's updates of few numbers are faster
    "ops": ({"backends", "geometry", "memory"}, set()),
    "costs": ({"backends", "geometry"}, set()),
    "layouts": ({"geometry"}, set()),
    "nn": ({"ops", "backends", "geometry"}, set()),
    "models": ({"nn", "ops", "geometry", "printable", "weights"}, set()),
    "optim": ({"nn", "backends", "geometry"}, set()),
    "data": ({"files", "geometry", "printable"}, {"sklearn", "PIL"}),
    "weights": ({"nn", "files", "geometry", "printable"}, {"safetensors"}),
    "training": (
        {
            "nn",
            "models",
            "optim",
            "data",
            "weights",
            "ops",
            "files",
            "geometry",
            "backends",
            "costs",
            "printable",
            "version",
        },
        {"mpi4py", "tomli"},
    ),
    "studies": (
        {"training", "nn", "models", "optim", "data", "geometry", "costs", "figures"},
        {"matplotlib", "sklearn"},
    ),
    "onnx": ({"__init__", "files", "models", "nn", "ops", "backends", "geometry"}, {"onnx"}),
    "workers": (set(), set()),
    "papers": ({"costs", "nn", "models", "geometry"}, set()),
    "testing": ({"ops", "geometry", "backends"}, {"hypothesis"}),  # the reference judges, whatever computes
    "check": (
        {
            "__init__",
            "files",
            "printable",
            "ops",
            "geometry",
            "backends",
            "costs",
            "testing",
            "models",
            "nn",
            "onnx",
            "reference",
            "layouts",
            "workers",
        },
        {
            "jax",
            "joblib",
            "ml_dtypes",
            "keras",
            "numba",
            "onnx",
            "onnxruntime",
            "openvino",
            "pytest",
            "safetensors",
            "scipy",
            "tensorflow",
            "tinygrad",
            "torch",
        },
    ),
    "bench": (
        {
            "__init__",
            "backends",
            "costs",
            "figures",
            "geometry",
            "memory",
            "models",
            "nn",
            "optim",
            "testing",
            "workers",
        },
        {"jax", "llvmlite", "matplotlib", "numba", "onnx", "onnxruntime", "rich", "tensorflow", "torch"},
    ),
    "explain": ({"backends", "costs", "geometry", "kernels", "ops", "reference"}, {"matplotlib"}),
    "cli": (None, {"typer", "rich", "matplotlib", "PIL", "sklearn", "tensorboardX"}),  # anything of npconv
}

# Loading these takes seconds or needs an extra: only on first use.
HEAVY = ["numba", "hypothesis", "typer", "rich", "matplotlib", "sklearn", "safetensors", "torch"]


def room(module):
    """The first part of a name inside npconv: a folder or a file; what is neither is in npconv/__init__.py."""
    first = module.split(".")[0]
    return first if first in MODULES or f"{first}.__init__" in MODULES else "__init__"


def imports(path):
    """The full names of all modules that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if node.module == "npconv":
                yield from (f"npconv.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_import_only_what_their_room_may(module):
    assert room(module) in MAY_IMPORT, f"{module} is in no row of MAY_IMPORT"
    rooms, packages = MAY_IMPORT[room(module)]
    for name in imports(MODULES[module]):
        package, _, inner = name.partition(".")
        if package == "npconv":
            assert rooms is None or room(inner) in rooms | {room(module)}, f"{module} imports {name}"
        else:
            assert package in packages | {"numpy"} | sys.stdlib_module_names, f"{module} imports {name}"


def test_only_the_strategies_need_hypothesis():
    """No extra but `test` installs it, so what the other extras are for must do without."""
    for module, path in MODULES.items():
        found = [name for name in names_of(path) if name.startswith(("hypothesis", "npconv.testing.strategies"))]
        assert not found or module == "testing.strategies", f"{module} imports {found}"


@pytest.mark.parametrize("module", ["workers", "testing.bounds", "testing.gradients"])
def test_some_import_nothing_of_npconv(module):
    assert not [name for name in imports(MODULES[module]) if name.startswith("npconv")]


def files(module, name):
    """The files that running `name`, which a file imports, loads: the module itself, or the package that it is in."""
    known = {other.removesuffix(".__init__"): other for other in MODULES if other != "__init__"} | {"": "__init__"}
    inner = name.removeprefix("npconv").removeprefix(".")
    found = known.get(inner, known.get(inner.rpartition(".")[0]))
    return set() if found in (None, module) else {found}


@functools.cache
def graph():
    """{file: the files that it imports}, at its top, inside a function or for its types."""
    found = {}
    for module, path in MODULES.items():
        names = {name for name in names_of(path) if name.partition(".")[0] == "npconv"}
        found[module] = set().union(*(files(module, name) for name in names))
    return found


def names_of(path):
    """The full names of all that a file imports, those of a `from` import one by one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def circle(imported):
    """Files that import each other in a circle, or an empty list: what is left when whoever imports nothing is dropped."""
    left = dict(imported)
    while done := {module for module, others in left.items() if not others & left.keys()}:
        left = {module: others for module, others in left.items() if module not in done}
    path = sorted(left)[:1]
    while path and path.count(path[-1]) == 1:
        path.append(min(left[path[-1]] & left.keys()))
    return path[path.index(path[-1]) :] if path else []


def test_no_files_import_each_other_in_a_circle():
    assert circle(graph()) == []


@pytest.mark.parametrize(
    ("importer", "imported"), [("nn.layer", "nn.fold"), ("testing.bounds", "check.running"), ("backends", "__init__")]
)
def test_a_circle_is_found(importer, imported):
    planted = {module: set(others) for module, others in graph().items()}
    planted[importer].add(imported)
    found = circle(planted)
    assert len(found) > 2
    assert found[0] == found[-1]
    assert imported in planted[importer]
    assert all(after in planted[before] for before, after in itertools.pairwise(found))


def test_no_file_hides_the_function_of_its_name():
    """pytest sets a file that it imports for its doctests as an attribute of the package: see conftest.py."""
    for package in (npconv.check, npconv.kernels, npconv.models, npconv.ops, npconv.reference):
        assert not [name for name in package.__all__ if inspect.ismodule(getattr(package, name))], package


def test_neither_backend_knows_the_other():
    """But for an optimiser's update of few numbers, which is NumPy's on either."""
    for module, path in MODULES.items():
        for other in {"reference": ["npconv.kernels"], "kernels": ["npconv.reference"]}.get(room(module), []):
            found = [name for name in imports(path) if name.startswith(other)]
            assert not found or module == "kernels.optimization"


def run(code, *options):
    """What a fresh Python prints."""
    result = subprocess.run([sys.executable, "-B", *options, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("module", ["npconv", "npconv.testing", "npconv.nn", "npconv.models", "npconv.costs"])
def test_importing_loads_nothing_heavy(module):
    loaded = run(f"import {module}, sys; print(*(name.split('.')[0] for name in sys.modules))").split()
    assert "npconv" in loaded
    assert not set(HEAVY) & set(loaded)


def test_a_numpy_operator_loads_nothing_heavy():
    code = "import numpy as np, npconv, sys\nwith npconv.backend('numpy'): npconv.relu(np.ones(1))\nprint(*sys.modules)"
    assert not set(HEAVY) & set(run(code).split())


def test_importing_warns_of_nothing():
    run("import npconv", "-W", "error")


def test_importing_touches_neither_network_nor_processes_nor_files():
    """Every such act of Python raises an audit event; opening to read is what importing is."""
    run(
        """
import os, sys
import numpy

def refuse(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event.split(".")[0] in ("socket", "subprocess", "urllib", "shutil", "tempfile") or event in ("os.system", "os.mkdir", "os.remove", "os.rename"):
        raise RuntimeError(f"{event} {args}")

sys.addaudithook(refuse)
import npconv
npconv.current_backend()
"""
    )


def test_public_names_are_spelled_once():
    """And all of them exist, in sorted lists that a reader can search."""
    from npconv import kernels, ops, reference, testing

    for module in (npconv, ops, reference, kernels, testing):
        assert len(set(module.__all__)) == len(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
    for module in (ops, reference, kernels, testing):
        assert module.__all__ == sorted(module.__all__)
    assert set(npconv.__all__) == {*ops.__all__, "backend", "current_backend", "show_config", "winograd"}


def test_only_jit_leans_on_numbas_inner_workings():
    """`numba.core` and `numba.np` may change with any release: `kernels/jit` says on which ones it was tested."""
    vectors = "kernels.vectors"  # emits instructions, for which Numba has no outer door
    allowed = {vectors, "bench.peaks"}
    for module, path in MODULES.items():
        inner = [name for name in imports(path) if name.startswith(("numba.core", "numba.np", "numba._"))]
        assert not inner or module in allowed or module.startswith("kernels.jit"), f"{module} imports {inner}"


# What opens, reads or writes a file by its name, and the files that may: each has a reason of its own to.
OPENS = {
    "open",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "ZipFile",
    "load_npz",
    "fromfile",
    "savefig",
    "tofile",
    "savez",
}
MAY_OPEN = {
    "files": "the others ask it",
    "figures": "into memory",
    "kernels.jit.cache": "it has rules of its own",
    "geometry.fitting": "/proc and /sys",
    "data.npz": "a part of an archive that is open",
    "data.pictures": "Pillow's, of a file that was looked at",
}


def opened(path):
    """The calls in a file that open one by its name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in OPENS and not (called == "ZipFile" and getattr(node.args[0], "id", "") == "stream"):
                yield f"{called} in line {node.lineno}"


def test_one_module_opens_files():
    """So that a FIFO, a link, a full disk or a file without an end is a sentence wherever it is met."""
    found = {module: list(opened(path)) for module, path in MODULES.items()}
    assert {module for module, calls in found.items() if calls} == set(MAY_OPEN), found


def test_instructions_are_emitted_by_the_expression_layer_alone():
    """LLVM's prefix notation stays in one file, and kernels are small enough to be read."""
    for module, path in MODULES.items():
        if not module.startswith("kernels"):
            continue
        text = path.read_text(encoding="utf-8")
        assert module == "kernels.vectors" or "builder." not in text, f"{module} emits instructions by itself"
        assert len(text.splitlines()) <= 400, f"{module} is too long"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                decorators = {getattr(decorator, "id", "") for decorator in node.decorator_list}
                if "compiled" in decorators:
                    assert len(node.args.args) <= 14, f"{module}.{node.name} takes too many arguments"
