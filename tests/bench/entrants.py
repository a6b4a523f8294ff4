"""Peers that are no framework: one that is right, and some that a run has to see through."""

from __future__ import annotations

import os
import time

from npconv.bench.peers import Work
from npconv.bench.peers.own import Npconv


class Slow(Npconv):
    """Right, and 20 ms late."""

    def work(self, case, direction, arrays):
        run, numpy = super().work(case, direction, arrays)

        def late():
            time.sleep(0.02)
            return run()

        return Work(late, numpy)


class Wrong(Npconv):
    """One number is off by a thousandth of itself."""

    def work(self, case, direction, arrays):
        run, numpy = super().work(case, direction, arrays)

        def off(value):
            values = [array.copy() for array in numpy(value)]
            values[-1].flat[0] *= 1.001
            return values

        return Work(run, off)


class Refusing(Npconv):
    """Cannot do it."""

    def work(self, case, direction, arrays):
        raise NotImplementedError(f"no {direction} here")


class Dying(Npconv):
    """Ends its process on the third call: it is right, and then gone."""

    calls = 0

    def work(self, case, direction, arrays):
        run, numpy = super().work(case, direction, arrays)

        def last():
            self.calls += 1
            if self.calls == 3:
                os._exit(7)
            return run()

        return Work(last, numpy)
