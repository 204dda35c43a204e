"""Progress on stderr: a bar on a terminal, a line every 10 % elsewhere, nothing when quiet."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Update = Callable[..., None]


@contextmanager
def progress(label: str, total: float, quiet: bool = False) -> Iterator[Update]:
    """Yield ``update(done, free_energy=None, gap=None)``; ``done`` runs from 0 to ``total`` (time, or a count)."""
    if quiet:
        yield lambda done, free_energy=None, gap=None: None
    elif sys.stderr.isatty():
        yield from _bar(label, total)
    else:
        yield _lines(label, total)


def _bar(label: str, total: float) -> Iterator[Update]:
    from tqdm import tqdm  # slow to import, only a terminal needs it
    from tqdm.contrib.logging import logging_redirect_tqdm

    layout = "{desc} {percentage:3.0f}%|{bar}| {n:.4g}/{total:.4g} [{elapsed}<{remaining}{postfix}]"
    # log lines go above the bar, not into it
    with (
        logging_redirect_tqdm([logging.getLogger("mfpde")]),
        tqdm(total=total, desc=label, bar_format=layout, file=sys.stderr, dynamic_ncols=True, leave=False) as bar,
    ):

        def update(done: float, free_energy: float | None = None, gap: float | None = None) -> None:
            bar.set_postfix_str(_numbers(free_energy, gap), refresh=False)
            bar.update(min(done, total) - bar.n)

        yield update


def _lines(label: str, total: float) -> Update:
    reported = 0

    def update(done: float, free_energy: float | None = None, gap: float | None = None) -> None:
        nonlocal reported
        tenth = int(10 * done / total + 1e-9)
        if tenth > reported:
            reported = tenth
            print(
                f"{label} {10 * tenth:3d} %  {done:.4g}/{total:.4g}  {_numbers(free_energy, gap)}".rstrip(),
                file=sys.stderr,
            )

    return update


def _numbers(free_energy: float | None, gap: float | None) -> str:
    energy = "" if free_energy is None else f"F {free_energy:.6g}"
    return " ".join(filter(None, (energy, "" if gap is None else f"gap {gap:.2e}")))
