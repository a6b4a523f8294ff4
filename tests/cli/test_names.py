"""Networks have one set of names, and a misspelt one is suggested, in every command that takes one."""

from __future__ import annotations

import pytest
from commands import call

from npconv.geometry import one_of


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    with pytest.raises(ValueError, match=r"^OP must be one of conv2d, linear, got 'xyz'$"):
        one_of("OP", "xyz", ["conv2d", "linear"])


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["summary", "mobilnet_v1"], "did you mean mobilenet_v1"),
        (["summary", "mobilenet"], "tiny_mobilenet"),
        (["summary", "MobileNet-V1"], "did you mean mobilenet_v1"),
        (["train", "--model", "mobilenett"], "did you mean mobilenet"),
        (["tables", "shufflenett"], "did you mean shufflenet?"),
        (["explain", "conv"], "conv2d"),
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
