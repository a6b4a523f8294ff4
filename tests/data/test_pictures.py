"""Pictures of every mode give the same pixels, and what is transparent hides nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npconv.data import fitted, open_picture, picture_files

GREY = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_grey_in_every_mode(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(GREY).convert(mode))
    for channels in (1, 3):
        pixels = np.asarray(open_picture(path, channels))
        np.testing.assert_array_equal(pixels if channels == 1 else pixels[..., 1], GREY)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(GREY.astype(np.uint16) * 257))
    np.testing.assert_array_equal(np.asarray(open_picture(path, 1)), GREY)
    path = save(tmp_path / "a.tif", Image.fromarray(GREY.astype(np.float32)))
    with pytest.raises(ValueError, match="32 bits per channel, mode F: save it with 8 or 16"):
        open_picture(path, 1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white_whatever_hides_there(tmp_path: Path, mode: str) -> None:
    seen = []
    for hidden in (0, 90, 255):
        rgba = np.zeros((4, 4, 4), np.uint8)
        rgba[..., :3], rgba[1:3, 1:3] = hidden, (0, 0, 0, 255)  # a black square on nothing
        picture = Image.fromarray(rgba)
        options: dict[str, object] = {}
        if mode == "P":
            indexed = Image.fromarray((rgba[..., 3] > 0).astype(np.uint8)).convert("P")
            indexed.putpalette([hidden] * 3 + [0] * 3)
            picture, options = indexed, {"transparency": 0}
        elif mode == "LA":
            picture = picture.convert("LA")
        path = save(tmp_path / "a.png", picture, **options)
        seen.append(np.asarray(open_picture(path, 3)))
    expected = np.full((4, 4, 3), 255, np.uint8)
    expected[1:3, 1:3] = 0
    for pixels in seen:
        np.testing.assert_array_equal(pixels, expected)


def test_a_photograph_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = save(tmp_path / "a.png", Image.fromarray(np.rot90(GREY)), exif=exif)
    np.testing.assert_array_equal(np.asarray(open_picture(path, 1)), GREY)


def test_a_picture_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(GREY))
    contents = bytearray(path.read_bytes())
    contents[16:24] = (60000).to_bytes(4, "big") * 2  # the width and height that its head says
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="the picture must be a whole image file, got "):
        open_picture(path, 1)


def test_fitting_scales_the_shorter_side_and_cuts_the_middle() -> None:
    picture = Image.fromarray(np.tile(np.arange(12, dtype=np.uint8) * 20, (6, 1)))
    np.testing.assert_array_equal(fitted(picture, (6, 6))[..., 0], np.asarray(picture)[:, 3:9])
    assert fitted(picture, (3, 3)).shape == (3, 3, 1)
    assert fitted(picture, (3, 3), 0.5).shape == (3, 3, 1)


def test_files_are_found_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".c").mkdir()
    for name in ("z.png", "b/a.JPG", ".c/x.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in picture_files(tmp_path)] == ["a.JPG", "z.png"]
