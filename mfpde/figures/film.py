"""Density and particles over time as a film: one frame per stored time, all on one scale; GIF, and MP4 by an extra."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray
from PIL import Image

from mfpde.figures.panels import Row, snapshot_rows
from mfpde.figures.style import sheet, style

Frame = NDArray[np.uint8]

WIDTH, HEIGHT, ABOVE = 4.4, 2.5, 0.5
"""Inches of a frame: its width, and the height of a row and of what stands around the rows."""
DOTS = 150
"""Dots per inch of a frame."""
LAST = 10
"""A film rests on its last frame as long as on so many others."""


def frames(times: np.ndarray, rows: Sequence[Row], chosen: Sequence[int]) -> Iterator[Frame]:
    """Pictures [height, width, 3] of the rows at the chosen indices of times[K], equal in size, colours and axes."""
    for k in chosen:
        figure, _ = sheet(WIDTH, HEIGHT * len(rows) + ABOVE, rows=0)
        with style(), matplotlib.rc_context({"axes.titlelocation": "left"}):
            snapshot_rows(figure, times, rows, [k], scale=chosen)
            figure.set_dpi(DOTS)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())[..., :3]
        # film encoders take even sizes only
        yield np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])


def gif(pictures: Sequence[Frame], seconds: float = 0.12) -> bytes:
    """The pictures as a GIF that starts over; equal pictures give equal bytes on one version of Pillow."""
    # one palette for all, or the colours of the density would flicker
    every = Image.fromarray(np.concatenate([pictures[0], pictures[len(pictures) // 2], pictures[-1]]))
    palette = every.quantize(256, dither=Image.Dither.NONE)
    images = [Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    colours = np.array(palette.getpalette(), dtype=np.uint8).reshape(-1, 3)
    colours[int(np.asarray(images[0])[0, 0])] = 255  # a mean of near whites is no white page
    for image in images:
        image.putpalette(colours.tobytes())
    durations = [round(1000 * seconds)] * (len(images) - 1) + [round(1000 * seconds * LAST)]
    buffer = io.BytesIO()
    images[0].save(buffer, "gif", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)
    return buffer.getvalue()


def mp4(pictures: Sequence[Frame], seconds: float = 0.12) -> bytes:
    """The pictures as an H.264 film.  Raises ImportError where the package imageio-ffmpeg is absent."""
    import imageio_ffmpeg

    height, width = pictures[0].shape[:2]
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "film.mp4")
        writer = imageio_ffmpeg.write_frames(
            path, (width, height), fps=1.0 / seconds, codec="libx264", macro_block_size=2, quality=8,
            output_params=["-movflags", "+faststart", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-threads", "1"],
        )  # fmt: skip
        writer.send(None)
        for picture in [*pictures, *[pictures[-1]] * (LAST - 1)]:
            writer.send(picture)
        writer.close()
        with open(path, "rb") as file:
            return file.read()
