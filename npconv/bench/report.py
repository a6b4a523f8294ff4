"""What a run says: a table of every row, the geometric means of the ratios, and the same as JSON."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from npconv.bench.cases import Case
from npconv.bench.machine import Machine
from npconv.bench.networks import Network
from npconv.bench.peers import C_ORDER, OWN, TORCH_LAYOUTS
from npconv.bench.run import Row, Spread

Machines = dict[int, Machine]
LONG = 1e-3  # seconds of work that a second thread should halve


def table(rows: Sequence[Row], machines: Machines, dtype: str) -> Table:
    """A line for each row: time, rates, share of what the machine can do, ratio to the best peer with its spread."""
    scaled = len(machines) > 1
    made = Table("op", "network", "shape", "direction", box=None, pad_edge=False)
    numbers = ["ms", "GF/s", "GB/s", "share", "of", "best peer", "its ms", "ratio", "min..max"]
    for heading in [*["threads"] * scaled, *numbers, *["scaling"] * scaled]:
        made.add_column(heading, justify="left" if heading in ("of", "best peer") else "right")
    scaling = _scaling(rows)
    for row in rows:
        cells = [row.case.op, row.case.network, row.case.shape, row.direction]
        cells += [str(row.threads)] * scaled
        cells += _own(row, machines[row.threads], dtype) + _best(row)
        made.add_row(*cells, *[scaling.get(_key(row), "")] * scaled)
    return made


def _own(row: Row, machine: Machine, dtype: str) -> list[str]:
    """npconv's time, its rates, its share of the machine's limit, and which limit that is."""
    if OWN not in row.seconds:
        return [""] * 5
    cost = row.case.cost(row.direction, np.dtype(dtype).itemsize)
    seconds = statistics.median(row.seconds[OWN])
    rates = [f"{number / seconds / 1e9:.1f}" if number else "" for number in (cost.flops, cost.bytes_moved)]
    limit = "copy" if machine.is_memory_bound(cost) else "FMA"
    return [f"{1e3 * seconds:.3f}", *rates, f"{machine.limit(cost) / seconds:.0%}", limit]


def _best(row: Row) -> list[str]:
    """The best peer, its time, and npconv's ratio to it."""
    if row.best is None:
        return [""] * 4
    cells = [row.best, f"{1e3 * statistics.median(row.seconds[row.best]):.3f}"]
    ratio = row.ratio(row.best)
    return [*cells, *((f"{ratio.median:.2f}", f"{ratio.low:.2f}..{ratio.high:.2f}") if ratio else ("", ""))]


def _scaling(rows: Iterable[Row]) -> dict[tuple[Any, ...], str]:
    """How many times as fast npconv is as on the fewest threads of the run, by `_key`."""
    times = _own_times(rows)
    fewest = min((threads for *_, threads in times), default=1)
    return {
        (case, direction, threads): f"{times[case, direction, fewest] / seconds:.2f}"
        for (case, direction, threads), seconds in times.items()
        if threads != fewest and (case, direction, fewest) in times
    }


def _own_times(rows: Iterable[Row]) -> dict[tuple[Any, ...], float]:
    """npconv's times, by `_key`."""
    return {_key(row): statistics.median(row.seconds[OWN]) for row in rows if OWN in row.seconds}


def _key(row: Row) -> tuple[Any, ...]:
    return row.case, row.direction, row.threads


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of ratios: that of 2 and 1/2 is 1.

    >>> geometric_mean([4.0, 0.25, 8.0])
    2.0
    """
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


def means(rows: Sequence[Row], machines: Machines) -> Table:
    """A line for each operator and direction, and one for all: the ratios' geometric mean and least, to the best peer and to each.

    Where PyTorch ran in both its layouts, the faster of the two for each shape is a peer as well; where npconv ran in C order
    too, so is PyTorch beside that.
    """
    peers = list(dict.fromkeys(peer for row in rows for peer in (*row.seconds, *row.problems) if peer != OWN))
    against: dict[str, Callable[[Row], Spread | None]] = {"best": lambda row: row.ratio(row.best) if row.best else None}
    if set(TORCH_LAYOUTS) <= set(peers):
        against["faster torch"] = lambda row: min(filter(None, map(row.ratio, TORCH_LAYOUTS)), default=None)
    if {C_ORDER, TORCH_LAYOUTS[0]} <= set(peers):
        against["both in C order"] = lambda row: row.ratio(TORCH_LAYOUTS[0], C_ORDER)
    against |= {peer: functools.partial(Row.ratio, peer=peer) for peer in peers}
    made = Table("op", "direction", "threads", "rows", box=None, pad_edge=False)
    for heading in against:
        made.add_column(heading, justify="right")
    for op in [*dict.fromkeys(row.case.op for row in rows), "all"]:
        for direction in dict.fromkeys(row.direction for row in rows):
            for threads in machines:
                chosen = [
                    row
                    for row in rows
                    if op in ("all", row.case.op) and (row.direction, row.threads) == (direction, threads)
                ]
                if chosen:
                    cells = (_mean(map(ratio, chosen)) for ratio in against.values())
                    made.add_row(op, direction, str(threads), str(len(chosen)), *cells)
    return made


def _mean(ratios: Iterable[Spread | None]) -> str:
    medians = [ratio.median for ratio in ratios if ratio is not None]
    return f"{geometric_mean(medians):.2f} ({min(medians):.2f}, {len(medians)})" if medians else "-"


class _Kind(NamedTuple):
    """Cases that one of the machine's limits should explain: which they are, and whether it is that of computing."""

    name: str
    has: Callable[[Case], bool]
    computes: bool

    def share(self, row: Row, machine: Machine, dtype: str) -> float:
        """The limit's time by npconv's."""
        cost = row.case.cost(row.direction, np.dtype(dtype).itemsize)
        least = cost.flops / machine.flops if self.computes else cost.bytes_moved / machine.bandwidth(cost.bytes_moved)
        return least / statistics.median(row.seconds[OWN])


_KINDS = (
    _Kind("1x1 of 128 channels or more", lambda case: case.op == "pointwise" and _channels(case) >= 128, True),
    _Kind(
        "3x3 of 64 channels or more",
        lambda case: (case.op, case.kernel) == ("standard", 3) and _channels(case) >= 64,
        True,
    ),
    _Kind(
        "depthwise 3x3 of 56x56 or more",
        lambda case: (case.op, case.kernel) == ("depthwise", 3) and case.size >= 56,
        False,
    ),
)


def _channels(case: Case) -> int:
    return min(case.in_channels, case.out_channels)


def shares(rows: Sequence[Row], machines: Machines, dtype: str) -> list[str]:
    """A sentence for each kind of shape that only the machine should limit: its shares of the peak, or of copying.

    Winograd's 3x3 multiplies less than is counted, and may be above the peak.
    """
    lines = []
    for kind in _KINDS:
        for direction in dict.fromkeys(row.direction for row in rows):
            for threads, machine in machines.items():
                found = [
                    kind.share(row, machine, dtype)
                    for row in rows
                    if (row.direction, row.threads) == (direction, threads)
                    and OWN in row.seconds
                    and isinstance(row.case, Case)
                    and kind.has(row.case)
                ]
                if found:
                    lines.append(
                        f"{kind.name}, {direction}, {_threads(threads)}: {min(found):.0%} to {max(found):.0%} of the "
                        f"{'FMA peak' if kind.computes else 'copy bandwidth'}, median {statistics.median(found):.0%}, "
                        f"{len(found)} shape{'s' * (len(found) > 1)}"
                    )
    return lines


def scalings(rows: Iterable[Row], machines: Machines) -> list[str]:
    """How several threads serve npconv where one takes long enough to tell, and beside it a plain matrix product."""
    lines = []
    fewest = machines[min(machines)]
    times = _own_times(rows)
    for threads, machine in machines.items():
        if threads == fewest.threads:
            continue
        product = f"a matrix product is {fewest.product / machine.product:.2f}x as fast"
        gains = [
            seconds / times[case, direction, threads]
            for (case, direction, number), seconds in times.items()
            if number == fewest.threads and seconds > LONG and (case, direction, threads) in times
        ]
        if gains:
            product += (
                f", shapes of over {1e3 * LONG:g} ms are {geometric_mean(gains):.2f}x on the geometric mean, "
                f"{min(gains):.2f}x to {max(gains):.2f}x, {len(gains)} of them"
            )
        lines.append(f"{_threads(threads)} against {fewest.threads}: {product}")
    return lines


def notes(rows: Iterable[Row]) -> list[str]:
    """What a figure does not say by itself."""
    if any(isinstance(row.case, Network) and row.direction == "forward" for row in rows):
        return ["forward: npconv's networks as `predict` runs them, batch norms folded; the others' in evaluation mode"]
    return []


def _threads(number: int) -> str:
    return f"{number} thread{'s' * (number > 1)}"


def problems(rows: Iterable[Row]) -> list[str]:
    """A sentence for each peer and case without a time, those of one peer with the same words once."""
    where: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for peer, problem in row.problems.items():
            where.setdefault((peer, problem.strip().splitlines()[0][:200]), []).append(
                f"{row.case.op} {row.case.shape} {row.direction}"
            )
    return [
        f"{peer}: {problem} ({places[0]}" + (f" and {len(places) - 1} more)" if len(places) > 1 else ")")
        for (peer, problem), places in where.items()
    ]


def as_json(rows: Sequence[Row], machines: Machines, dtype: str) -> dict[str, Any]:
    """Everything, in seconds, flops and bytes."""
    return {
        "dtype": dtype,
        "machine": [machine._asdict() for machine in machines.values()],
        "rows": [_described(row, machines[row.threads], dtype) for row in rows],
    }


def _described(row: Row, machine: Machine, dtype: str) -> dict[str, Any]:
    cost = row.case.cost(row.direction, np.dtype(dtype).itemsize)
    ratios = {peer: row.ratio(peer) for peer in row.seconds if peer != OWN}
    return {
        **row.case._asdict(),
        "shape": row.case.shape,
        "direction": row.direction,
        "threads": row.threads,
        "flops": cost.flops,
        "bytes": cost.bytes_moved,
        "limit_seconds": machine.limit(cost),
        "seconds": dict(row.seconds),
        "problems": dict(row.problems),
        "best": row.best,
        "ratios": {peer: ratio._asdict() for peer, ratio in ratios.items() if ratio},
    }


def machine_lines(machines: Machines, dtype: str) -> list[str]:
    """What the shares are shares of."""
    return [
        f"this machine, {dtype}, {_threads(machine.threads)}: "
        f"{machine.flops / 1e9:.0f} GF/s of fused multiply-adds, copies at "
        f"{' '.join(f'{rate / 1e9:.0f}' for _, rate in machine.copies)} GB/s for {_bytes(machine.copies[0][0])} to "
        f"{_bytes(machine.copies[-1][0])} moved, "
        f"a matrix product in {1e3 * machine.product:.1f} ms"
        for machine in machines.values()
    ]


def _bytes(number: int) -> str:
    return f"{number >> 20} MiB" if number >> 20 else f"{number >> 10} KiB"
