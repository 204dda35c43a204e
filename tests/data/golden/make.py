"""Make the golden files of the present schema: python tests/data/golden/make.py, once per released schema.

Small outputs of every kind, and beside each NAME.json with what a later version has to read from it. Files of a schema
that is already there are left as they are: they are the ones that users have.
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
MOST_BYTES = 70_000

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
CELL = ["grid.cells=[16,16]", "training.time=1.0", "output.snapshots=2"]


def _sets(overrides: list[str]) -> list[str]:
    return [word for text in overrides for word in ("--set", text)]


def make(folder: Path) -> dict[str, Path]:
    """Run every verb that writes HDF5; name -> file."""
    study = folder / "golden.toml"
    study.write_text(STUDY, encoding="utf-8")
    quiet = ["-q", "--no-figures"]
    commands = {
        "run": ["solve", str(study), *quiet],
        "cold": ["solve", str(study), *_sets(ATOMS), "--only", "limit", *quiet],
        "rest": ["solve", str(study), "--only", "stationary", *quiet],
        "step": ["one-step", "one-step", *_sets(ONE_STEP), *quiet],
        "cell": ["theory", "cell", "cell-tanh", *_sets(CELL), "-q"],
        "swept": ["sweep", str(study), "--grid", "training.temperature=0.05,0.1", "--only", "limit", *quiet],
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
        "one-step": folder / "step" / "one-step.h5",
        "cell": folder / "cell" / "cell.h5",
        "swept": folder / "swept" / "training.temperature=0.1" / "limit.h5",
    }


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
    """Fill ``target`` with the golden files."""
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder))
        for name, path in made.items():
            if path.stat().st_size > MOST_BYTES:
                raise SystemExit(f"{name} has {path.stat().st_size} bytes, more than {MOST_BYTES}")
        target.mkdir()
        for name, path in made.items():
            shutil.copy(path, target / f"{name}.h5")
            text = json.dumps(told(path), indent=1, ensure_ascii=False)
            (target / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    schema = HERE / f"schema-{store.SCHEMA}"
    if schema.exists():
        raise SystemExit(f"{schema} is there already")
    write(schema)
