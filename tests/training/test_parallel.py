"""Training on several processes, here threads: the same network as by one, exactly where numbers are whole."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import numpy as np
import pytest

import npconv
from npconv import nn, optim
from npconv.data import from_arrays, random_shift
from npconv.training import Interrupted, Plan, Processes, alone, train, world
from npconv.training.parallel import add_up, share

SIZES = pytest.mark.parametrize("size", [1, 2, 3, 4])


class Team:
    """Threads that stand for processes."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier = size, threading.Barrier(size, timeout=60)
        self.arrays: list[np.ndarray] = [np.zeros(0)] * size

    def run(self, work: Callable[[Processes], object]) -> list[object]:
        """What `work` gives in each of them."""
        results: list[object] = [None] * self.size

        def member(rank: int) -> None:
            try:
                with npconv.backend("numpy"):
                    results[rank] = work(Member(self, rank))
            except BaseException as error:
                results[rank] = error

        threads = [threading.Thread(target=member, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


class Member:
    """One of them."""

    def __init__(self, team: Team, rank: int) -> None:
        self.team, self.rank, self.size = team, rank, team.size

    def total(self, array: np.ndarray) -> np.ndarray:
        self.team.arrays[self.rank] = np.array(array, np.float64)
        self.team.barrier.wait()
        result = self.team.arrays[0].copy()
        for other in self.team.arrays[1:]:
            result += other
        self.team.barrier.wait()
        return result

    def abort(self) -> None:
        self.team.barrier.abort()


def plain(rng: np.random.Generator) -> nn.Layer:
    """A network of sums and products alone."""
    net = nn.Sequential(conv=nn.Conv2d(1, 3, 3, rng=rng), flatten=nn.Flatten(), head=nn.Linear(3 * 9, 2, rng=rng))
    for _, array in net.named_params():
        array[...] = rng.integers(-3, 4, array.shape)
    return net


@SIZES
def test_whole_numbers_give_the_same_gradients_exactly(size: int) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.integers(-3, 4, (7, 1, 5, 5)).astype(np.float32), rng.integers(-3, 4, (7, 2)).astype(np.float32)

    def work(processes: Processes) -> dict[str, np.ndarray]:
        net, own = plain(np.random.default_rng(1)), share(7, processes)
        net(x[own])
        net.backward_params(dy[own])
        grads = dict(net.named_grads())
        count, _ = add_up(list(grads.values()), (len(dy[own]), 1.0), processes)
        assert count == 7
        return grads

    with npconv.backend("numpy"):
        (expected,) = Team(1).run(work)
    for grads in Team(size).run(work):
        assert isinstance(grads, dict)
        for name, grad in grads.items():
            np.testing.assert_array_equal(grad, expected[name])  # type: ignore[index]


RNG = np.random.default_rng(0)
DATA = from_arrays(RNG.standard_normal((43, 6, 6)), np.arange(43) % 3, name="noise", seed=0)


def network() -> nn.Layer:
    rng, dtype = np.random.default_rng(3), np.float64
    return nn.Sequential(
        conv=nn.Conv2d(1, 4, 3, rng=rng, dtype=dtype), bn=nn.BatchNorm2d(4, dtype=dtype), relu=nn.ReLU(),
        drop=nn.Dropout(0.3, rng=rng), flatten=nn.Flatten(), head=nn.Linear(64, 3, rng=rng, dtype=dtype),
    )  # fmt: skip


def learn(processes: Processes) -> tuple[dict[str, np.ndarray], list[object]]:
    model = network()
    records = train(
        model, DATA, optim.SGD(0.1, momentum=0.9, clip=1.0), Plan(3, 8, 0.1, random_shift), rng=np.random.default_rng(5),
        processes=processes,
    )  # fmt: skip
    return model.state(), [record._replace(seconds=0) for record in records]


@pytest.mark.parametrize("size", [2, 4])
def test_several_train_the_same_network_as_one(size: int) -> None:
    ((state, records),) = Team(1).run(learn)  # type: ignore[misc]
    for other_state, other_records in Team(size).run(learn):  # type: ignore[misc]
        for name, array in state.items():
            np.testing.assert_allclose(other_state[name], array, rtol=0, atol=1e-11 * max(np.abs(array).max(), 1))
        for record, other in zip(records, other_records, strict=True):
            np.testing.assert_allclose(other, record, rtol=1e-11)


def test_all_stop_at_the_step_at_which_one_wants_to() -> None:
    stopped: list[int] = []

    def work(processes: Processes) -> None:
        optimizer = optim.SGD(0.1)
        try:
            train(
                network(), DATA, optimizer, Plan(3, 8), rng=np.random.default_rng(0), processes=processes,
                stop=lambda: processes.rank == 1 and optimizer.steps == 4,
            )  # fmt: skip
        except Interrupted:
            stopped.append(optimizer.steps)

    assert Team(3).run(work) == [None] * 3
    assert stopped == [5, 5, 5]


def test_a_batch_has_an_image_for_each() -> None:
    def work(processes: Processes) -> None:
        train(network(), DATA, optim.SGD(0.1), Plan(1, 3), rng=np.random.default_rng(0), processes=processes)

    for error in Team(4).run(work):
        assert isinstance(error, ValueError)
        assert "batch must have an image for each of 4 processes, got batch=3" in str(error)


@SIZES
def test_shares_are_all_and_as_equal_as_can_be(size: int) -> None:
    members = [Member(Team(size), rank) for rank in range(size)]
    for count in (0, 1, 7, 12):
        parts = [list(range(count))[share(count, member)] for member in members]
        assert list(itertools.chain(*parts)) == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_needs_no_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (alone().rank, alone().size, world().size) == (0, 1, 1)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(__import__("sys").modules, "mpi4py", None)
    with pytest.raises(
        ImportError, match=r"several processes need mpi4py, .* got 2 of them: pip install 'npconv\[mpi\]'"
    ):
        world()
