"""What sphinx-gallery needs to know of this site: the order of the pages, and how the examples are run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper

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
    "studies",
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


def figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The figures of Matplotlib that a block of code has made."""
    paths = block_vars["image_path_iterator"].paths
    count = len(paths)
    rst = matplotlib_scraper(block, block_vars, gallery_conf)
    return readable(rst, paths[count:])


def pictures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """The pictures that an example's block of code has written."""
    found = []
    for picture in sorted(Path(gallery_conf["src_dir"], "gallery", DRAWN).glob("*.png")):
        target = Path(next(block_vars["image_path_iterator"]))
        shutil.move(picture, target)
        found.append(str(target))
    return readable(figure_rst(found, gallery_conf["src_dir"]), found)


def readable(rst: str, files: Sequence[str | Path]) -> str:
    """The text `rst` that shows pictures, in a box that a narrow window scrolls sideways instead of making them tiny.

    The style sheet has the least width, a share of the widest picture's own.
    """
    if not files:
        return rst
    widths = []
    for file in files:
        with Image.open(file) as picture:
            widths.append(picture.width)
    box = f'<div class="npconv-picture" style="--own-width: {max(widths)}px" tabindex="0">'
    return f"\n.. raw:: html\n\n   {box}\n\n{rst}\n\n.. raw:: html\n\n   </div>\n\n"
