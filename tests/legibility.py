"""What makes a drawn figure hard to read: small letters, letters outside of the sheet, letters on letters."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text


def faults(figure: Figure) -> list[str]:
    """One line for every fault of a figure that has been drawn."""
    found, boxes = [], []
    for text in _texts(figure):
        words, box = text.get_text(), text.get_window_extent()
        if text.get_fontsize() < 7:
            found.append(f"{words!r} has {text.get_fontsize()} pt")
        if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > figure.bbox.width + 0.5 or box.y1 > figure.bbox.height + 0.5:
            found.append(f"{words!r} leaves the sheet")
        boxes.append((words, box.padded(-1.0)))
    for i, (words, box) in enumerate(boxes):
        found += [f"{words!r} lies on {others!r}" for others, other in boxes[:i] if box.overlaps(other)]
    return found


def _texts(figure: Figure) -> list[Text]:
    """Every text that is really drawn; tick labels outside of the view are kept by matplotlib and left out here."""
    drawn = [*figure.findobj(Text)]
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            shown = {id(tick) for tick in axis._update_ticks()}  # the ticks inside the view
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if id(tick) not in shown:
                    hidden |= {id(tick.label1), id(tick.label2)}
    return [text for text in drawn if text.get_visible() and text.get_text().strip() and id(text) not in hidden]
