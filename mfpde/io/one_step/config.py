"""Read a study of one gradient step: TOML -> validated, resolved ``Config``.  No numpy: a wrong key answers at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from mfpde.errors import ConfigError
from mfpde.io import studies
from mfpde.io.explain import check_values
from mfpde.io.one_step.schema import Config, Mapping, Step
from mfpde.io.tables import parse_tables, read_source, structured

VERB = "one-step"
# what is swept -> section and key that it replaces
SWEPT = {
    "samples": ("readout", "samples"),
    "ridge": ("readout", "ridge"),
    "width": ("model", "width"),
    "noise": ("model", "noise"),
    "step": ("step", "size"),
    "batch": ("step", "batch"),
    "spike": ("spiked", "spike"),
    "bulk": ("spiked", "bulk"),
    "alignment": ("spiked", "alignment"),
}
_RANGES = {
    "samples": (0.1, 4.0),
    "ridge": (1e-4, 10.0),
    "width": (0.1, 4.0),
    "noise": (0.0, 1.0),
    "step": (0.0, 6.0),
    "batch": (0.5, 30.0),
    "spike": (0.0, 4.0),
    "bulk": (1.0, 3.0),
    "alignment": (0.0, 1.0),
}
_ABOVE_ZERO = ("samples", "width", "batch", "bulk")
_AT_LEAST_ZERO = ("ridge", "noise")
_ODD = ("tanh", "erf", "sin", "identity")


@dataclass(frozen=True)
class Loaded:
    """A study and the name it was loaded under."""

    config: Config
    name: str


def load(source: str, overrides: Sequence[str] = ()) -> Loaded:
    """Study from a TOML file, '-' or a built-in name.  Raises ConfigError (exit code 2) or FileSystemError."""
    found = read_source(source, studies.names(VERB))
    return Loaded(parse(found.text, overrides), found.name)


def parse(text: str, overrides: Iterable[str] = ()) -> Config:
    """Validated and resolved Config from TOML text with ``section.key=VALUE`` applied."""
    raw: dict[str, Any] = parse_tables(text, overrides)
    check_values(raw, ())
    config = structured(raw, Config)
    _check_sections(config)
    config = _resolve(config)
    _check_curve(config)
    _check_simulation(config)
    return config


def with_value(config: Config, value: float) -> Config:
    """The study with what it sweeps at one ``value``."""
    section, key = SWEPT[config.curve.over]
    return replace(config, **{section: replace(getattr(config, section), **{key: float(value)})})


def seeds_at(config: Config) -> tuple[int, ...]:
    """Number of seeds of every simulated dimension."""
    s = config.simulation
    return (s.seeds,) * len(s.dimensions) if isinstance(s.seeds, int) else s.seeds


def require_simulable(config: Config) -> None:
    """Raise ConfigError for a vanishing ridge, which only the theory knows."""
    assert config.simulation.at is not None
    for value in config.simulation.at:
        if with_value(config, value).readout.ridge == 0.0:
            raise ConfigError(
                "readout.ridge", "is 0; at finite sizes it must be above 0", "--no-simulation computes the theory alone"
            )


def _check_sections(config: Config) -> None:
    if config.step is None and config.spiked is None:
        raise ConfigError("step", "is missing; a study of one step needs [step], or [spiked] instead")
    if config.step is not None and config.spiked is not None:
        raise ConfigError("spiked", "cannot stand beside [step], which makes the first layer; keep one")
    for name in ("student", "target"):
        given = bool(getattr(config.model, f"{name}_hermite"))
        if given != (getattr(config.model, name) == "hermite"):
            state = "is given" if given else "is missing"
            raise ConfigError(f"model.{name}_hermite", f'{state}; it belongs to model.{name} = "hermite"')
    section, _ = SWEPT[config.curve.over]
    if getattr(config, section) is None:
        allowed = ", ".join(name for name, (at, _) in SWEPT.items() if getattr(config, at) is not None)
        raise ConfigError("curve.over", f'is "{config.curve.over}" of [{section}], absent here; allowed: {allowed}')


def _resolve(config: Config) -> Config:
    """Maps, range, simulated values, twins and draws, whose defaults depend on other keys."""
    curve, simulation, step = config.curve, config.simulation, config.step
    low, high = curve.range or _RANGES[curve.over]
    if simulation.at is None:
        shares = (0.25, 0.5, 1.0)
        equal_ratios = curve.over == "ridge" and low > 0.0
        at = (low * (high / low) ** s if equal_ratios else low + s * (high - low) for s in shares)
        simulation = replace(simulation, at=tuple(at))
    simulation = replace(
        simulation,
        twins=simulation.twins or (("spiked",) if step is None else ("network",)),
        # the step of an actual network costs more than the readout
        draws=simulation.draws or (1 if step is None else 4),
    )
    if step is not None and step.maps is None:
        step = replace(step, maps=_maps(config))
    return replace(config, curve=replace(curve, range=(low, high)), simulation=simulation, step=step)


def _maps(config: Config) -> tuple[Mapping, ...]:
    model = config.model
    odd = model.student in _ODD or (model.student == "hermite" and not any(model.student_hermite[::2]))
    return ("plain", "refined") if odd else ("plain", "measured")


def _check_curve(config: Config) -> None:
    over, limits = config.curve.over, config.curve.range
    assert limits is not None and config.simulation.at is not None
    if not limits[0] < limits[1]:
        raise ConfigError("curve.range", f"is [{limits[0]:g}, {limits[1]:g}]; it must increase")
    # the same words for every value that is computed
    for key, values in (("curve.range", limits), ("simulation.at", config.simulation.at)):
        for value in values:
            if over in _ABOVE_ZERO and not value > 0.0:
                raise ConfigError(key, f"holds {value:g}; every value of {over} must be above 0")
            if over in _AT_LEAST_ZERO and value < 0.0:
                raise ConfigError(key, f"holds {value:g}; every value of {over} must be at least 0")
            if over == "alignment" and abs(value) > 1.0:
                raise ConfigError(key, f"holds {value:g}; every alignment lies between -1 and 1")
    loss = config.readout.loss
    if loss != "square" and config.readout.ridge == 0.0:
        raise ConfigError("readout.ridge", f"is 0; with the loss {loss} it must be above 0")
    if loss == "logistic" and (config.model.target != "sign" or config.model.noise > 0.0 or over == "noise"):
        raise ConfigError(
            "readout.loss", 'is "logistic", which takes labels +1 and -1: model.target = "sign" without noise'
        )
    for section in (config.step, config.spiked):
        for value, share in () if section is None else section.readout:
            if not share > 0.0:
                where = "step" if isinstance(section, Step) else "spiked"
                raise ConfigError(f"{where}.readout", f"holds the pair [{value:g}, {share:g}]; shares must be above 0")


def _check_simulation(config: Config) -> None:
    s = config.simulation
    assert s.at is not None and s.twins is not None
    if not isinstance(s.seeds, int) and len(s.seeds) != len(s.dimensions):
        raise ConfigError("simulation.seeds", f"lists {len(s.seeds)} numbers for {len(s.dimensions)} dimensions")
    for key, values in (("at", s.at), ("dimensions", s.dimensions), ("twins", s.twins)):
        if len(set(values)) != len(values):
            raise ConfigError(f"simulation.{key}", "holds a value twice")
    if "network" in s.twins and config.step is None:
        raise ConfigError("simulation.twins", 'holds "network", which needs a [step]; allowed here: spiked')
    if "spiked" in s.twins and config.step is not None and "plain" not in (config.step.maps or ()):
        raise ConfigError("simulation.twins", 'holds "spiked", drawn by the map plain, which step.maps lacks')
    smallest = min(s.dimensions)
    for value in s.at:
        varied = with_value(config, value)
        sizes = {"readout.samples": varied.readout.samples, "model.width": varied.model.width}
        if varied.step is not None and varied.step.batch > 0.0:
            sizes["step.batch"] = varied.step.batch
        for key, ratio in sizes.items():
            if round(ratio * smallest) < 1:
                raise ConfigError(
                    "simulation.dimensions", f"holds {smallest}, at which {key} = {ratio:g} leaves not a single one"
                )
