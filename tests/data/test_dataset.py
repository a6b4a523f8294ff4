"""The digits, arrays of every form, the split and the normalisation."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest

from npconv.data import Dataset, digits, from_arrays, load

LABELS = np.repeat(np.arange(3), 10)


def images(*shape: int, dtype: type = np.uint8, count: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(count, *shape)).astype(dtype)


# --- digits ---


def test_digits_are_whole_disjoint_and_stratified() -> None:
    data = digits()
    parts = data.train, data.validation, data.test
    assert (data.name, data.classes, sum(len(part.labels) for part in parts)) == ("digits", 10, 1797)
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert part.images.dtype == np.float32
        assert part.labels.dtype == np.int64
        assert part.images.shape == (len(part.labels), 1, 8, 8)
        counts = np.bincount(part.labels, minlength=10)
        expected = share * sum(np.bincount(p.labels, minlength=10) for p in parts)
        assert np.abs(counts - expected).max() <= 1
    everything = np.concatenate([part.images for part in parts]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == 1797  # all the images differ, so no image is in two parts


def test_digits_are_normalised_by_the_training_images_alone() -> None:
    data = digits()
    assert abs(data.train.images.mean()) < 1e-6
    assert abs(data.train.images.std() - 1) < 1e-6
    pixels = data.test.images * data.std + data.mean
    np.testing.assert_allclose(pixels, pixels.round(), atol=1e-5)
    assert (round(float(pixels.min())), round(float(pixels.max()))) == (0, 16)


def test_digits_split_is_a_function_of_the_seed() -> None:
    assert all((a == b).all() for a, b in zip(digits(3).test, digits(3).test, strict=True))
    assert not np.array_equal(digits(3).test.labels, digits(4).test.labels)


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"scikit-learn.*pip install 'npconv\[train\]'"):
        digits()


# --- arrays and files ---


@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5), (3, 4, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float16, np.float32, np.float64])
def test_a_file_of_any_numbers_in_either_layout(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    path = tmp_path / "shapes.npz"
    np.savez_compressed(path, images=images(*shape, dtype=dtype), labels=LABELS.astype(np.uint8))
    data = load(path, seed=1)
    channels = shape[0] if len(shape) == 3 else 1
    assert (data.name, data.classes) == ("shapes", 3)
    assert [part.images.shape for part in (data.train, data.validation, data.test)] == [
        (21, channels, 4, 5),
        (3, channels, 4, 5),
        (6, channels, 4, 5),
    ]
    assert data.mean.shape == data.std.shape == (channels,)
    np.testing.assert_allclose(data.train.images.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(data.train.images.std(axis=(0, 2, 3)), 1, atol=1e-5)


def test_images_keep_their_labels_and_are_not_modified() -> None:
    labels = np.random.default_rng(1).permutation(LABELS)
    pixels = np.zeros((30, 1, 2, 2))
    pixels[:, 0, 0, 0] = labels  # the image says what it is
    pixels.flags.writeable = False
    data: Dataset = from_arrays(pixels, labels, name="self-describing", seed=0)
    for part in (data.train, data.validation, data.test):
        np.testing.assert_allclose(part.images[:, 0, 0, 0] * data.std + data.mean, part.labels, atol=1e-5)


def test_three_images_of_a_class_are_one_for_each_part() -> None:
    data = from_arrays(images(4, 4, count=6), np.repeat([0, 1], 3), name="few", seed=0)
    for part in (data.train, data.validation, data.test):
        assert part.labels.tolist() == [0, 1]


NAN = images(4, 4, dtype=np.float32)
NAN[3, 2, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"images": images(4, 4)}, ValueError, "the arrays 'images' and 'labels', got no 'labels'"),
        ({"labels": LABELS}, ValueError, "the arrays 'images' and 'labels', got no 'images'"),
        ({"images": images(4), "labels": LABELS}, ValueError, r"images must have 4 axes \(N, C, H, W\), got 2"),
        ({"images": images(0, 4), "labels": LABELS}, ValueError, "images must have no empty axis but the batch"),
        ({"images": images(4, 4).astype(str), "labels": LABELS}, TypeError, "images must be integers or floats, got"),
        (
            {"images": images(4, 4) > 9, "labels": LABELS},
            TypeError,
            r"images must be integers or floats, got dtype bool: images.astype\(np.uint8\)",
        ),
        ({"images": NAN, "labels": LABELS}, ValueError, "images must be finite in float32, got 1 numbers"),
        (
            {"images": images(4, 4) * 0, "labels": LABELS},
            ValueError,
            "one number everywhere in channel 0 of 1: leave it",
        ),
        ({"images": images(4, 4), "labels": LABELS[:-1]}, ValueError, r"labels must have the shape \(30,\)"),
        ({"images": images(4, 4), "labels": LABELS[:, None, None]}, ValueError, r"labels must have the shape \(30,\)"),
        (
            {"images": images(4, 4), "labels": LABELS * 1.0},
            TypeError,
            r"labels must be integers or names, got dtype float64: labels.astype\(int\)",
        ),
        ({"images": images(4, 4), "labels": LABELS - 1}, ValueError, "class numbers 0 to K - 1, got -1 to 1"),
        (
            {"images": images(4, 4), "labels": LABELS * 100},
            ValueError,
            r"class numbers 0 to K - 1, got 0 to 200 in 3 classes: np.unique",
        ),
        (
            {"images": images(4, 4), "labels": LABELS * 2},
            ValueError,
            r"class numbers 0 to K - 1, got 0 to 4 in 3 classes: np.unique\(labels",
        ),
        ({"images": images(4, 4), "labels": LABELS * 0}, ValueError, "at least 2 classes"),
        (
            {"images": images(4, 4), "labels": np.array(["cat"] * 28 + ["eel"] * 2)},
            ValueError,
            "at least 3 images, got 2 images of class eel in 2 classes",
        ),
        ({"images": images(4, 4)[:0], "labels": LABELS[:0]}, ValueError, "images must hold at least one image"),
    ],
)
def test_bad_arrays_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], error: type, message: str) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    with pytest.raises(error, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_arrays_that_are_none() -> None:
    with pytest.raises(TypeError, match="images must be a NumPy array, got list"):
        from_arrays([[[1.0]]], LABELS, name="list", seed=0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="seed must be an integer, got 'x'"):
        from_arrays(images(4, 4), LABELS, name="seed", seed="x")  # type: ignore[arg-type]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"the data must be digits, fashion-mnist, or a file or folder that exists, got .*nowhere\.npz"
    ):
        load(tmp_path / "nowhere.npz")
    single = tmp_path / "single.npy"
    np.save(single, LABELS)
    with pytest.raises(ValueError, match=r"the data must be an \.npz file, an IDX pair .*, got .*single.npy"):
        load(single)
    objects = tmp_path / "objects.npz"
    np.savez(objects, images=np.array([{}, None]), labels=LABELS)  # what only pickle could read
    with pytest.raises(
        ValueError, match=r"a whole \.npz of plain arrays, got .*objects.npz .*of names, \.astype\(str\) makes"
    ):
        load(objects)


@pytest.mark.slow
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_never_gives_another_error(tmp_path: Path, save: object) -> None:
    path, damaged = tmp_path / "mine.npz", tmp_path / "damaged.npz"
    save(path, images=images(4, 4), labels=LABELS)  # type: ignore[operator]
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    unharmed = 0
    for trial in range(300):
        contents = bytearray(whole)
        if trial % 3 == 0:
            del contents[int(rng.integers(len(whole))) :]
        else:
            contents[int(rng.integers(len(whole)))] = int(rng.integers(256))
        damaged.write_bytes(contents)
        with contextlib.suppress(ValueError):
            load(damaged)
            unharmed += 1  # some bytes, the dates for example, do not matter
    assert unharmed < 150


def test_channels_last_are_put_first() -> None:
    pixels = images(5, 6, 3)
    first = from_arrays(pixels.transpose(0, 3, 1, 2), LABELS, name="first", seed=0)
    last = from_arrays(pixels, LABELS, name="last", seed=0)
    for one, other in zip(first.train, last.train, strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.train.images.transpose(0, 2, 3, 1).flags.c_contiguous  # as the kernels compute


def test_parts_that_are_given_stay_whole() -> None:
    pixels, other = images(4, 4), images(4, 4, count=6)
    data = from_arrays(pixels, LABELS, name="parts", seed=0, test=(other, LABELS[::5]), class_names=("a", "b", "c"))
    assert data.class_names == ("a", "b", "c")
    assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [27, 3, 6]
    np.testing.assert_allclose(data.test.images[:, 0] * data.std + data.mean, other, atol=1e-4)
    np.testing.assert_array_equal(data.test.labels, LABELS[::5])
    with pytest.raises(ValueError, match="images must have one size, got 1x4x4 for training and 1x5x4 for test"):
        from_arrays(pixels, LABELS, name="parts", seed=0, test=(images(5, 4), LABELS))


@pytest.mark.parametrize(
    ("brightest", "white"), [(0.9, 1), (1.0, 1), (1.2, 16), (16, 16), (17, 255), (255, 255), (256, 65535), (1e5, 1e5)]
)
def test_what_a_white_pixel_counts(brightest: float, white: float) -> None:
    rng = np.random.default_rng(0)
    for brightest_image in range(12):  # in whichever part it is
        pixels = rng.uniform(-0.1, 0.7, size=(12, 3, 4, 5)) * brightest
        pixels[brightest_image, 1, 2, 3] = brightest
        dataset = from_arrays(pixels, np.arange(12) % 2, name="noise", seed=0)
        assert dataset.white == pytest.approx(white, rel=1e-6)
