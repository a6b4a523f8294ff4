"""The choices of a recipe as a command's options: all of them, once, and only what the user says is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from commands import call
from typer.testing import CliRunner

from npconv.cli.choices import chosen, with_choices
from npconv.training import Recipe
from npconv.training.recipe import option_name

GIVEN: list[dict[str, Any]] = []
app = typer.Typer()


@app.command()
@with_choices("lr")
def command(*, own: Annotated[int, typer.Option()] = 3, **given: Any) -> None:
    """A command."""
    GIVEN.append({"own": own, **given})


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {"own": 3}),
        (["--own", "4", "--batch", "5", "--weight-decay", "0"], {"own": 4, "batch": 5, "weight_decay": 0.0}),
        (
            ["-O", "a=1", "--option", "b=2", "--freeze", "stem"],
            {"own": 3, "option": ("a=1", "b=2"), "freeze": ("stem",)},
        ),
    ],
)
def test_only_what_is_said_is_given(words: list[str], given: dict[str, Any]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 0
    assert GIVEN.pop() == given


def test_an_option_that_the_command_has_no_use_for() -> None:
    assert CliRunner().invoke(app, ["--lr", "1"]).exit_code == 2


def test_help_tells_of_every_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, stdout, _ = call("train", "--help")
    assert code == 0
    for field in dataclasses.fields(Recipe):
        (line,) = (line for line in stdout.splitlines() if f" {option_name(field.name)} " in line.split("<")[0] + " ")
        assert len(line.split()) > 4, line


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("epochs = 5\nbatch = 9")
    recipe = chosen(tmp_path / "run.toml", {"epochs": 6})
    assert (recipe.epochs, recipe.batch, recipe.lr) == (6, 9, 0.2)
