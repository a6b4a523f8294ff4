"""The run: a process for each framework and number of threads, values compared, then turns in rounds.

for row in run(plan):
    print(row.case.shape, row.direction, row.ratio("torch"))
"""

from __future__ import annotations

import contextlib
import importlib.util
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from npconv.bench.cases import Case, Direction
from npconv.bench.networks import Network, Pass
from npconv.bench.peers import C_ORDER, OWN, PLACES
from npconv.bench.processes import environment
from npconv.geometry import Array
from npconv.testing.bounds import error_in_bounds
from npconv.workers import Worker, WorkerError

Contestant: TypeAlias = tuple[str, int]
"""A peer on a number of threads: one process."""

TIMEOUT = 600.0  # seconds: a first call may import a framework, or compile every kernel or a network


class Plan(NamedTuple):
    """What is run: each case in each direction on each number of threads, against each of the peers."""

    cases: Sequence[Case | Network]
    directions: Sequence[Direction | Pass] = ("forward", "backward")
    peers: Sequence[str] = ("torch", "torch_channels_last")
    threads: Sequence[int] = (1,)
    dtype: str = "float32"
    rounds: int = 5
    seconds: float = 0.1
    seed: int = 0

    @property
    def rows(self) -> list[tuple[Case | Network, Any]]:
        """The cases with those of the directions that they have."""
        return [
            (case, direction) for case in self.cases for direction in self.directions if direction in case.directions
        ]


class Spread(NamedTuple):
    """The median of a figure's rounds, and its extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


class Row(NamedTuple):
    """One case in one direction on one number of threads.

    Attributes
    ----------
    seconds : mapping of peer to list of float
        One time per round: the lower quartile of the calls of its turn, since whatever disturbs a call makes it longer.
    problems : mapping of peer to str
        Why a peer has no time: what it raised, or how its values differ.
    """

    case: Case | Network
    direction: Any
    threads: int
    seconds: Mapping[str, list[float]]
    problems: Mapping[str, str]

    @property
    def best(self) -> str | None:
        """The fastest of the other frameworks, by the median of its rounds."""
        others = [peer for peer in self.seconds if peer not in (OWN, C_ORDER)]
        return min(others, key=lambda peer: statistics.median(self.seconds[peer]), default=None)

    def ratio(self, peer: str, own: str = OWN) -> Spread | None:
        """How many times as long `peer` takes as npconv, round by round."""
        if own not in self.seconds or peer not in self.seconds:
            return None
        pairs = zip(self.seconds[peer], self.seconds[own], strict=True)
        return Spread.of([theirs / ours for theirs, ours in pairs])


def installed(peer: str) -> bool:
    """Whether the framework that `peer` needs can be imported."""
    if peer == C_ORDER:
        return True
    module = PLACES[peer].partition(":")[0].rpartition(".")[2]
    return importlib.util.find_spec(module) is not None


def run(plan: Plan) -> Iterator[list[Row]]:
    """Run the plan; the rows of one case and direction, one per number of threads, come together."""
    with contextlib.ExitStack() as stack:
        workers = {
            (peer, threads): stack.enter_context(Worker(timeout=TIMEOUT, environment=environment(threads)))
            for threads in plan.threads
            for peer in (OWN, *plan.peers)
        }
        for case, direction in plan.rows:
            yield _race(plan, workers, case, direction)


def _race(plan: Plan, workers: Mapping[Contestant, Worker], case: Case | Network, direction: Any) -> list[Row]:
    """Compare, then take turns; who raises, dies or is wrong drops out, and the row says why."""
    job = (case, direction, plan.seed, plan.dtype)
    times: dict[Contestant, list[float]] = {}
    problems: dict[Contestant, str] = {}
    most = max(plan.threads)
    try:
        expected = workers[OWN, most].call("npconv.bench.timing:expect", most, *job)
    except WorkerError as error:
        problems = {(OWN, threads): _sentence(error) for threads in plan.threads}
        workers = {}
    for (peer, threads), worker in workers.items():
        try:
            problem = compare(worker.call("npconv.bench.timing:prepare", PLACES[peer], threads, *job), expected)
        except WorkerError as error:
            problem = _sentence(error)
        if problem:
            problems[peer, threads] = problem
        else:
            times[peer, threads] = []
    for number in range(plan.rounds):
        order = list(times)
        start = number % max(len(order), 1)
        for one in order[start:] + order[:start]:  # nobody is always first
            try:
                calls = workers[one].call("npconv.bench.timing:measure", plan.seconds)
            except WorkerError as error:
                del times[one]
                problems[one] = _sentence(error)
            else:
                times[one].append(_lower_quartile(calls))
    return [
        Row(
            case,
            direction,
            threads,
            {peer: seconds for (peer, number), seconds in times.items() if number == threads},
            {peer: problem for (peer, number), problem in problems.items() if number == threads},
        )
        for threads in plan.threads
    ]


def compare(values: Sequence[Array], expected: Sequence[tuple[Array, Array]]) -> str:
    """How `values` differ from what they should be; "" where each is within its bound."""
    if len(values) != len(expected):
        return f"{len(values)} values where {len(expected)} are expected"
    for place, (value, (exact, bound)) in enumerate(zip(values, expected, strict=True)):
        if value.shape != exact.shape:
            return f"value {place} has the shape {value.shape}, expected {exact.shape}"
        worst = float(error_in_bounds(value, exact, bound).max(initial=0))
        if not worst <= 1:
            return f"value {place} is wrong: an error of {worst:.3g} bounds"
    return ""


def _sentence(error: WorkerError) -> str:
    return f"{error.name}: {error}" if error.name not in ("", "NotImplementedError") else str(error)


def _lower_quartile(calls: Sequence[float]) -> float:
    return sorted(calls)[(len(calls) - 1) // 4]
