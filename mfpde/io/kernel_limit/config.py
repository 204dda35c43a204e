"""Read a study of the kernel limit: TOML -> validated, resolved ``Config``.  No numpy: a wrong key answers at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mfpde.errors import ConfigError
from mfpde.io import rules, schema, studies
from mfpde.io.explain import check_values
from mfpde.io.kernel_limit.schema import Config
from mfpde.io.tables import parse_tables, read_source, structured

VERB = "kernel-limit"
# rows whose kernel matrix is diagonalised in a minute
MOST_ROWS = 8000


@dataclass(frozen=True)
class Loaded:
    """A study, the name it was loaded under, the directory its data files start from (None: none)."""

    config: Config
    name: str
    directory: Path | None


def load(source: str, overrides: Sequence[str] = ()) -> Loaded:
    """Study from a TOML file, '-' or a built-in name, those of ``solve`` among them.

    Raises ConfigError (exit code 2) or FileSystemError.
    """
    found = read_source(source, (*studies.names(VERB), *studies.names()))
    return Loaded(parse(found.text, overrides), found.name, found.directory)


def parse(text: str, overrides: Iterable[str] = ()) -> Config:
    """Validated and resolved Config from TOML text with ``section.key=VALUE`` applied."""
    raw: dict[str, Any] = parse_tables(text, overrides, _expand)
    if "pairwise" in raw:
        raise ConfigError("pairwise", "states a problem without a network; the kernel limit needs [network] and [data]")
    check_values(raw, ())
    config = structured(raw, Config)
    rules.check_sections(config)
    resolved = rules.resolve(config)
    assert isinstance(resolved, Config)
    rules.check(resolved)
    _check(resolved)
    # of a study of ``solve`` the flow here has neither noise nor weight decay, and takes its scales one after another
    training = replace(resolved.training, temperature=0.0, weight_decay=0.0)
    return replace(resolved, training=training)


def _expand(raw: dict[str, Any]) -> None:
    data = raw.get("data")
    if isinstance(data, dict):
        data.setdefault("law", "gaussian")


def _check(config: Config) -> None:
    if config.training.loss != "square":
        raise ConfigError(
            "training.loss",
            f'is "{config.training.loss}"; the kernel limit is that of the square loss',
            "add --set training.loss=square: labels -1 and +1 are regressed",
        )
    scales = config.kernel_limit.scales
    if len(set(scales)) != len(scales):
        raise ConfigError("kernel_limit.scales", "holds a value twice")
    a = config.initial.a
    if isinstance(a, schema.Point):
        raise ConfigError(
            "initial.a",
            f"is the point {a.value:g}; the output at the start must be 0 for every scale: a law of mean 0",
            "for example --set 'initial.a={law=\"rademacher\"}'",
        )


def held_out(config: Config, rows: int) -> int:
    """Number of rows held out of so many.  Raises ConfigError if too few or too many are left to train on."""
    count = round(config.kernel_limit.test * rows)
    if count >= rows:
        raise ConfigError(
            "kernel_limit.test", f"is {config.kernel_limit.test:g}; of {rows} rows none is left to train on"
        )
    if rows - count > MOST_ROWS:
        raise ConfigError(
            "data.rows", f"leaves {rows - count} rows to train on; the kernel matrix takes at most {MOST_ROWS}"
        )
    return count
