"""One meaning in every command: --json prints JSON and nothing else, and -o FILE writes it into a file as well as printing."""

from __future__ import annotations

import json

import pytest
import typer
from commands import call

from npconv.cli.app import app

COMMANDS = [
    ["summary", "tiny_mobilenet"],
    ["tables", "ghostnet"],
    ["explain", "conv2d"],
    ["show", "conv2d"],
    ["config"],
    ["runs", "."],
    ["check", "npconv", "--op", "channel_shuffle", "--cases", "3", "--modes", "exact", "--timeout", "300"],
]


def every_command():
    """Each command by its words, with the options that it has."""
    waiting = [((), typer.main.get_command(app))]
    while waiting:
        words, command = waiting.pop()
        if hasattr(command, "commands"):
            waiting += [((*words, name), below) for name, below in command.commands.items()]
        else:
            yield " ".join(words), {name: one for one in command.params for name in one.opts}


@pytest.mark.parametrize("command", dict(every_command()))
def test_every_command_has_both(command):
    options = dict(every_command())[command]
    assert options["-o"] is options["--out"]
    written = options["-o"].metavar
    assert written in ("FILE", "FOLDER", "DIR", "FILE.png")
    assert "--json" in options or written in ("DIR", "FILE.png")  # what makes a folder or a picture and nothing else
    if "--plot" in options:
        assert options["--plot"].metavar == "FILE.png"


@pytest.fixture(autouse=True)
def _numpy(monkeypatch):
    monkeypatch.setenv("NPCONV_BACKEND", "numpy")


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_json_and_out(words, tmp_path):
    file = tmp_path / "told.json"
    code, text, stderr = call(*words, "-o", file)
    assert (code, stderr) == (0, "")
    assert not text.startswith(("{", "["))
    code, printed, stderr = call(*words, "--json")
    assert (code, stderr) == (0, "")
    told, written = json.loads(printed), json.loads(file.read_text(encoding="utf-8"))
    assert type(told) is type(written)
    if words[0] != "check":  # whose times differ
        assert told == written


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_file_that_cannot_be_written_is_found_before_the_work(words):
    code, stdout, stderr = call(*words, "-o", "no/such/folder/told.json")
    assert (code, stdout) == (2, "")
    assert stderr == "npconv: --out must be a file in a folder that exists, got no/such/folder/told.json\n"
