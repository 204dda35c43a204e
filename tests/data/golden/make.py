"""Make the golden files of the present schema: python tests/data/golden/make.py, once per released schema.

Small outputs of every kind, and beside each NAME.json with what a later version has to read from it. A file that is
there already is left as it is: users have such files. A whole output of ``deep`` or ``one-step`` has so many arrays
that it exceeds MOST_BYTES however short they are; its limit and its finite networks are kept in two files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.cli.main import main
from mfpde.io import store

HERE = Path(__file__).resolve().parent
MOST_BYTES = 50_000  # of a file: they are kept in the repository for ever

STUDY = """
title = "golden: tanh learns tanh"
[network]
activation = "tanh"
train = ["w"]
[data]
law = "gaussian"
dimension = 1
quadrature = 12
target = { index = "tanh", gain = 1.5, scale = 0.8 }
[training]
temperature = 0.05
weight_decay = 0.1
time = 0.5
[initial]
w = { law = "normal", std = 1.0 }
[grid]
cells = [16]
tolerance = 1e-3
flux = "exponential"
[particles]
widths = [4]
replicas = 2
step = 0.05
[output]
snapshots = 3
"""
ATOMS = ["training.temperature=0", "grid.flux=auto", "particles.dynamics=gradient"]
ONE_STEP = [
    'step.maps=["plain"]',
    "curve.points=3",
    "simulation.at=[1.0]",
    "simulation.dimensions=[20]",
    "simulation.seeds=[3]",
    "simulation.draws=2",
    "simulation.test_samples=100",
    "simulation.spectra=1",
]
KERNEL_LIMIT = """
title = "golden: four points"
[network]
activation = "erf"
train = ["a", "w"]
[data]
law = "nodes"
x = [[0.8], [-0.4], [0.2], [-1.0]]
y = [0.5, -0.3, 0.1, -0.4]
[training]
time = 2.0
[initial]
a = { law = "rademacher" }
[output]
snapshots = 3
[kernel_limit]
scales = [1.0, 100.0]
neurons = 4
"""
DEEP = """
title = "golden: three points, two hidden layers"
[network]
depth = 2
[data]
x = [[1.2, 0.3, -0.4], [-0.5, 1.1, 0.7], [0.2, -0.9, 1.3]]
y = [1.0, -1.0, 1.0]
[training]
rate = 1.5
steps = 3
[limit]
samples = 64
replicates = 2
[finite]
widths = [8]
seeds = [2]
parametrizations = ["mup"]
[output]
snapshots = 3
"""
DEEP_TEST = ["data.test=[[0.4,0.8,-1.0],[1.0,1.0,0.1]]", "data.test_y=[1.0,-1.0]"]
SGD = [
    "particles.widths=[4,8]",
    "particles.step=0.005",
    "training.time=0.1",
    "data.dimension=3",
    "output.snapshots=3",
]
CELL = ["grid.cells=[16,16]", "training.time=1.0", "output.snapshots=2"]


def _sets(overrides: list[str]) -> list[str]:
    return [word for text in overrides for word in ("--set", text)]


def make(folder: Path) -> dict[str, Path]:
    """Run every verb that writes HDF5; name -> file."""
    studies = {"study": STUDY, "kernel-limit": KERNEL_LIMIT, "deep": DEEP}
    paths = {name: str(folder / f"{name}.toml") for name in studies}
    for name, text in studies.items():
        Path(paths[name]).write_text(text, encoding="utf-8")
    quiet = ["-q", "--no-figures"]
    commands = {
        "run": ["solve", paths["study"], *quiet],
        "cold": ["solve", paths["study"], *_sets(ATOMS), "--only", "limit", *quiet],
        "rest": ["solve", paths["study"], "--only", "stationary", *quiet],
        "swept": ["sweep", paths["study"], "--grid", "training.temperature=0.05,0.1", "--only", "limit", *quiet],
        "step": ["one-step", "one-step", *_sets(ONE_STEP), "--no-simulation", *quiet],
        "steps": ["one-step", "one-step", *_sets(ONE_STEP), *quiet],
        "kernel": ["kernel-limit", paths["kernel-limit"], *quiet],
        "deep": ["deep", paths["deep"], "--only", "limit", *quiet],
        "depths": ["deep", paths["deep"], *_sets(DEEP_TEST), *quiet],
        "cell": ["theory", "cell", "cell-tanh", *_sets(CELL), "-q"],
        "sgd": ["theory", "sgd", "--sweeps", "N,eps,t", "--replicas", "2", *_sets(SGD), "-q"],
    }
    for name, command in commands.items():
        code = main([*command, "-o", str(folder / name)])
        if code != 0:
            raise SystemExit(f"{' '.join(command)} ended with {code}")
    return {
        "limit": folder / "run" / "limit.h5",
        "particles": folder / "run" / "particles.h5",
        "atoms": folder / "cold" / "limit.h5",
        "stationary": folder / "rest" / "limit.h5",
        "swept": folder / "swept" / "training.temperature=0.1" / "limit.h5",
        "one-step": folder / "step" / "one-step.h5",
        "one-step-finite": _finite(folder / "steps" / "one-step.h5"),
        "kernel-limit": folder / "kernel" / "kernel-limit.h5",
        "deep": folder / "deep" / "deep.h5",
        "deep-finite": _finite(folder / "depths" / "deep.h5"),
        "cell": folder / "cell" / "cell.h5",
        "sgd": folder / "sgd" / "sgd.h5",
    }


def _finite(path: Path) -> Path:
    """A file with the finite networks of an output and what compares them, beside it."""
    contents = store.read(path)
    part = {name: group for name, group in contents.groups.items() if name.startswith(("/ensemble", "/compare"))}
    target = path.with_stem(f"{path.stem}-finite")
    store.write(target, part, contents.attributes)
    return target


def told(path: Path) -> dict[str, Any]:
    """What a file holds, as JSON: root attributes, and of every variable axes, type, first and last number, digest."""
    contents = store.read(path)
    return {
        "attributes": {name: _plain(value) for name, value in contents.attributes.items()},
        "groups": {
            name: {
                "attributes": {key: _plain(value) for key, value in group.attributes.items()},
                "variables": {key: _variable(variable) for key, variable in group.variables.items()},
            }
            for name, group in contents.groups.items()
        },
    }


def _variable(variable: store.Variable) -> dict[str, Any]:
    data = np.asarray(variable.data)
    flat = data.ravel()
    return {
        "dims": list(variable.dims),
        "shape": list(data.shape),
        "type": data.dtype.str.lstrip("<|"),
        "ends": [_plain(flat[0]), _plain(flat[-1])] if flat.size else [],
        "sha256": hashlib.sha256(_bytes(data)).hexdigest(),
    }


def _bytes(data: NDArray[Any]) -> bytes:
    return "\n".join(data.ravel().tolist()).encode() if data.dtype.kind == "U" else data.tobytes()


def _plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    return repr(value) if isinstance(value, float) and not np.isfinite(value) else value


def write(target: Path) -> None:
    """Add to ``target`` the golden files that it lacks."""
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder))
        for name, path in made.items():
            if path.stat().st_size > MOST_BYTES:
                raise SystemExit(f"{name} has {path.stat().st_size} bytes, more than {MOST_BYTES}")
        target.mkdir(exist_ok=True)
        for name, path in made.items():
            if not (target / f"{name}.h5").exists():
                shutil.copy(path, target / f"{name}.h5")
                text = json.dumps(told(path), indent=1, ensure_ascii=False)
                (target / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(HERE / f"schema-{store.SCHEMA}")
