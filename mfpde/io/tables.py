"""Studies as TOML: text from a file, from standard input or built in; nested tables; and text again.

What keys mean is not known here: a study of ``solve`` is declared in ``mfpde.io.schema``, one of ``one-step`` in
``mfpde.io.one_step.schema``.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mfpde.errors import ConfigError, FileSystemError
from mfpde.io import studies
from mfpde.io.explain import explain, nearest, show

MAX_BYTES = 1 << 20

Schema = TypeVar("Schema", bound=msgspec.Struct)


@dataclass(frozen=True)
class Source:
    """The text of a study, the name it was loaded under, the directory its relative data files start from, if any."""

    text: str
    name: str
    directory: Path | None


def read_source(source: str, builtin: Collection[str]) -> Source:
    """Text of a TOML file, of '-' (standard input) or of one of the ``builtin`` studies.

    Raises ConfigError (exit code 2) if it is missing or no text, FileSystemError if the system refuses to read it.
    """
    if source == "-":
        if sys.stdin.isatty():
            raise ConfigError("config", 'is "-" but standard input is a terminal', "pipe a TOML study into the command")
        return Source(_decode(sys.stdin.buffer.read(MAX_BYTES + 1)), "stdin", None)
    if source in builtin:
        return Source(studies.text(source), source, None)
    verb = studies.verb_of(source)
    if verb is not None:
        raise ConfigError("study", f"{show(source)} is a study of `mfpde {verb}`", f"mfpde {verb} {source}")
    path = Path(source)
    try:
        missing = path.is_dir() or not path.exists()
    except (OSError, ValueError):
        missing = True
    if missing:
        raise ConfigError(
            "study",
            f"{show(source)} is neither a TOML file nor a built-in study",
            nearest(source, builtin, "see `mfpde studies`"),
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileSystemError(f"cannot read {source}: {error.strerror}") from None
    return Source(_decode(data), path.stem, path.absolute().parent)


def parse_tables(
    text: str, overrides: Iterable[str] = (), expand: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Nested tables of TOML text; ``overrides`` are ``section.key=VALUE``, VALUE in TOML or bare.

    ``expand`` writes out abbreviations in place, before the first and after every override. Raises ConfigError.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError("config", f"is larger than {MAX_BYTES} bytes, the limit for a study")
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise ConfigError("config", "is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and integers of more digits than Python converts
        raise ConfigError("config", f"is not valid TOML: {error}") from None
    expand = expand or (lambda tables: None)
    expand(raw)
    for override in overrides:
        _set(raw, override)
        expand(raw)
    return raw


def structured(raw: dict[str, Any], schema: type[Schema]) -> Schema:
    """The tables as a ``schema``.  Raises ConfigError that names key, value and what is allowed."""
    try:
        return msgspec.convert(raw, schema)
    except msgspec.ValidationError as error:
        raise explain(str(error), raw, schema) from None


def sha256(config: msgspec.Struct) -> str:
    """Hexadecimal SHA-256 of the resolved TOML."""
    return hashlib.sha256(to_toml(config).encode()).hexdigest()


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise ConfigError("config", f"is larger than {MAX_BYTES} bytes, the limit for a study")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError("config", f"is not UTF-8 text (line {line}); a study is a TOML file") from None


def _set(raw: dict[str, Any], setting: str) -> None:
    """Apply one ``a.b=VALUE`` in place; VALUE is TOML, or a string where it is not."""
    key, equals, text = setting.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError("--set", f"is {show(setting)}; it must be KEY=VALUE, for example training.time=5")
    value: Any = text.strip()
    try:
        parsed = tomllib.loads(f"value = {text}")
        if list(parsed) == ["value"]:
            value = parsed["value"]
    except (ValueError, RecursionError):
        pass
    table = raw
    for i, part in enumerate(parts[:-1]):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            here = ".".join(parts[: i + 1])
            raise ConfigError(here, f"is {show(table)}, not a table, so --set cannot reach {'.'.join(parts)} in it")
    table[parts[-1]] = value


def to_toml(config: Any) -> str:
    """A study (its title first, then sections) as TOML text; parsing it gives ``config`` again."""
    lines = [f"title = {toml_value(config.title)}"]
    for section in config.__struct_fields__[1:]:
        table = getattr(config, section)
        if table is None:
            continue
        lines += ["", f"[{section}]"]
        lines += [f"{key} = {toml_value(item)}" for key, item in _items(table)]
    return "\n".join(lines) + "\n"


def _items(table: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """Keys and values of a structure, its tag first, without those that are None."""
    tag_field = table.__struct_config__.tag_field
    if tag_field is not None:
        yield tag_field, table.__struct_config__.tag
    for key in table.__struct_fields__:
        value = getattr(table, key)
        if value is not None:
            yield key, value


def toml_value(value: Any) -> str:
    """A value of a study as TOML, on one line."""
    if isinstance(value, msgspec.Struct):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in _items(value)) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
