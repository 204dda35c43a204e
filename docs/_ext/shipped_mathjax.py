"""Formulas without a network: the one file of MathJax that draws them as SVG comes with the site.

SVG rather than web fonts, because browsers may refuse fonts to pages opened from a disk.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

NAME = "tex-svg.js"
OPTIONS = {"tex": {"processEscapes": True}, "options": {"enableMenu": False}, "svg": {"fontCache": "local"}}


def setup(app: Any) -> dict[str, bool]:
    """Point Sphinx to the shipped file, which is taken from the package sphinx-mathjax-offline."""
    app.config.mathjax_path = NAME
    app.config.mathjax3_config = OPTIONS
    app.connect("builder-inited", add_file)
    return {"parallel_read_safe": True}


def add_file(app: Any) -> None:
    """Let the builder copy the file, and only that, to the static files of the site."""
    app.config.html_static_path.append(str(source()))


def source() -> Path:
    """Where the file is; ImportError without the package."""
    # its import name holds dashes
    found = importlib.util.find_spec("sphinx-mathjax-offline")
    if found is None or found.origin is None:
        raise ImportError("the site needs the package sphinx-mathjax-offline")
    return Path(found.origin).parent / "static" / "mathjax" / NAME
