"""Every public name says what it is, what it takes, gives and raises, and where it is from, and has an example that runs."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import re
import typing
from pathlib import Path

import pytest

from npconv.geometry import Array

MODULES = (
    "npconv",
    "npconv.nn",
    "npconv.models",
    "npconv.optim",
    "npconv.training",
    "npconv.data",
    "npconv.weights",
    "npconv.onnx",
    "npconv.layouts",
    "npconv.costs",
    "npconv.papers",
    "npconv.studies",
    "npconv.check",
    "npconv.testing",
    "npconv.explain",
)
PUBLISHED = ("npconv.ops", "npconv.nn", "npconv.models", "npconv.optim", "npconv.costs")
"""Where everything has a source: a paper, a book, another library, or the operator or network of npconv that it is made of."""
RAISE_NOTHING = {
    "npconv.nn.is_frozen",
    "npconv.nn.watch_layers",
    "npconv.training.best_epoch",
    "npconv.data.batch_count",
    "npconv.data.batches",
    "npconv.data.color",
    "npconv.data.flip",
    "npconv.data.in_background",
    "npconv.data.pad_crop",
    "npconv.data.picture_files",
    "npconv.data.random_shift",
    "npconv.data.rotate",
    "npconv.data.take",
    "npconv.testing.map_arrays",
    "npconv.testing.named_arrays",
    "npconv.testing.strategies.dy_like",
    "npconv.testing.strategies.layouts",
    "npconv.explain.window",
}
"""Functions that hand on what they are given, or look at it, and check nothing."""

SOURCE = re.compile(
    r"arXiv|\b(19|20)[0-9]{2}\b|[Ff]igure [0-9]|[Tt]able [0-9]|[Ss]ection [0-9]|Keras|PyTorch|TensorFlow|published"
    r"|`(npconv\.)?([a-z]+\.)?(\w+2d|\w+_v1|\w*(relu|resnet|sigmoid|swish|linear|octave|ghost|shuffle|Conv|Adam|Norm)\w*)`"
)
SECTIONS = {"", "Parameters", "Attributes", "Returns", "Yields", "Raises", "Notes", "Examples"}
ERROR = re.compile(r"[A-Z][A-Za-z]*Error|Interrupted")
DTYPE = re.compile(r"float|dtype|\bint|integer|numbers|\bAs in\b")
OWN = {
    "npconv.nn.Layer",
    "npconv.nn.OperatorLayer",
    "npconv.nn.is_frozen",
    "npconv.nn.predict",
    "npconv.models.load",
    "npconv.models.noted",
    "npconv.optim.Optimizer",
    "npconv.costs.call_cost",
    "npconv.costs.calls_of",
    "npconv.costs.count",
    "npconv.costs.zeros_of",
}
"""What is npconv's own among them."""

WITHOUT_EXAMPLE = {"npconv.onnx.convert", "npconv.onnx.export"}
"""Functions whose result is a file, or an object, of a package that the tests may not have."""


def public(name):
    """(name, function or class) of what a module exports."""
    module = importlib.import_module(name)
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == name and key[0] != "_"]
    for key in getattr(module, "__all__", own):
        value = getattr(module, key)
        if inspect.isroutine(value) or inspect.isclass(value):
            yield f"{name}.{key}", value


def sections(docstring):
    """The sections of a docstring by their titles; what stands before the first one has the title ""."""
    found, title, lines = {"": []}, "", docstring.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if below and set(below) == {"-"} and len(below) >= 3:
            title = line
            found[title] = []
        elif not (line and set(line) == {"-"}):
            found[title].append(line)
    return {title: "\n".join(lines) for title, lines in found.items()}


def entries(section):
    """(names, what is said of them) of a section: of "x, w : arrays" the names are x and w."""
    for block in re.split(r"\n(?=\S)", section):
        names, _, said = block.partition(":")
        yield {word.strip().lstrip("*") for word in re.split(r"[,\n]", names)}, said or block


def heads(section):
    """The names that a section has entries for, as they stand there: of "x, w : arrays" these are x and w."""
    for line in section.splitlines():
        if line and not line[0].isspace():
            yield from (word.strip().strip("*`") for word in line.partition(" :")[0].split(","))


def stray(docstring, parameters):
    """What a docstring says that is not so, or not where it is looked for, in words."""
    parts = sections(docstring)
    found = [f"the section {title}" for title in parts if title not in SECTIONS]
    found += [f"no parameter {name}" for name in heads(parts.get("Parameters", "")) if name not in parameters]
    found += [f"no error {name}" for name in heads(parts.get("Raises", "")) if not ERROR.fullmatch(name)]
    if not parts[""].split("\n\n")[0].rstrip().endswith((".", ":", "``")):
        found.append("a first sentence without an end")
    return found


def is_record(value):
    """Whether it only holds fields: a named tuple, a data class."""
    return inspect.isclass(value) and (hasattr(value, "_fields") or dataclasses.is_dataclass(value))


def is_word(value):
    """Whether there is nothing to call: a protocol, a list of choices, an exception, a type."""
    kinds = (BaseException, enum.Enum)
    return inspect.isclass(value) and (
        issubclass(value, kinds) or getattr(value, "_is_protocol", False) or value.__module__ == "typing"
    )


def explains_itself(record, field):
    """Whether the field's type says what it is, as those of `npconv.training.Recipe` do for the command line."""
    hint = typing.get_type_hints(record, include_extras=True).get(field)
    return any(getattr(part, "help", "") for part in getattr(hint, "__metadata__", ()))


def lacking(name, value):
    """What the docstring of a public name does not say, in words."""
    docstring = inspect.getdoc(value) or ""
    if not docstring or is_word(value):
        return [] if docstring else ["a docstring"]
    parts, signature = sections(docstring), inspect.signature(value)
    glued = re.search(r"\n *\S.*\n(?=(.+)\n-{3,}(\n|$))", docstring)
    if glued:  # Sphinx takes the title for a part of what stands before it
        return [f"a blank line before {glued[1]}"]
    parameters = signature.parameters
    if is_record(value):
        wanted = [field for field in parameters if not field.startswith("_")]
        told = list(entries(parts.get("Attributes", ""))) + list(entries(parts.get("Parameters", "")))
        wanted = [field for field in wanted if not explains_itself(value, field)]
        return [f"the attribute {field}" for field in wanted if not any(field in names for names, _ in told)]
    told, absent = list(entries(parts.get("Parameters", ""))), []
    for parameter in parameters.values():
        said = [about for names, about in told if parameter.name in names]
        if not said:
            absent.append(f"the parameter {parameter.name}")
        elif re.search(r"\bArray(Like)?\b", str(parameter.annotation)) and not re.search(
            "Callable|Mapping", str(parameter.annotation)
        ):
            if not re.search(r"\(|shape|\bAs in\b", said[0]):
                absent.append(f"the shape of {parameter.name}")
            if not DTYPE.search(docstring):
                absent.append(f"the dtype of {parameter.name}")
    if inspect.isroutine(value) and str(signature.return_annotation) not in ("None", "<class 'NoneType'>"):
        absent += [] if "Returns" in parts else ["Returns"]
        if "Array" in str(signature.return_annotation) and not re.search(r"\(|shape|\bAs\b", parts.get("Returns", "(")):
            absent.append("the shape of the result")
    if parameters and name not in RAISE_NOTHING:
        absent += [] if "Raises" in parts else ["Raises"]
    if name not in WITHOUT_EXAMPLE and ">>>" not in parts.get("Examples", ""):
        absent.append("an example")
    if value.__module__.startswith(PUBLISHED) and name not in OWN and not SOURCE.search(docstring):
        absent.append("a source")
    return absent


@pytest.mark.parametrize("module", [*MODULES, "npconv.testing.strategies"])
def test_every_public_name_says_shapes_dtype_errors_and_source(module):
    found = {name: lacking(name, value) for name, value in public(module)}
    assert {name: absent for name, absent in found.items() if absent} == {}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_method_has_a_docstring(module):
    without = [
        f"{name}.{key}"
        for name, value in public(module)
        if inspect.isclass(value)
        for key, method in vars(value).items()
        if key[0] != "_"
        and (inspect.isfunction(method) or isinstance(method, property))
        and not inspect.getdoc(getattr(value, key))
    ]
    assert not without


def test_the_modules_are_all_that_the_reference_of_the_site_shows():
    settings = (Path(__file__).parents[1] / "examples" / "site" / "api.rst").read_text(encoding="utf-8")
    assert set(re.findall(r"^   (npconv[a-z.]*)$", settings, re.MULTILINE)) == set(MODULES)


@pytest.mark.parametrize("module", [*MODULES, "npconv.testing.strategies"])
def test_no_docstring_says_what_is_not_so(module):
    found = {}
    for name, value in public(module):
        if not is_word(value):
            found[name] = stray(inspect.getdoc(value), {*inspect.signature(value).parameters})
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_what_is_not_so_is_found():
    docstring = """No end

    Parameters
    ----------
    x, z : array (N, C)
        With, commas.
    *layers : Layer

    Raises
    ------
    ValueError, when
        It is wrong, or not.

    Hints
    -----
    """
    assert stray(inspect.cleandoc(docstring), {"x", "layers"}) == [
        "the section Hints",
        "no parameter z",
        "no error when",
        "a first sentence without an end",
    ]


def test_what_is_missing_is_found():
    def nothing(x, stride=1): ...

    def half(x: Array, stride: int = 1) -> Array:
        """One sentence.

        Parameters
        ----------
        x : array
        """

    half.__module__ = "npconv.nn.half"
    assert lacking("nothing", nothing) == ["a docstring"]
    assert lacking("half", half) == [
        "the shape of x",
        "the dtype of x",
        "the parameter stride",
        "Returns",
        "Raises",
        "an example",
        "a source",
    ]
