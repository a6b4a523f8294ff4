"""Networks have one set of names, and a misspelt one is suggested, in every command that takes one."""

from __future__ import annotations

import pytest
from commands import call

from npconv.models import NETWORKS

BEFORE_THE_NAME = {
    "summary": ["summary"],
    "train": ["train", "--model"],
    "sweep": ["sweep", "--models"],
}


@pytest.mark.parametrize("command", BEFORE_THE_NAME)
def test_every_command_knows_the_same_networks(command: str) -> None:
    code, stdout, stderr = call(*BEFORE_THE_NAME[command], "mobilenet")
    assert (code, stdout) == (2, "")
    listed = stderr.partition("must be one of ")[2].partition(", got 'mobilenet'")[0]
    assert set(listed.split(", ")) == set(NETWORKS)
    assert "tiny_mobilenet" in stderr.partition("; did you mean ")[2]


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["summary", "mobilnet_v1"], "did you mean mobilenet_v1"),
        (["summary", "mobilenet"], "tiny_mobilenet"),
        (["summary", "MobileNet-V1"], "did you mean mobilenet_v1"),
        (["summary", "mobilenet_v1", "-O", "widht=2"], "did you mean width?"),
        (["train", "--model", "mobilenett"], "tiny_mobilenet"),
        (["bench", "networks", "--filter", "mobilnet_v1"], "did you mean mobilenet_v1"),
        (["bench", "ops", "--direction", "forwrd"], "did you mean forward?"),
        (["tables", "shufflenett"], "did you mean shufflenet?"),
        (["check", "npconv", "--op", "conf2d"], "did you mean conv2d"),
        (["study", "shufle"], "did you mean shuffle?"),
        (["explain", "conv"], "conv2d"),
        (["show", "conf2d"], "conv2d"),
    ],
)
def test_commands_suggest(words: list[str], suggested: str) -> None:
    code, stdout, stderr = call(*words)
    assert (code, stdout) == (2, "")
    assert stderr.count("\n") == 1
    assert suggested in stderr.partition("; ")[2]


def test_completion_is_on() -> None:
    code, stdout, _ = call("--help")
    assert code == 0
    assert "--install-completion" in stdout
