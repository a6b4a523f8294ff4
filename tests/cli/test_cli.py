"""The command line as a whole: version, help, configuration, and what is said where a word or a package is missing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from commands import call, command

import npconv


def output(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_version_and_help_of_the_module() -> None:
    version = output("-m", "npconv", "--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"{npconv.__version__}\n", "")
    listing = output("-m", "npconv", "--help")
    assert listing.returncode == 0
    assert "train" in listing.stdout
    assert "config" in listing.stdout


def test_config() -> None:
    code, stdout, stderr = call("config")
    assert (code, stderr) == (0, "")
    assert f"npconv           {npconv.__version__}\n" in stdout


@pytest.mark.slow
def test_config_of_an_unknown_backend() -> None:
    environment = {**os.environ, "NPCONV_BACKEND": "cuda"}
    for words in (["config"], ["train"], ["bench", "ops"]):
        result = subprocess.run(
            command(*words), capture_output=True, text=True, env=environment, timeout=60, check=False
        )
        assert result.returncode == 2
        assert result.stderr == "npconv: NPCONV_BACKEND must be one of 'numpy', 'numba', got 'cuda'\n"


@pytest.mark.parametrize("package", ["typer", "rich", "matplotlib", "sklearn", "safetensors"])
def test_without_the_extra_the_command_says_what_to_install(package: str) -> None:
    start = f"import sys; sys.modules['{package}'] = None; import npconv.cli; npconv.cli.main()"
    result = output("-c", start, "train")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == 'npconv\'s command line needs its extra: pip install "npconv[train]"\n'


@pytest.mark.parametrize("words", [["train", "--epoch", "3"], ["train", "--epochs", "ten"], ["trian"]])
def test_misspelt_options_and_commands(words: list[str]) -> None:
    code, stdout, stderr = call(*words)
    assert (code, stdout) == (2, "")
    assert "Usage: npconv" in stderr
    assert words[-1] in stderr or words[-2] in stderr
