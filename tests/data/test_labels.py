"""Labels of any kind become class numbers and names, or are refused with what to do."""

from __future__ import annotations

import numpy as np
import pytest

from npconv.data import numbered

NAMES = np.array(["dog", "cat", "eel", "cat"])


@pytest.mark.parametrize(
    ("labels", "expected", "names"),
    [
        (np.array([1, 0, 2, 0], np.uint8), [1, 0, 2, 0], ("0", "1", "2")),
        (np.array([[1], [0], [2], [0]]), [1, 0, 2, 0], ("0", "1", "2")),
        (np.array([2, 1, 3, 1]), [1, 0, 2, 0], ("1", "2", "3")),
        (NAMES, [1, 0, 2, 0], ("cat", "dog", "eel")),
        (NAMES.astype(object), [1, 0, 2, 0], ("cat", "dog", "eel")),
        (NAMES.astype("S"), [1, 0, 2, 0], ("cat", "dog", "eel")),
        (np.array(["ä".encode(), b"b", "ä".encode(), b"b"]), [1, 0, 1, 0], ("b", "ä")),
        (np.eye(3)[[1, 0, 2, 0]], [1, 0, 2, 0], ("0", "1", "2")),
        (np.eye(3, dtype=int)[[1, 0, 2, 0]], [1, 0, 2, 0], ("0", "1", "2")),
        (np.array([True, False, True, False]), [1, 0, 1, 0], ("0", "1")),
    ],
)
def test_every_kind(labels: np.ndarray, expected: list[int], names: tuple[str, ...]) -> None:
    (numbers,), found = numbered([labels], [4])
    assert (numbers.tolist(), found) == (expected, names)
    assert numbers.dtype == np.int64


def test_parts_are_numbered_together() -> None:
    (train, test), names = numbered([NAMES, NAMES[2:]], [4, 2])
    assert (train.tolist(), test.tolist(), names) == ([1, 0, 2, 0], [2, 0], ("cat", "dog", "eel"))
    (train, test), names = numbered([np.array([1, 2, 3]), np.array([1, 1])], [3, 2])  # counted from 1 in both
    assert (train.tolist(), test.tolist(), names) == ([0, 1, 2], [0, 0], ("1", "2", "3"))


def test_names_that_the_data_brings() -> None:
    assert numbered([np.array([1, 0])], [2], ["no", "yes", "perhaps"])[1] == ("no", "yes", "perhaps")


@pytest.mark.parametrize(
    ("parts", "names", "error", "message"),
    [
        ([np.array([0.0, 1.0])], (), TypeError, r"got dtype float64: labels.astype\(int\)"),
        ([np.array([None, 1])], (), TypeError, "labels must be integers or names, got dtype object"),
        ([[0, 1]], (), TypeError, "labels must be a NumPy array, got list"),
        ([np.array([[0.2, 0.8], [1, 0]])], (), ValueError, r"a single 1 in each row .* labels.argmax\(axis=1\)"),
        ([np.array([[1, 1], [1, 0]])], (), ValueError, "a single 1 in each row"),
        ([np.array([0, 1, 2])], (), ValueError, r"labels must have the shape \(2,\)"),
        ([np.array([-1, 1])], (), ValueError, "class numbers 0 to K - 1, got -1 to 1 .* np.unique"),
        ([np.array([0, 7])], (), ValueError, "class numbers 0 to K - 1, got 0 to 7 .* renumbers them"),
        ([np.array([0, 2])], ("a", "b"), ValueError, "labels must be 0 to 1, one for each class name, got 0 to 2"),
        ([NAMES[:2], np.array(["ant", "dog"])], (), ValueError, "classes of the training images, got 'ant'"),
        ([NAMES[:2], np.array([0, 1])], (), TypeError, "numbers in all parts, or names in all parts, got both"),
    ],
)
def test_what_is_refused(parts: list[np.ndarray], names: tuple[str, ...], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        numbered(parts, [2] * len(parts), names)
