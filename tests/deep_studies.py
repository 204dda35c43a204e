"""A study of ``mfpde deep`` of a second, which the tests of its files and of its command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfpde.io import store

SMALL = """
title = "small"
[network]
depth = 2
[data]
x = [[1.2, 0.3, -0.4], [-0.5, 1.1, 0.7], [0.2, -0.9, 1.3]]
y = [1.0, -1.0, 1.0]
test = [[0.4, 0.8, -1.0], [1.0, 1.0, 0.1]]
test_y = [1.0, -1.0]
[training]
rate = 1.5
steps = 6
[limit]
samples = 256
replicates = 3
[finite]
widths = [8, 32]
seeds = [7, 4]
parametrizations = ["mup", "ntk"]
"""


def written(directory: Path, text: str = SMALL) -> str:
    """The path of a study."""
    (directory / "small.toml").write_text(text, encoding="utf-8")
    return str(directory / "small.toml")


def date_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs of this process carry one date, so that equal ones have equal bytes."""
    original = store.provenance
    monkeypatch.setattr(store, "provenance", lambda *given: {**original(*given), "created": "2026-01-01T00:00:00Z"})
