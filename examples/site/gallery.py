"""What sphinx-gallery needs to know of this site: the order of the pages, and how the examples are run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

PAGES = (
    "convolution",
    "floor_case",
    "separable",
    "shuffle",
    "octave",
    "ghost",
    "batch_norm",
    "winograd",
    "fewer_flops",
    "rounding",
    "indirection",
    "networks",
    "mistakes",
)
"""The explanations, in the order of reading."""

DRAWN = "drawn"  # the folder of the gallery where the examples leave their pictures while the site is built


class PageOrder:
    """The key by which pages are sorted: their place in `PAGES`, then, for the examples, their name."""

    def __init__(self, src_dir: str) -> None:
        pass

    def __call__(self, filename: str) -> tuple[int, str]:
        name = Path(filename).stem
        return (PAGES.index(name) if name in PAGES else len(PAGES), name)


def arguments(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """The command line of an example: where to draw its picture. The pages take none."""
    source = Path(script_vars["src_file"])
    if source.parent.name == "pages":
        return []
    folder = Path(gallery_conf["src_dir"], "gallery", DRAWN)
    folder.mkdir(exist_ok=True)
    return ["--out", os.path.relpath(folder / f"{source.stem}.png", source.parent)]  # examples run in their own folder


def pictures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The pictures that an example's block of code has written."""
    found = []
    for picture in sorted(Path(gallery_conf["src_dir"], "gallery", DRAWN).glob("*.png")):
        target = Path(next(block_vars["image_path_iterator"]))
        shutil.move(picture, target)
        found.append(str(target))
    return figure_rst(found, gallery_conf["src_dir"])
