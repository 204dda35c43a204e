"""The documentation site: ``pip install ".[docs]" && sphinx-build -W --keep-going docs site``.

What is made at build time: the gallery (every script under gallery/ runs), the reference pages under auto/ (command
line, configuration, studies, API), the picture of a report.  All scripts, styles and fonts of the site come with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import mfpde  # noqa: E402

project = "mfpde"
author = "mfpde developers"
copyright = "mfpde developers"
version = release = mfpde.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "gallery_hooks",
    "plain_docstrings",
    "reference_pages",
    "links_out",
    "pictures",
    "shipped_mathjax",
    "subscripts",
]
exclude_patterns = ["_ext", "_static", "gallery"]
root_doc = "index"
highlight_language = "none"  # an unnamed block is a command
smartquotes = False  # a quotation mark is part of many values

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
add_module_names = False
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "mfpde"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "mfpde"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "collapse_navigation": True,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_context = {"default_mode": "auto"}
html_sidebars = {"index": [], "tutorial": []}

copybutton_exclude = ".linenos, .gp, .go"

sphinx_gallery_conf = {
    "examples_dirs": ["gallery"],
    "gallery_dirs": ["auto/gallery"],
    "filename_pattern": r"\.py$",
    "subsection_order": ["gallery/limit", "gallery/theory", "gallery/other_limits", "gallery/files", "*"],
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 0,
    "parallel": 2,
    "image_srcset": ["2x"],
    "capture_repr": (),
    "backreferences_dir": None,
    "matplotlib_animations": (True, "jshtml"),
    "reset_modules": ("matplotlib", "gallery_hooks.without_network"),
}
