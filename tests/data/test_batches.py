"""Batches hold every image once; what is made in the background comes in order, and its errors too."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from npconv.data import batch_count, batches, in_background, take


@pytest.mark.parametrize(("count", "batch"), [(10, 3), (10, 5), (10, 10), (10, 11), (9, 8), (1, 4), (10, 1)])
def test_batches_hold_every_image_once(count: int, batch: int) -> None:
    x = np.arange(count, dtype=np.float32).reshape(count, 1, 1, 1)
    for rng in (None, np.random.default_rng(0)):
        parts = list(batches(x, np.arange(count), batch, rng=rng))
        sizes = [len(part) for part, _ in parts]
        assert len(parts) == batch_count(count, batch) == -(-count // batch)
        assert max(sizes) <= batch
        assert max(sizes) - min(sizes) <= 1
        order = np.concatenate([labels for _, labels in parts])
        np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]).ravel(), order)
        assert sorted(order) == list(range(count))
        assert (rng is None or count == 1) == (order.tolist() == list(range(count)))


def test_batches_refuse_at_once() -> None:
    with pytest.raises(ValueError, match="batch must be at least 1, got batch=0"):
        batches(np.zeros((2, 1, 1, 1)), np.zeros(2), 0)
    assert batch_count(0, 4) == 0


def test_take_keeps_the_memory_order() -> None:
    c_order = np.random.default_rng(0).random((6, 3, 4, 5))
    channels_last = np.ascontiguousarray(c_order.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for images in (c_order, channels_last):
        chosen = take(images, np.array([4, 1]))
        np.testing.assert_array_equal(chosen, c_order[[4, 1]])
        assert chosen.strides == images[:2].strides


def test_the_background_keeps_the_order_and_works_ahead() -> None:
    made: list[int] = []
    asked = threading.Event()

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            if number == 3:
                asked.set()
            yield number

    numbers = in_background(items(), ahead=2)
    assert next(numbers) == 0
    assert asked.wait(10)  # nobody has asked for 3 yet
    assert list(numbers) == list(range(1, 20))
    assert made == list(range(20))


def test_an_error_in_the_background_comes_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    numbers = in_background(items())
    assert next(numbers) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(numbers)


def test_closing_ends_the_thread() -> None:
    before = threading.active_count()
    numbers = in_background(iter(range(1000)))
    next(numbers)
    assert threading.active_count() == before + 1
    numbers.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
