"""The page of deviations: every program on it still prints what the page says, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from required import framework

import npconv.check

PAGE = Path(npconv.check.__file__).parent / "DEVIATIONS.md"
MODULES = {
    "PyTorch": "torch",
    "TensorFlow": "tensorflow",
    "ONNX Runtime": "onnxruntime",
    "ONNX": "onnx",
    "OpenVINO": "openvino",
    "tinygrad": "tinygrad",
    "JAX": "jax",
}


class Deviation(NamedTuple):
    """A section of the page."""

    framework: str
    version: str
    title: str
    program: str
    outputs: list[str]
    """What it may print: one output for each kind of processor that makes a difference."""


def deviations() -> list[Deviation]:
    found = []
    for chapter in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, *sections = re.split(r"^### ", chapter, flags=re.MULTILINE)
        name, _, version = heading.partition("\n")[0].rpartition(" ")
        for section in sections:
            title = section.partition("\n")[0]
            program, outputs = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("python", "text"))
            assert len(program) == 1, f"{title} needs one program"
            assert outputs, f"{title} needs what its program prints"
            found.append(Deviation(name, version, title, program[0], outputs))
    return found


@pytest.mark.parametrize("deviation", deviations(), ids=lambda deviation: deviation.title)
def test_the_program_prints_what_the_page_says(deviation: Deviation) -> None:
    module = framework(MODULES[deviation.framework])
    version = getattr(module, "__version__", None) or importlib.metadata.version(module.__name__)  # tinygrad has none
    installed = re.split("[+-]", version)[0]
    if installed != deviation.version and not os.environ.get("NPCONV_REQUIRE_FRAMEWORKS"):
        pytest.skip(f"the page is about {deviation.framework} {deviation.version}, {installed} is installed")
    result = subprocess.run([sys.executable, "-c", deviation.program], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split() in [output.split() for output in deviation.outputs], result.stdout
