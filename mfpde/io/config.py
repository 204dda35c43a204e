"""Read a study: TOML text or file or built-in name -> validated, frozen ``Config``; and write it back.

Every failure is a ConfigError that names the dotted key, its value and what is allowed, with the nearest allowed key
where one is mistyped. Imports neither numpy nor anything heavier: a config error answers at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfpde.io import rules, studies
from mfpde.io.explain import check_values
from mfpde.io.schema import Config
from mfpde.io.tables import MAX_BYTES as MAX_BYTES
from mfpde.io.tables import parse_tables, read_source, structured
from mfpde.io.tables import sha256 as sha256
from mfpde.io.tables import to_toml as to_toml

# Tables that may be written as a bare name, and the key the name stands for.
BARE = {("pairwise", "potential"): "name", ("pairwise", "interaction"): "name"}


@dataclass(frozen=True)
class Loaded:
    """A study with the name it was loaded under and the directory its relative data files start from (None: none)."""

    config: Config
    name: str
    directory: Path | None


def load(source: str, overrides: Sequence[str] = ()) -> Loaded:
    """Study from a TOML file, '-' (standard input) or a built-in name, with ``KEY=VALUE`` overrides applied.

    Raises ConfigError (exit code 2) if it is missing or invalid, FileSystemError if the system refuses to read it.
    """
    found = read_source(source, studies.names())
    return Loaded(parse(found.text, overrides), found.name, found.directory)


def parse(text: str, overrides: Iterable[str] = ()) -> Config:
    """Validated and resolved Config from TOML text; ``overrides`` are ``section.key=VALUE``, VALUE in TOML or bare."""
    return convert(parse_tables(text, overrides, _expand))


def convert(raw: dict[str, Any]) -> Config:
    """Validated and resolved Config from the nested tables of a TOML document."""
    check_values(raw, ())
    config = structured(raw, Config)
    rules.check_sections(config)
    config = rules.resolve(config)
    rules.check(config)
    return config


def _expand(raw: dict[str, Any]) -> None:
    """Write bare names as tables, so that ``--set`` can reach their parameters; supply the default data law."""
    for (section, key), tag in BARE.items():
        table = raw.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = {tag: table[key]}
    data = raw.get("data")
    if isinstance(data, dict):
        data.setdefault("law", "gaussian")
