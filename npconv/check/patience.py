"""How often a checked function may hang or end its process before it is called no more."""

from __future__ import annotations

from collections import Counter

from npconv.check.adapters import Unsupported

PATIENCE = {"hang": 3, "death": 10}  # of an operator and direction: each costs a timeout, or another import


class Patience:
    """Counts the calls that were lost, by operator, direction and kind."""

    def __init__(self) -> None:
        self.lost: Counter[tuple[str, str, str]] = Counter()

    def check(self, op: str, direction: str) -> None:
        """Raise Unsupported where it is exhausted."""
        for kind, most in PATIENCE.items():
            if self.lost[op, direction, kind] >= most:
                raise Unsupported(f"not called any more: {most} calls ended in a {kind}")

    def lasts(self, more: Counter[tuple[str, str, str]]) -> bool:
        """Whether it is exhausted nowhere, and would not be after as many `more`."""
        return all(count < PATIENCE[kind] for (_, _, kind), count in (self.lost + more).items())
