"""The words of the commands: each option that takes some completes them, through the shell's own door."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from commands import call

from npconv.cli.app import app, bench
from npconv.cli.words import completion, some

FREE = {"backward", "device", "filter", "freeze", "mean", "option", "rates", "size", "std", "threads", "weights"}
"""Options that take a text of any kind, or a name that no list has."""


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What bash is told of a line whose last word is unfinished."""

    def complete(line: str) -> list[str]:
        monkeypatch.setenv("_NPCONV_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        code, stdout, stderr = call()
        assert (code, stderr) == (0, "")
        return stdout.split()

    return complete


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("npconv summary tiny_m", ["tiny_mobilenet"]),
        ("npconv train --model tiny_m", ["tiny_mobilenet"]),
        ("npconv train --data fa", ["fashion-mnist"]),
        ("npconv train --data photos", []),  # then the shell completes files
        ("npconv train --validation di", ["digits"]),
        ("npconv train --optimizer ada", ["adam", "adamw"]),
        ("npconv train --schedule co", ["constant", "cosine"]),
        ("npconv train --no-decay de", ["depthwise"]),
        ("npconv train --augment shift,fl", ["shift,flip"]),
        ("npconv train --dtype float6", ["float64"]),
        ("npconv train --backend num", ["numpy", "numba"]),
        ("npconv sweep --models tiny_mobilenet,tiny_s", ["tiny_mobilenet,tiny_shufflenet"]),
        ("npconv predict --model tiny_s", ["tiny_shufflenet"]),
        ("npconv predict --names to", ["torchvision/resnet"]),
        ("npconv evaluate run --part va", ["validation"]),
        ("npconv evaluate run --data dig", ["digits"]),
        ("npconv study sep", ["separable"]),
        ("npconv study --backend numb", ["numba"]),
        ("npconv tables gh", ["ghostnet"]),
        ("npconv explain depth", ["depthwise_conv2d"]),
        ("npconv show depth", ["depthwise_conv2d"]),
        ("npconv check ten", ["tensorflow"]),
        ("npconv check torch --op depth", ["depthwise_conv2d"]),
        ("npconv check torch --modes exact,b", ["exact,bound"]),
        (
            "npconv check torch --arithmetic b",
            ["bfloat16", "bfloat16+winograd-2x2", "bfloat16+winograd-4x4", "bfloat16+fft"],
        ),
        ("npconv check --template to", ["torch"]),
        ("npconv cases depth", ["depthwise_conv2d"]),
        ("npconv cases conv2d --format s", ["safetensors"]),
        ("npconv cases conv2d --dtype float6", ["float64"]),
        ("npconv compile --dtype float3", ["float32"]),
        ("npconv bench ops --direction ba", ["backward"]),
        ("npconv bench ops --peers onn", ["onnxruntime"]),
        ("npconv bench networks --direction forward,s", ["forward,step"]),
        ("npconv bench networks --dtype float6", ["float64"]),
        ("npconv bench accuracy --algorithms kernels,t", ["kernels,torch"]),
    ],
)
def test_the_shell_completes(line: str, words: list[str], completed: Any) -> None:
    assert completed(line) == words


def options() -> Iterator[Any]:
    """(command, parameter, what Typer is told of it) for all that take a text."""
    for command in (*app.registered_commands, *bench.registered_commands):
        assert command.callback is not None
        for name, parameter in inspect.signature(command.callback, eval_str=True).parameters.items():
            kind, info = typing.get_args(parameter.annotation)[:2]
            if not {str, list[str]}.isdisjoint({kind, *typing.get_args(kind)}):
                where = f"{command.callback.__name__} {name}"
                yield pytest.param(name, info, id=where)


@pytest.mark.parametrize(("name", "info"), [*options()])
def test_every_option_that_takes_a_word_completes_it(name: str, info: Any) -> None:
    assert (info.autocompletion is None) == (name in FREE)


def test_what_was_taken_is_not_offered_again() -> None:
    assert completion(["a", "b"], several=True)("") == ["a", "b"]
    assert completion(["a", "b"], several=True)("a,") == ["a,b"]
    assert completion(["a", "b"])("a,") == []


def test_words_of_a_module_are_imported_when_they_are_asked_for() -> None:
    assert completion("npconv.check.comparison:MODES")("bo") == ["bound"]
    assert completion("npconv.check.adapters:known")("tens") == ["tensorflow"]
    completion("npconv.nowhere:WORDS")  # not asked
    with pytest.raises(ModuleNotFoundError):
        completion("npconv.nowhere:WORDS")("")


def test_some_are_known_words_once_each() -> None:
    assert some("--modes", "exact, bound,exact", ("exact", "bound")) == ("exact", "bound")
    with pytest.raises(ValueError, match="--modes must be some of exact, bound, got 'bond'; did you mean bound"):
        some("--modes", "exact,bond", ("exact", "bound"))


def test_the_list_of_texts_is_of_options_that_exist() -> None:
    assert {parameter.values[0] for parameter in options()} >= FREE
