"""Labels of any kind as class numbers 0 to K - 1 and class names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npconv.geometry import Array, check_plain, some


def numbered(
    parts: Sequence[Array], counts: Sequence[int], class_names: Sequence[str] = ()
) -> tuple[list[Array], tuple[str, ...]]:
    """The labels of all parts of a data set as class numbers (N,), int64, and the name of each class.

    Parameters
    ----------
    parts : sequence of arrays (N,), (N, 1) or (N, K)
        Integers 0 to K - 1 or 1 to K, names, or rows that are 0 but for a single 1. All parts are of one kind; a class that
        the first one has not may be in no other.
    counts : sequence of int
        How many images each part has.
    class_names : sequence of str
        Of numbers 0 to K - 1, where the data has names for them.

    Returns
    -------
    (labels, names) : list of arrays (N,) of int64, and tuple of str

    Raises
    ------
    TypeError, ValueError
        Another kind of labels, or numbers with gaps; the message says what to do.

    Examples
    --------
    >>> import numpy as np
    >>> numbered([np.array(["dog", "cat", "dog"])], [3])
    ([array([1, 0, 1])], ('cat', 'dog'))
    >>> numbered([np.array([1, 2, 1])], [3])  # counted from 1: the names stay
    ([array([0, 1, 0])], ('1', '2'))
    >>> numbered([np.array([[0, 1], [1, 0]])], [2])
    ([array([1, 0])], ('0', '1'))
    """
    flat = [_flat(labels, count) for labels, count in zip(parts, counts, strict=True)]
    kinds = {labels.dtype.kind in "US" for labels in flat}
    if len(kinds) > 1:
        raise TypeError("labels must be numbers in all parts, or names in all parts, got both")
    if True in kinds:
        return _named(flat)
    return _counted([labels.astype(np.int64) for labels in flat], tuple(class_names))


def _flat(labels: Array, count: int) -> Array:
    """Labels (N,) of names or integers."""
    labels = check_plain("labels", labels)
    if labels.dtype == object and all(isinstance(label, str) for label in labels.ravel()):
        labels = labels.astype(str)
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras has them
        labels = labels[:, 0]
    one_hot = labels.ndim == 2 and labels.dtype.kind in "biuf"
    if one_hot:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise ValueError(
                f"labels of shape {labels.shape} must have a single 1 in each row and else zeros, got other rows: "
                "labels.argmax(axis=1) makes class numbers of scores"
            )
        labels = labels.argmax(axis=1)
    if labels.shape != (count,):
        raise ValueError(f"labels must have the shape ({count},) (one class per image), got {labels.shape}")
    if labels.dtype.kind not in "biuUS":
        fix = {"f": ": labels.astype(int) makes class numbers of them", "O": ": labels.astype(str) makes names of them"}
        raise TypeError(f"labels must be integers or names, got dtype {labels.dtype}{fix.get(labels.dtype.kind, '')}")
    return labels


def _named(parts: list[Array]) -> tuple[list[Array], tuple[str, ...]]:
    texts = [np.char.decode(part, "utf-8") if part.dtype.kind == "S" else part for part in parts]
    names = np.unique(texts[0])
    for part in texts[1:]:
        unknown = np.setdiff1d(part, names)
        if len(unknown):
            raise ValueError(f"labels must be classes of the training images, got {str(unknown[0])!r} in another part")
    return [np.searchsorted(names, part).astype(np.int64) for part in texts], tuple(map(str, names))


def _counted(parts: list[Array], class_names: tuple[str, ...]) -> tuple[list[Array], tuple[str, ...]]:
    whole = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if not len(whole):
        return parts, class_names
    low, high = int(whole.min()), int(whole.max())
    if class_names:
        if low < 0 or high >= len(class_names):
            raise ValueError(
                f"labels must be 0 to {len(class_names) - 1}, one for each class name, got {low} to {high}"
            )
        return parts, class_names
    classes = len(np.unique(whole))
    if low == 1 and high == classes:  # counted from 1
        return [part - 1 for part in parts], tuple(map(str, range(1, high + 1)))
    if low < 0 or high + 1 != classes:
        raise ValueError(
            f"labels must be class numbers 0 to K - 1, got {low} to {high} in {classes} classes: "
            "np.unique(labels, return_inverse=True)[1] renumbers them"
        )
    return parts, tuple(map(str, range(high + 1)))


def renumbered(labels: Array, count: int, names: Sequence[str], class_names: Sequence[str]) -> Array:
    """The labels of other data as numbers of `class_names`: by name where those data have names, else by number.

    Parameters
    ----------
    labels : array (N,), (N, 1) or (N, K)
        Of any kind that `numbered` takes, counted from 0 or from 1.
    count : int
        How many images they are of.
    names : sequence of str
        Of numbers 0 to K - 1 in `labels`; none where they have no names.
    class_names : sequence of str

    Returns
    -------
    array (N,) of int64

    Raises
    ------
    TypeError, ValueError
        Another kind of labels, or a class that is none of `class_names`.

    Examples
    --------
    >>> renumbered(np.array(["dog", "cat"]), 2, (), ("ant", "cat", "dog"))
    array([2, 1])
    >>> renumbered(np.array([0, 1]), 2, ("dog", "cat"), ("ant", "cat", "dog"))
    array([2, 1])
    >>> renumbered(np.array([2, 1]), 2, (), ("ant", "cat", "dog"))
    array([2, 1])
    """
    flat = _flat(labels, count)
    if flat.dtype.kind in "US":
        (numbers,), names = _named([flat])
    elif names:
        (numbers,), names = _counted([flat.astype(np.int64)], tuple(names))
    else:
        values, numbers = np.unique(flat.astype(np.int64), return_inverse=True)
        names = tuple(map(str, values))
        low, high = (int(values[0]), int(values[-1])) if count else (0, 0)
        if not set(names) <= set(class_names) and low >= 0 and high - (low == 1) < len(class_names):
            first = 1 if low == 1 and high == len(class_names) else 0
            names = tuple(class_names[value - first] for value in values)
    places = {name: place for place, name in enumerate(class_names)}
    unknown = next((name for name in np.array(names)[np.unique(numbers)] if name not in places), None)
    if unknown is not None:
        raise ValueError(f"classes must be among {some(class_names)}, got {str(unknown)!r}")
    return np.array([places.get(name, -1) for name in names], np.int64)[numbers]
