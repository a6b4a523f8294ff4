"""Augmentation moves, mirrors, turns and colours each image by itself, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from npconv.data import color, flip, pad_crop, parse_augmentation, random_shift, rotate
from npconv.data.augmentation import AUGMENTATIONS

EVERY = pytest.mark.parametrize("name", AUGMENTATIONS)


def test_random_shift_moves_each_image_by_itself() -> None:
    x = np.zeros((400, 2, 5, 5), np.float32)
    x[:, :, 2, 2] = np.arange(1, 401)[:, None]
    before = x.copy()
    y = random_shift(x, np.random.default_rng(0))
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(x, before)
    image, channel, row, column = np.nonzero(y)
    np.testing.assert_array_equal(y[image, channel, row, column], image + 1)
    assert len(image) == 800  # one dot in every channel, still
    np.testing.assert_array_equal(row[channel == 0], row[channel == 1])
    moves = {(int(r) - 2, int(c) - 2) for r, c in zip(row, column, strict=True)}
    assert moves == {(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)}


def test_random_shift_repeats_the_edges() -> None:
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    wanted = {tuple(np.pad(x[0, 0], 1, mode="edge")[r : r + 3, c : c + 3].ravel()) for r in range(3) for c in range(3)}
    rng = np.random.default_rng(0)
    assert {tuple(random_shift(x, rng).ravel()) for _ in range(200)} == wanted
    np.testing.assert_array_equal(random_shift(x, rng, 0), x)
    with pytest.raises(ValueError, match="pixels must be at least 0, got pixels=-1"):
        random_shift(x, rng, -1)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@EVERY
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_what_they_share(name: str, channels: int) -> None:
    x = noise(6, channels, 5, 7)
    x.flags.writeable = False
    y = AUGMENTATIONS[name](x, np.random.default_rng(0))
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(y, AUGMENTATIONS[name](x, np.random.default_rng(0)))
    other = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(y, AUGMENTATIONS[name](other, np.random.default_rng(0)))
    assert not np.array_equal(y, AUGMENTATIONS[name](x, np.random.default_rng(1)))


def test_pad_crop_fills_with_zeros() -> None:
    x = np.ones((200, 1, 6, 6), np.float32)
    y = pad_crop(x, np.random.default_rng(0), 2)
    assert set(np.unique(y)) == {0, 1}
    counts = y.sum(axis=(1, 2, 3))
    assert set(counts) == {float(a * b) for a in (4, 5, 6) for b in (4, 5, 6)}


def test_flip_mirrors_half_of_them() -> None:
    x = noise(400, 2, 3, 4)
    y = flip(x, np.random.default_rng(0))
    mirrored = (y == x[..., ::-1]).all(axis=(1, 2, 3))
    kept = (y == x).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 150 < mirrored.sum() < 250


def test_a_quarter_turn_is_exact_and_a_small_one_is_between() -> None:
    class Quarter(np.random.Generator):
        """A generator that draws the upper end."""

        def uniform(self, low: float, high: float, size: int) -> np.ndarray:
            return np.full(size, high)

    x = noise(3, 2, 5, 5).astype(np.float64)
    y = rotate(x, Quarter(np.random.PCG64()), 90.0)
    turned = [np.rot90(x, turns, axes=(2, 3)) for turns in (1, -1)]
    assert min(np.abs(y - other).max() for other in turned) < 1e-12
    plane = np.broadcast_to(np.arange(9.0)[:, None] - 4, (1, 1, 9, 9))  # the height of a tilted plane
    z = rotate(plane, Quarter(np.random.PCG64()), 10.0)[0, 0, 2:7, 2:7]
    rows, columns = np.mgrid[-2:3, -2:3]
    angle = np.radians(10)
    expected = [np.cos(angle) * rows + sign * np.sin(angle) * columns for sign in (1, -1)]
    assert min(np.abs(z - e).max() for e in expected) < 1e-12
    np.testing.assert_array_equal(rotate(x, np.random.default_rng(0), 0.0), x)


def test_color_moves_brightness_contrast_and_saturation() -> None:
    grey = np.broadcast_to(noise(50, 1, 4, 4), (50, 3, 4, 4))
    y = color(grey, np.random.default_rng(0), 0.5)
    np.testing.assert_allclose(y[:, 0], y[:, 1], atol=1e-6)  # grey stays grey
    moved = y.mean(axis=(1, 2, 3)) - grey.mean(axis=(1, 2, 3))
    assert np.abs(moved).max() <= 0.5 + 1e-6
    assert np.abs(moved).max() > 0.3
    spread = y[:, 0].std(axis=(1, 2)) / grey[:, 0].std(axis=(1, 2))
    assert 0.5 - 1e-5 <= spread.min() < 0.8
    assert 1.2 < spread.max() <= 1.5 + 1e-5
    np.testing.assert_allclose(color(grey, np.random.default_rng(0), 0.0), grey, atol=1e-6)


def test_parsing() -> None:
    assert parse_augmentation("none") is None
    augmentation = parse_augmentation("pad-crop=2, flip,rotate=10")
    assert augmentation is not None
    assert augmentation.steps == ((pad_crop, 2), (flip, None), (rotate, 10.0))
    x = noise(4, 1, 6, 6)
    rng = np.random.default_rng(7)
    expected = rotate(flip(pad_crop(x, rng, 2), rng), rng, 10.0)
    np.testing.assert_array_equal(augmentation(x, np.random.default_rng(7)), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mirror", "augment must be none or some of shift, pad-crop, flip, rotate, color, got 'mirror'"),
        ("", "augment must be none or some of"),
        ("rotate=big", "augment must have numbers such as rotate=10, got 'rotate=big'"),
        ("shift=1.5", "augment must have numbers"),
        ("shift=-1", "pixels must be at least 0, got pixels=-1"),
        ("rotate=-1", "degrees must be finite and at least 0"),
        ("color=2", r"strength must be in \[0, 1\]"),
        ("flip=1", "flip has no setting, got 'flip=1'"),
    ],
)
def test_what_cannot_be_parsed(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_augmentation(text)
