"""Picture files as arrays of grey or red, green and blue: of any mode that Pillow reads, upright, without transparency."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.geometry import Array
from npconv.printable import printable

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}
LARGEST = 1 << 27  # pixels of one picture: 134 million, above those of any camera
FORMATS = "PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"  # Pillow would run another program for some of its others
PAPER = 255  # what is behind transparent pixels: white
GREY_MODES = {"1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N"}


def picture_files(folder: Path) -> list[Path]:
    """The picture files anywhere below `folder`, by their suffix, sorted; hidden ones are none.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of Path

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("b.png", "a.jpg", "notes.txt"):
    ...         pathlib.Path(folder, name).touch()
    ...     [path.name for path in picture_files(pathlib.Path(folder))]
    ['a.jpg', 'b.png']
    """
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def open_picture(path: Path, channels: int) -> Image.Image:
    """The picture as mode L (1 channel) or RGB (3 channels) of 8 bits, upright as its camera was held.

    What is transparent is white, whatever colour hides there. 16 bits become 8. Of several frames it is the first.

    Parameters
    ----------
    path : path
    channels : 1 or 3

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    ImportError
        Pillow is not installed.
    ValueError
        The file is missing, no whole picture, too large, or of 32 bits per channel, whose white is not known.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGBA", (4, 3)).save(f"{folder}/clear.png")
    ...     open_picture(pathlib.Path(folder, "clear.png"), 1).getpixel((0, 0))
    255
    """
    with _opened(path) as file:
        return _plain(file, channels)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture, of which no more than its head is read; its errors name the file."""
    pillow = _pillow()
    if not path.is_file():  # to open a FIFO would be to wait
        raise ValueError(f"the picture must be a file that exists, got {printable(path)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, which name no file, and about pictures that are read all the same
        try:
            with pillow.open(path, formats=FORMATS) as file:
                if file.width * file.height > LARGEST:
                    raise ValueError(f"it has {file.width}x{file.height} pixels, above {LARGEST:,}")
                yield file
        except MemoryError:
            raise
        except Exception as error:  # Pillow's formats raise of every kind where a file is damaged
            raise ValueError(f"the picture must be a whole image file, got {printable(path)} ({error})") from None


def _pillow() -> Any:
    """Pillow's module `Image`."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("pictures are read by Pillow, got no such package: pip install 'npconv[train]'") from None
    return Image


def _plain(file: Image.Image, channels: int) -> Image.Image:
    from PIL import Image, ImageOps

    if file.mode in ("I", "F"):
        raise ValueError(f"it has 32 bits per channel, mode {file.mode}: save it with 8 or 16")
    picture = ImageOps.exif_transpose(file)
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(np.rint(np.asarray(picture) / np.float32(257)).astype(np.uint8))
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, (PAPER, PAPER, PAPER, 255))
        picture = Image.alpha_composite(paper, picture)
    return picture.convert("L" if channels == 1 else "RGB")


def look(path: Path) -> tuple[tuple[int, int], bool]:
    """((rows, columns), whether it has colours) of a picture, from the head of its file."""
    with _opened(path) as file:
        turned = file.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # a quarter turn
        columns, rows = file.size[::-1] if turned else file.size
        return (rows, columns), file.mode not in GREY_MODES


def fitted(picture: Image.Image, size: tuple[int, int], crop: float = 1.0, path: Path | None = None) -> Array:
    """The middle of a picture: the shorter side is scaled to size / crop, the rest cut off.

    Parameters
    ----------
    picture : PIL.Image.Image
    size : (rows, columns)
    crop : float in (0, 1]
    path : path, optional
        Where it came from, for the message.

    Returns
    -------
    array (rows, columns, channels) of uint8

    Raises
    ------
    ValueError
        The picture is so long and thin that it would be too large.

    Examples
    --------
    >>> from PIL import Image
    >>> fitted(Image.new("RGB", (40, 30)), (8, 8)).shape
    (8, 8, 3)
    """
    resampling = _pillow().Resampling.BICUBIC
    rows, columns = size
    scale = max(rows / picture.height, columns / picture.width) / crop
    width, height = (max(round(side * scale), want) for side, want in zip(picture.size, (columns, rows), strict=True))
    if width * height > LARGEST:
        raise ValueError(
            f"the picture must be less long and thin, got {path or 'one'} of {picture.width}x{picture.height} pixels, "
            f"which are {width}x{height} where its shorter side fits"
        )
    if (width, height) != picture.size:
        picture = picture.resize((width, height), resampling)
    left, upper = (width - columns) // 2, (height - rows) // 2
    picture = picture.crop((left, upper, left + columns, upper + rows))
    return np.asarray(picture, np.uint8).reshape(rows, columns, -1)
