"""The study that is killed, filled up and broken: a run of a fraction of a second that saves after every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mfpde.cli.main import main
from mfpde.io import store
from mfpde.io.difference import differences

TEXT = """
title = "small"
[network]
activation = "tanh"
train = ["w"]
[data]
law = "gaussian"
dimension = 1
quadrature = 20
target = { index = "tanh", gain = 1.5, scale = 0.8 }
[training]
temperature = 0.05
weight_decay = 0.1
time = 1.0
[initial]
w = { law = "normal", std = 1.0 }
[grid]
cells = [24]
tolerance = 1e-3
[particles]
widths = [4, 8]
replicas = 3
step = 0.05
[output]
snapshots = 5
"""

# Langevin noise; SGD batches; atoms at temperature 0; the limited flux
VARIANTS = {
    "noise": [],
    "sgd": ["particles.dynamics=sgd", "particles.batch=8"],
    "atoms": ["training.temperature=0", "particles.dynamics=gradient"],
    "limited": ["grid.flux=limited"],
}
# two snapshots: for campaigns that try every system call of a run
SHORT = ["--set", "training.time=0.1", "--set", "output.snapshots=2"]
FILES = ["limit.h5", "particles.h5", "summary.json"]


def write(folder: Path) -> Path:
    """The study as a file."""
    path = folder / "small.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def solve(study: Path, directory: Path, variant: str = "noise", *flags: str) -> int:
    """``mfpde solve`` in this process, a checkpoint after every step unless ``flags`` say otherwise."""
    overrides = [word for text in VARIANTS[variant] for word in ("--set", text)]
    usual = ["--no-figures", "-q", "--threads", "1", "--checkpoint", "0"]
    return main(["solve", str(study), "-o", str(directory), *usual, *overrides, *flags])


def listing(directory: Path) -> list[str]:
    """Names in a directory, hidden ones too."""
    return sorted(path.name for path in directory.iterdir())


def unequal(first: Path, second: Path) -> list[Any]:
    """What differs in any number, attribute or name of the outputs of two runs."""
    names = [name for name in FILES if name.endswith(".h5")]
    return [one for name in names for one in differences(str(first / name), str(second / name))]


def position(groups: Mapping[str, store.Group], attributes: Mapping[str, Any]) -> tuple[int, int]:
    """How far an output is: (finished, steps of the limit, or snapshots of the networks, that it holds)."""
    if "index" in attributes:
        return int(attributes["finished"]), int(attributes["index"])
    history = groups["/history"].variables
    return int(attributes["finished"]), len(next(iter(history.values())).data)


def stored(path: Path) -> tuple[int, int]:
    """``position`` of a file; raises what ``store.read`` raises for one that is damaged."""
    contents = store.read(path)
    return position(contents.groups, contents.attributes)


def acknowledging(tell: Callable[[str], None]) -> None:
    """From now on every output that is saved in this process is told: its name and its position, once ``store.write``
    has returned. That is when a run counts it as saved."""
    write = store.write

    def told(path: str, groups: Mapping[str, store.Group], attributes: Mapping[str, Any]) -> None:
        write(path, groups, attributes)
        finished, steps = position(groups, attributes)
        tell(f"{Path(path).name} {finished} {steps}")

    store.write = told
