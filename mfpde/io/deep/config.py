"""Read a study of a deep network: TOML -> validated ``Config``.  No numpy: a wrong key answers at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfpde.errors import ConfigError
from mfpde.io import studies
from mfpde.io.deep.schema import Config, EmpiricalData, NodesData
from mfpde.io.explain import check_values
from mfpde.io.tables import parse_tables, read_source, structured

VERB = "deep"


@dataclass(frozen=True)
class Loaded:
    """A study, the name it was loaded under, the directory its relative data files start from (None: none)."""

    config: Config
    name: str
    directory: Path | None


def load(source: str, overrides: Sequence[str] = ()) -> Loaded:
    """Study from a TOML file, '-' or a built-in name.  Raises ConfigError (exit code 2) or FileSystemError."""
    found = read_source(source, studies.names(VERB))
    return Loaded(parse(found.text, overrides), found.name, found.directory)


def parse(text: str, overrides: Iterable[str] = ()) -> Config:
    """Validated Config from TOML text with ``section.key=VALUE`` applied."""
    raw: dict[str, Any] = parse_tables(text, overrides, _expand)
    check_values(raw, ())
    if "data" not in raw:
        raise ConfigError(
            "data", "is missing; a study needs a [data] section", "start from `mfpde studies show deep-toy`"
        )
    config = structured(raw, Config)
    _check_network(config)
    _check_data(config)
    _check_finite(config)
    return config


def seeds_at(config: Config) -> tuple[int, ...]:
    """Number of seeds of every width."""
    w = config.finite
    return (w.seeds,) * len(w.widths) if isinstance(w.seeds, int) else w.seeds


def is_linear(config: Config) -> bool:
    """Whether the network is linear: its limit is then computed exactly, without samples."""
    return config.network.activation == "identity"


def every(config: Config) -> int:
    """One of so many steps is recorded."""
    return -(-config.training.steps // (config.output.snapshots - 1))


def recorded(config: Config) -> int:
    """Number of recorded steps: 0, every, 2 every, ... and the last."""
    return -(-config.training.steps // every(config)) + 1


def _expand(raw: dict[str, Any]) -> None:
    """A data section without a law is one of a file, or of numbers if it holds them."""
    data = raw.get("data")
    if isinstance(data, dict):
        data.setdefault("law", "nodes" if "x" in data else "empirical")


def _check_network(config: Config) -> None:
    network = config.network
    if network.activation == "hermite":
        if not any(network.hermite[1:]):
            raise ConfigError(
                "network.hermite", 'has no non-zero coefficient beyond the first; activation "hermite" needs one'
            )
    elif network.hermite:
        raise ConfigError(
            "network.hermite", f'belongs to activation "hermite" only; network.activation is "{network.activation}"'
        )
    rates = config.training.multipliers
    if rates.input == rates.hidden == rates.output == 0.0:
        raise ConfigError("training.multipliers", "are all 0; at least one layer must move")
    if network.bias_std > 0.0 and not network.bias:
        raise ConfigError(
            "network.bias_std", f"is {network.bias_std:g}, but the network has no bias", "network.bias = true"
        )


def _check_data(config: Config) -> None:
    data, loss = config.data, config.training.loss
    if isinstance(data, NodesData):
        _check_nodes(data)
        if loss == "logistic" and any(abs(y) != 1.0 for y in (*data.y, *(data.test_y or ()))):
            raise ConfigError("data.y", "holds a target that is neither -1 nor +1, which the logistic loss needs")
        if loss == "cross-entropy":
            _check_labels(data)
        if config.training.batch > len(data.x):
            _refuse_batch(config.training.batch, len(data.x))
        return
    _check_empirical(data, loss)


def _check_nodes(data: NodesData) -> None:
    width = len(data.x[0])
    for key in ("x", "test"):
        for i, row in enumerate(getattr(data, key) or ()):
            if len(row) != width:
                raise ConfigError(
                    f"data.{key}[{i}]", f"has {len(row)} numbers; every input needs as many as the first: {width}"
                )
    if len(data.y) != len(data.x):
        raise ConfigError("data.y", f"has {len(data.y)} numbers; data.x has {len(data.x)} inputs")
    if data.test_y is not None and len(data.test_y) != len(data.test or ()):
        raise ConfigError("data.test_y", f"has {len(data.test_y)} numbers; data.test has {len(data.test or ())} inputs")


def _check_labels(data: NodesData) -> None:
    labels = sorted(set(data.y))
    if labels != [float(k) for k in range(len(labels))] or len(labels) < 2:
        raise ConfigError("data.y", "must hold the classes 0, 1, …, at least two, with the cross-entropy")
    stray = sorted(set(data.test_y or ()) - set(labels))
    if stray:
        raise ConfigError("data.test_y", f"holds {stray[0]:g}, which is no class of data.y")


def _check_empirical(data: EmpiricalData, loss: str) -> None:
    spans = {"data.rows": data.rows, "data.test": data.test}
    for key, span in spans.items():
        if isinstance(span, tuple) and span[0] >= span[1]:
            raise ConfigError(key, f"is {list(span)}; [start, stop] must have start < stop")
    if data.test is not None:
        start, stop = data.rows if isinstance(data.rows, tuple) else (0, data.rows)
        if stop is None:
            raise ConfigError("data.rows", "is missing; with data.test it must say which rows are trained on")
        if max(start, data.test[0]) < min(stop, data.test[1]):
            raise ConfigError("data.test", f"is {list(data.test)}, which overlaps data.rows, [{start}, {stop}]")
    names = data.inputs if isinstance(data.inputs, tuple) else (data.inputs,)
    if len(set(names)) != len(names):
        raise ConfigError("data.inputs", "names an input twice; every input must be named once")
    if data.classes is not None:
        if len(set(data.classes)) != len(data.classes):
            raise ConfigError("data.classes", f"is {list(data.classes)}; the classes must differ")
        if loss != "cross-entropy" and len(data.classes) != 2:
            raise ConfigError("data.classes", f"lists {len(data.classes)}; the loss {loss} takes two")


def _check_finite(config: Config) -> None:
    w = config.finite
    if not isinstance(w.seeds, int) and len(w.seeds) != len(w.widths):
        raise ConfigError("finite.seeds", f"lists {len(w.seeds)} numbers for {len(w.widths)} widths")
    for key, values in (("widths", w.widths), ("parametrizations", w.parametrizations)):
        if len(set(values)) != len(values):
            raise ConfigError(f"finite.{key}", "holds a value twice")


def _refuse_batch(batch: int, samples: int) -> None:
    raise ConfigError("training.batch", f"is {batch}; there are {samples} samples to draw from")
