"""Pictures that the build makes: the default study's figure and the report page of its run, as Chromium shows it.

Both replace the stored ones of docs/images on the site; where there is no Chromium the stored picture of the report is
shown, and the build says so.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import make_images
from sphinx.util import logging


def setup(app: Any) -> dict[str, Any]:
    """Make the pictures before anything is read."""
    app.add_config_value("make_pictures", True, "env", types=frozenset({bool}))
    app.connect("builder-inited", make)
    app.connect("source-read", redirect)
    return {"parallel_read_safe": True}


def make(app: Any) -> None:
    """Run the default study once and keep its pictures below auto/images of the sources."""
    log = logging.getLogger(__name__)
    target = Path(app.srcdir) / "auto" / "images"
    if not app.config.make_pictures:
        log.info("pictures: the stored ones, as asked for")
        return
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        for name in make_images.BY_THE_BUILD:
            made = make_images.make(name, Path(directory))
            if made is None:
                log.info("pictures: no Chromium here, the stored picture %s.png is shown", name)
            else:
                shutil.copyfile(made, target / made.name)


def redirect(app: Any, _name: str, source: list[str]) -> None:
    """Show the new pictures where there are any."""
    for name in make_images.BY_THE_BUILD:
        if app.config.make_pictures and (Path(app.srcdir) / "auto" / "images" / f"{name}.png").is_file():
            source[0] = source[0].replace(f"](images/{name}.png)", f"](auto/images/{name}.png)")
