"""Settings of the documentation site: ``sphinx-build -W -b html examples/site build/site``, from the repository's root.

Every page and every example runs while the site is built, on the NumPy backend. Nothing is fetched from anywhere: formulas
are MathML, and the theme brings its own scripts and fonts.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # for gallery.py, and for npconv where it is not installed
os.environ.setdefault("NPCONV_BACKEND", "numpy")
os.environ.setdefault("NPCONV_QUIET", "1")  # a page is no place for notes on compiling

import npconv  # noqa: E402  after its path and its backend

project = "npconv"
version = release = npconv.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
MODULES = (
    "npconv",
    "npconv.nn",
    "npconv.models",
    "npconv.optim",
    "npconv.training",
    "npconv.data",
    "npconv.weights",
    "npconv.onnx",
    "npconv.layouts",
    "npconv.costs",
    "npconv.papers",
    "npconv.studies",
    "npconv.check",
    "npconv.testing",
    "npconv.explain",
)


def public_names(name: str) -> list[str]:
    """What a module exports: what it lists, or else the functions and classes that are its own."""
    module = importlib.import_module(name)
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == name]
    listed = getattr(module, "__all__", [key for key in own if not key.startswith("_")])
    found = [getattr(module, key) for key in listed]
    return [key for key, value in zip(listed, found, strict=True) if inspect.isroutine(value) or inspect.isclass(value)]


templates_path = ["_templates"]
autosummary_context = {"public": {name: public_names(name) for name in MODULES}}
exclude_patterns = ["pages/*.rst", "pages/*.py"]
default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say shapes and dtypes, and signatures stay short
numpydoc_show_class_members = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "npconv"
html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["npconv.css"]
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc", "sg_download_links"],
}

sphinx_gallery_conf = {
    "examples_dirs": ["pages", ".."],
    "gallery_dirs": ["explained", "gallery"],
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery.PageOrder",
    "image_scrapers": ("gallery.figures", "gallery.pictures"),
    "reset_argv": "gallery.arguments",
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 3600,
    "plot_gallery": True,
    "capture_repr": ("_repr_html_",),  # formulas and tables, and not what a drawing function returns
    "download_all_examples": False,
    "remove_config_comments": True,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "copyfile_regex": "",
    "reference_url": {},
}
