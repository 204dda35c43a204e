"""The look of the figures, the sheet they are drawn on, and the bytes they are saved as.

Only the object-oriented side of matplotlib is used: no pyplot, so that the import is quick, no window system is asked
for, and nothing is kept alive between figures.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    StrMethodFormatter,
)
from matplotlib.transforms import Bbox
from PIL import Image

STYLE_FILE = os.path.join(os.path.dirname(__file__), "mfpde.mplstyle")
SINGLE, DOUBLE = 3.4, 7.0
"""Widths in inches of a figure across one and across two columns."""

# White to navy with the lightness L* falling in equal steps of 8.2 and the hue turning from cyan to blue (CIELAB):
# an empty domain costs no ink and a grey print keeps the order.
DENSITY_MAP = LinearSegmentedColormap.from_list(
    "mfpde-density",
    "#fefefe #d3eaf3 #a7d6ec #7bc1e6 #55abdb #3495cd #177ebb #0668a5 #14528a #1c3d6d #1e294c".split(),
)
PARTICLE = "#D55E00"
INK, GREY = "black", "0.55"
Z95 = 1.96
"""Half width of a 95 % interval in standard errors."""

# What would make two equal figures differ in their bytes: dates and the version of the writer.
_METADATA: dict[str, dict[str, None]] = {
    "png": {},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}
_LOCK = threading.RLock()


@contextmanager
def style() -> Iterator[None]:
    """The style of this package, whatever the user's own matplotlibrc says; one thread at a time.

    Draw inside ``with style():`` for the figures of the package, outside of it for your own look.
    """
    with _LOCK, matplotlib.rc_context():
        matplotlib.rc_file(STYLE_FILE)
        yield


def sheet(width: float = SINGLE, height: float = 2.5, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of width × height inches with rows × columns axes, listed row by row (none if rows is 0)."""
    with style():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(rows, columns, squeeze=False).ravel()) if rows else []
    return figure, axes


def render(figure: Figure, kind: str = "png") -> bytes:
    """The figure as png, pdf or svg; equal figures give equal bytes on one version of matplotlib.

    Raises ValueError for another kind.
    """
    if kind not in _METADATA:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(_METADATA)}")
    buffer = io.BytesIO()
    with style():
        figure.set_dpi(float(matplotlib.rcParams["savefig.dpi"]))
        grown = settle(figure)
        engine = figure.get_layout_engine()
        if kind == "png" and not grown:
            figure.set_layout_engine("none")  # it has just been laid out, and that is half the work
        try:
            if kind == "png":
                _write_png(figure, buffer)
            else:
                figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
        finally:
            figure.set_layout_engine(engine)
    return buffer.getvalue()


def _write_png(figure: Figure, buffer: io.BytesIO) -> None:
    """Without the alpha channel, that a white page does not need, and without a line on the writer."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    dots = figure.get_dpi()
    image = Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3]))
    image.save(buffer, "png", dpi=(dots, dots))


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure to path, complete or not at all; the ending (.png, .pdf, .svg) chooses the kind."""
    target = os.fspath(path)
    data = render(figure, os.path.splitext(target)[1].lstrip(".").lower())
    part = f"{target}.part"
    try:
        with open(part, "wb") as file:
            file.write(data)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def label_widths(ax: Axes, widths: Sequence[int] | np.ndarray) -> None:
    """Logarithmic x axis whose ticks are the widths themselves, thinned until the labels have room."""
    ticks = np.unique(np.asarray(widths, dtype=float))
    shown = ticks[:: -(-ticks.size // 7)]
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(shown.tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    ax.set_xlabel("width $N$")


def time_axis(ax: Axes, first: float, last: float) -> None:
    """Linear time axis from first to last with round ticks."""
    ax.set_xlim(first, last)
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.set_xlabel("time $t$")


def log_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis: powers of ten, or 1-2-5 in plain numbers where less than two decades are seen."""
    low, high = axis.get_view_interval()
    if high >= 100 * low:
        return
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    if low >= 1e-4 and high < 1e5:
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    else:
        axis.set_major_formatter(FuncFormatter(_scientific))
    axis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def _scientific(value: float, _: int) -> str:
    digits, power = f"{value:.0e}".split("e")
    return f"${digits}\\times 10^{{{int(power)}}}$" if digits != "1" else f"$10^{{{int(power)}}}$"


def place_legend(ax: Axes, **options: Any) -> None:
    """A legend that ``settle`` keeps off the lines."""
    ax.legend(**{"loc": "best", **options})


def settle(figure: Figure) -> bool:
    """Lay the figure out and grow y axes upwards until no legend covers a line or a dot; whether one grew.

    ``render`` does so by itself.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    grown = False
    for ax in figure.axes:
        for _ in range(15):
            if not _is_covered(ax):
                break
            above = ax.transAxes.transform((0.0, 1.08))
            ax.set_ylim(top=float(ax.transData.inverted().transform(above)[1]))
            grown = True
    return grown


def _is_covered(ax: Axes) -> bool:
    legend = ax.get_legend()
    if legend is None:
        return False
    box = legend.get_window_extent()
    return any(_touches(line, box) for line in ax.get_lines())


def _touches(line: Line2D, box: Bbox) -> bool:
    path = line.get_path().transformed(line.get_transform()).cleaned(remove_nans=True)
    points = np.asarray(path.vertices)
    if line.get_linestyle() == "None":
        return box.count_contains(points) > 0
    return len(points) > 1 and path.intersects_bbox(box, filled=False)


def reference_slope(ax: Axes, x: np.ndarray, anchor: float, slope: float, label: str | None = None) -> None:
    """A thin dotted grey line y = anchor (x / x_max)^slope behind the data of a log–log plot."""
    x = np.array([np.min(x), np.max(x)], dtype=float)
    y = anchor * (x / x[1]) ** slope
    ax.plot(x, y, color=GREY, linestyle=":", linewidth=1.0, marker="", zorder=1, label=label)


def axis_label(name: str, kind: str = "line") -> str:
    """The parameter name a, b, w, w0, w1 … as mathematics: w0 becomes w with the index 0, a radius shows what it is."""
    symbol = f"{name[0]}_{{{name[1:]}}}" if len(name) > 1 and name[1:].isdigit() else name
    if kind == "radius":
        # a first block with rotations of its own is the informative subspace of two Gaussians
        side = "\\parallel" if name == "w0" else "\\perp"
        return "$|w|$" if name == "w" else f"${symbol}=|w_{side}|$"
    return f"${symbol}$"


def circle_axis(ax: Axes) -> None:
    """Ticks of an angle at multiples of a quarter turn."""
    ax.xaxis.set_major_locator(FixedLocator([-np.pi, -np.pi / 2, 0.0, np.pi / 2, np.pi]))
    ax.xaxis.set_major_formatter(FixedFormatter(["$-\\pi$", "", "0", "", "$\\pi$"]))
