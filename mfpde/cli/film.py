"""The film of a run: density and particles over all stored times, as film.gif, and as film.mp4 with the extra."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import numpy as np

from mfpde.cli import density_rows
from mfpde.cli.arrays import Output
from mfpde.errors import FileSystemError

log = logging.getLogger("mfpde")

# more are thinned out evenly
MOST_FRAMES = 120


def film(output: Output, target: Path) -> list[Path]:
    """Write the film of a run into the directory ``target``; [] where fewer than two times are stored.

    Raises FileSystemError where the system refuses.
    """
    from mfpde.figures import film as films
    from mfpde.io import atomic

    times, rows = density_rows.rows_of(output)
    if len(times) < 2 or not rows:
        log.warning("fewer than two times are stored: there is nothing to animate")
        return []
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileSystemError(f"cannot make the directory {target}: {error.strerror}") from None
    chosen = np.unique(np.linspace(0, len(times) - 1, min(len(times), MOST_FRAMES)).round().astype(int)).tolist()
    pictures = list(films.frames(times, rows, chosen))
    paths = [target / "film.gif"]
    atomic.save(paths[0], films.gif(pictures))
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        log.info("film.mp4 needs the package imageio-ffmpeg: pip install 'mfpde[movie]'")
    else:
        paths.append(target / "film.mp4")
        atomic.save(paths[1], films.mp4(pictures))
    return paths
