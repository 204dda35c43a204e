"""What the gallery asks of a build: films that need no network, and the time that all scripts took together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from matplotlib import _animation_data, animation
from sphinx.util import logging

TIME = re.compile(r"Total running time of the script:\*\* \((\d+) minutes ([\d.]+) seconds\)")


def setup(app: Any) -> dict[str, bool]:
    """Tell the time at the end."""
    app.connect("build-finished", tell_time)
    return {"parallel_read_safe": True}


def without_network(_configuration: Any, _script: str) -> None:
    """Before every script: the player of films that matplotlib writes leaves out the icons it takes from a server.

    The theme has icons of the same names.
    """
    player = _animation_data.JS_INCLUDE
    vars(animation)["JS_INCLUDE"] = player[player.index("<script") :]


def tell_time(app: Any, exception: Exception | None) -> None:
    """Print how many scripts ran for how long, as their pages say."""
    pages = (Path(app.srcdir) / "auto" / "gallery").rglob("*.rst")
    found = [match for page in pages if (match := TIME.search(page.read_text(encoding="utf-8")))]
    if exception is None and found:
        seconds = sum(60.0 * int(match[1]) + float(match[2]) for match in found)
        logging.getLogger(__name__).info("gallery: %d scripts in %.0f s of running time", len(found), seconds)
