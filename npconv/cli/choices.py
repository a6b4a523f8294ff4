"""The choices of a recipe as options of a command: `npconv.training.Recipe` names and explains each of them, once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from npconv.backends import BACKENDS
from npconv.cli.words import completion
from npconv.data.augmentation import AUGMENTATIONS
from npconv.data.loading import NAMES
from npconv.models import NETWORKS
from npconv.training import Recipe, read_recipe
from npconv.training.recipe import DTYPES, FIELDS, NO_DECAY, OPTIMIZERS, SCHEDULES, Kind, option_name

NETWORK, DATA, DTYPE = completion(sorted(NETWORKS)), completion(NAMES), completion(DTYPES)
COMPLETED = {
    "model": NETWORK,
    "data": DATA,
    "validation": DATA,
    "test": DATA,
    "optimizer": completion(OPTIMIZERS),
    "schedule": completion(SCHEDULES),
    "no_decay": completion(NO_DECAY),
    "augment": completion(AUGMENTATIONS, several=True),
    "dtype": DTYPE,
    "backend": completion(BACKENDS),
}
"""What a shell completes for a choice."""


def with_choices(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command with a parameter ``**given`` an option for each field of `Recipe`, but for those in `without`.

    `given` then has the values of those that the user chose, by the fields' names, as `Recipe.changed` takes them.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]  # fmt: skip
        positional = [parameter for parameter in own if parameter.kind is not parameter.KEYWORD_ONLY]
        options = [_option(name, kind) for name, kind in FIELDS.items() if name not in without]
        keywords = [parameter for parameter in own if parameter.kind is parameter.KEYWORD_ONLY]

        def run(**values: Any) -> None:
            given = {
                name: tuple(value) if isinstance(value, list) else value
                for name in FIELDS
                if (value := values.pop(name, None)) not in (None, [])
            }
            command(**values, **given)

        run.__doc__, run.__name__ = command.__doc__, command.__name__
        run.__signature__ = inspect.Signature([*positional, *options, *keywords])  # type: ignore[attr-defined]
        return run

    return decorate


def _option(name: str, kind: Kind) -> inspect.Parameter:
    """A parameter of a command; it is None where the user says nothing, for a file may have a say then."""
    choice = kind.choice
    declared = [option_name(name)] if choice.short is None else [option_name(name), choice.short]
    option = typer.Option(
        *declared,
        help=choice.help,
        metavar=choice.metavar,
        autocompletion=COMPLETED.get(name),
        show_default=str(kind.default) if choice.default is None else choice.default,
    )
    wanted: Any = list[str] if kind.several else kind.type
    annotation = Annotated[wanted | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def chosen(config: Path | None, given: dict[str, Any]) -> Recipe:
    """The recipe in the file, if there is one, with what is `given` on the command line, checked."""
    return (Recipe() if config is None else read_recipe(config)).changed(given).checked()
