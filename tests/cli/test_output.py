"""One meaning in every command: --json prints JSON and nothing else, and -o FILE writes it into a file as well as printing."""

from __future__ import annotations

import json

import pytest
from commands import call

COMMANDS = [
    ["summary", "tiny_mobilenet"],
    ["tables", "ghostnet"],
    ["explain", "conv2d"],
    ["check", "npconv", "--op", "channel_shuffle", "--cases", "3", "--modes", "exact", "--timeout", "300"],
]


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
