"""The page of deviations: every program on it still prints what the page says, in a process of its own."""

from __future__ import annotations

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
}


class Deviation(NamedTuple):
    """A section of the page."""

    framework: str
    version: str
    title: str
    program: str
    output: str


def deviations() -> list[Deviation]:
    found = []
    for chapter in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, *sections = re.split(r"^### ", chapter, flags=re.MULTILINE)
        name, _, version = heading.partition("\n")[0].rpartition(" ")
        for section in sections:
            title = section.partition("\n")[0]
            program, output = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("python", "text"))
            assert len(program) == len(output) == 1, f"{title} needs one program and its output"
            found.append(Deviation(name, version, title, program[0], output[0]))
    return found


@pytest.mark.parametrize("deviation", deviations(), ids=lambda deviation: deviation.title)
def test_the_program_prints_what_the_page_says(deviation: Deviation) -> None:
    installed = re.split("[+-]", framework(MODULES[deviation.framework]).__version__)[0]
    if installed != deviation.version and not os.environ.get("NPCONV_REQUIRE_FRAMEWORKS"):
        pytest.skip(f"the page is about {deviation.framework} {deviation.version}, {installed} is installed")
    result = subprocess.run([sys.executable, "-c", deviation.program], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split() == deviation.output.split(), result.stdout
