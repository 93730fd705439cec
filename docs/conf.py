"""Sphinx: guide, gallery and API reference. Nothing is downloaded."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from skexplain import __version__

project = "skexplain"
author = "the skexplain developers"
copyright = "the skexplain developers, BSD-3-Clause"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser", "sphinx_gallery.gen_gallery"]
myst_heading_anchors = 2
exclude_patterns = ["_build", "_templates", "gallery_header.rst"]
templates_path = ["_templates"]
# `name` in docstrings is a link where there is such a page, and literal text elsewhere
default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False


# sphinx-gallery wants its heading among the scripts; it is kept with the pages
SCRIPTS = Path(__file__).parent / "_build" / "examples"
shutil.rmtree(SCRIPTS, ignore_errors=True)
shutil.copytree(Path(__file__).parent.parent / "examples", SCRIPTS, ignore=shutil.ignore_patterns("__pycache__"))
shutil.copy(Path(__file__).parent / "gallery_header.rst", SCRIPTS / "GALLERY_HEADER.rst")
sphinx_gallery_conf = {
    "examples_dirs": str(SCRIPTS),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "capture_repr": ("_repr_html_",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "skexplain"
html_static_path = ["_static"]
html_css_files = ["skexplain.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "skexplain"},
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {page: [] for page in ("index", "quickstart", "coming_from_skorch", "coming_from_scikeras")}


def _as_text(app, what, name, obj, options, lines):
    """Shapes in docstrings are written as they are read: ``(n, *features)``, ``(n_features_in_,)``."""
    for k, line in enumerate(lines):
        lines[k] = re.sub(r"(?<!`)\((?=[^()`]*(?:\*features|_in_,))([^()`]*)\)(?!`)", r"``(\1)``", line)


def setup(app):
    app.connect("autodoc-process-docstring", _as_text, priority=400)  # before numpydoc
