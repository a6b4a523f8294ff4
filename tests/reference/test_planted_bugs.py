"""A check is worth what it catches: known bugs of convolution code are planted in the reference, and each is found.

The bugs are in planted.py. A bug that forward and backward share is right by every gradient check, a wrong gradient is
none of the forward definition's business, and lost precision hides from whole numbers: so no check is enough alone.
"""

from __future__ import annotations

import checks
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from planted import BUGS, SHARED, in_half_precision, on_argument

import npconv
from npconv import reference
from npconv.testing.strategies import problems, problems_with_dy

CHECKS = {
    "forward": lambda op: (problems(op), checks.check_definition),
    "backward": lambda op: (problems_with_dy(op), lambda case: checks.check_backward_definition(*case)),
    "adjoint": lambda op: (problems_with_dy(op), lambda case: checks.check_adjoint_identity(*case)),
    "differences": lambda op: (
        problems_with_dy(op, np.float64, whole=op in checks.STRAIGHT),
        lambda case: checks.check_differences(*case),
    ),
    "rounding": lambda op: (problems_with_dy(op, whole=False), lambda case: checks.check_rounding(*case)),
}


def catches(check, op):
    """Whether the check raises AssertionError for one of a hundred problems, on the reference."""
    strategy, judge = CHECKS[check](op)

    @settings(
        max_examples=100,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case):
        judge(case)

    try:
        with npconv.backend("numpy"):
            run()
    except AssertionError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(("bug", "check"), [(bug, check) for bug in BUGS for check in BUGS[bug].caught_by])
def test_bug_is_caught(monkeypatch, bug, check):
    primitive, plant, op, _, module = BUGS[bug]
    monkeypatch.setattr(module, primitive, plant(getattr(module, primitive)))
    assert catches(check, op)


@pytest.mark.slow
@pytest.mark.parametrize("bug", SHARED)
def test_a_bug_on_both_sides_is_caught_by_the_definition_alone(monkeypatch, bug):
    for primitive, plant in SHARED[bug].items():
        monkeypatch.setattr(reference, primitive, plant(getattr(reference, primitive)))
    assert catches("forward", "conv2d")
    assert not catches("adjoint", "conv2d")
    assert not catches("differences", "conv2d")


def test_the_inverse_shuffle_is_caught_by_the_definition_alone(monkeypatch):
    """The paper's authors published the inverse permutation: it is as orthogonal as the right one."""
    shuffle, unshuffle = reference.channel_shuffle, reference.channel_unshuffle
    monkeypatch.setattr(reference, "channel_shuffle", unshuffle)
    monkeypatch.setattr(reference, "channel_unshuffle", shuffle)
    assert catches("forward", "channel_shuffle")
    assert not catches("adjoint", "channel_shuffle")


@pytest.mark.slow
@pytest.mark.parametrize("check", ["forward", "backward", "adjoint", "differences"])
def test_whole_numbers_do_not_see_lost_precision(monkeypatch, check):
    plant = on_argument(0, in_half_precision)
    monkeypatch.setattr(reference, "conv2d", plant(reference.conv2d))
    assert not catches(check, "conv2d")


@pytest.mark.slow
@pytest.mark.parametrize("bug", [bug for bug in BUGS if "forward" not in BUGS[bug].caught_by])
def test_the_forward_definition_does_not_see_gradients(monkeypatch, bug):
    primitive, plant, op, _, module = BUGS[bug]
    monkeypatch.setattr(module, primitive, plant(getattr(module, primitive)))
    assert not catches("forward", op)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_without_a_bug_nothing_is_caught(check):
    assert not catches(check, "conv2d")
