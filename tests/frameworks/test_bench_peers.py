"""The frameworks that `npconv bench` times compute what npconv does: every operator, every direction, both dtypes, the networks."""

from __future__ import annotations

import pytest
from required import framework

from npconv.bench.cases import Case
from npconv.bench.networks import NETWORK_CASES
from npconv.bench.peers import C_ORDER, NETWORK_PEERS, PEERS, PLACES
from npconv.bench.processes import environment
from npconv.bench.run import compare
from npconv.bench.timing import expect
from npconv.workers import Worker, WorkerError

CASES = [
    Case("standard", "", 2, 3, 4, 9, 3, 2, 1),
    Case("pointwise", "", 2, 3, 4, 5),
    Case("depthwise", "", 2, 4, 4, 5, 3, 1, 1, 4),
    Case("depthwise", "", 1, 4, 4, 7, 5, 2, 2, 4),
    Case("group", "", 1, 4, 6, 5, 3, 1, 1, 2),
    Case("octave", "", 2, 4, 8, 8, 3, 1, 1, alpha=0.5),
    Case("octave", "", 2, 4, 8, 8, 3, 2, 1, alpha=0.25),
    Case("ghost", "", 2, 3, 8, 5, 3, 1, 1, ratio=2),
    Case("shuffle", "", 2, 6, 6, 4, groups=3),
]

# What a framework says that it cannot do; anything else is a failure.
REFUSALS = {
    "onnxruntime": {
        "gradients": (lambda case, direction, dtype: direction != "forward", "no gradients"),
        "float64": (lambda case, direction, dtype: dtype == "float64" and case.op != "shuffle", "implementation"),
    },
    "tensorflow": {
        "grouped gradients": (lambda case, direction, dtype: case.op == "group" and direction != "forward", "group|filter"),
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=PEERS)
def peer(request):
    """(name, worker): the framework in a process of its own."""
    if request.param != C_ORDER:
        framework(PEERS[request.param].partition(":")[0].rpartition(".")[2])
    with Worker(timeout=300, environment=environment(1)) as worker:
        yield request.param, worker


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op} {case.shape}")
def test_operators(peer, case, dtype):
    name, worker = peer
    for direction in case.directions if dtype == "float32" else case.directions[:2]:
        refusals = [text for applies, text in REFUSALS.get(name, {}).values() if applies(case, direction, dtype)]
        job = (case, direction, 0, dtype)
        if refusals:
            with pytest.raises(WorkerError, match=f"(?i){refusals[0]}"):
                worker.call("npconv.bench.timing:prepare", PLACES[name], 1, *job)
        else:
            values = worker.call("npconv.bench.timing:prepare", PLACES[name], 1, *job)
            assert compare(values, expect(1, *job)) == "", direction
            assert all(value.dtype == dtype for value in values)


@pytest.mark.parametrize("network", [case for case in NETWORK_CASES if case.size == 32], ids=lambda case: case.network)
def test_networks(peer, network):
    """torch.compile is left out: it needs a C++ compiler, and a minute for each."""
    name, worker = peer
    for direction in network.directions:
        job = (network._replace(batch=2, size=16), direction, 0, "float32")
        if name in NETWORK_PEERS or name == C_ORDER:
            values = worker.call("npconv.bench.timing:prepare", PLACES[name], 1, *job)
            assert compare(values, expect(1, *job)) == "", direction
        else:
            with pytest.raises(WorkerError, match="beside PyTorch only"):
                worker.call("npconv.bench.timing:prepare", PLACES[name], 1, *job)
