"""Read a study: TOML text or file or built-in name -> validated, frozen ``Config``; and write it back.

Every failure is a ConfigError that names the dotted key, its value and what is allowed, with the nearest allowed key
where one is mistyped. Imports neither numpy nor anything heavier: a config error answers at once.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mfpde.errors import ConfigError, FileSystemError
from mfpde.io import rules, studies
from mfpde.io.schema import Config

MAX_BYTES = 1 << 20
MAX_DEPTH = 8

# Tables that may be written as a bare name, and the key the name stands for.
_BARE = {("pairwise", "potential"): "name", ("pairwise", "interaction"): "name"}
_LATER = {
    "two-gaussians": 'is "two-gaussians", which belongs to a later release; use "gaussian", "empirical" or "nodes"'
}


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
    if source == "-":
        if sys.stdin.isatty():
            raise ConfigError("config", 'is "-" but standard input is a terminal', "pipe a TOML study into the command")
        return Loaded(parse(_decode(sys.stdin.buffer.read(MAX_BYTES + 1)), overrides), "stdin", None)
    if source in studies.names():
        return Loaded(parse(studies.text(source), overrides), source, None)
    path = Path(source)
    try:
        missing = path.is_dir() or not path.exists()
    except (OSError, ValueError):
        missing = True
    if missing:
        raise ConfigError(
            "study",
            f"{_show(source)} is neither a TOML file nor a built-in study",
            _nearest(source, studies.names(), "see `mfpde studies`"),
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileSystemError(f"cannot read {source}: {error.strerror}") from None
    return Loaded(parse(_decode(data), overrides), path.stem, path.absolute().parent)


def parse(text: str, overrides: Iterable[str] = ()) -> Config:
    """Validated and resolved Config from TOML text; ``overrides`` are ``section.key=VALUE``, VALUE in TOML or bare."""
    if len(text) > MAX_BYTES:
        raise ConfigError("config", f"is larger than {MAX_BYTES} bytes, the limit for a study")
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        raise ConfigError("config", "is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and integers of more digits than Python converts
        raise ConfigError("config", f"is not valid TOML: {error}") from None
    _expand(raw)
    for override in overrides:
        _set(raw, override)
        _expand(raw)
    return convert(raw)


def convert(raw: dict[str, Any]) -> Config:
    """Validated and resolved Config from the nested tables of a TOML document."""
    _check_values(raw, ())
    data = raw.get("data")
    if isinstance(data, dict) and isinstance(data.get("law"), str) and data["law"] in _LATER:
        raise ConfigError("data.law", _LATER[data["law"]])
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise _explain(str(error), raw) from None
    rules.check_sections(config)
    config = rules.resolve(config)
    rules.check(config)
    return config


def sha256(config: Config) -> str:
    """Hexadecimal SHA-256 of the resolved TOML."""
    return hashlib.sha256(to_toml(config).encode()).hexdigest()


# ---- raw tables ------------------------------------------------------------------------------------------------


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise ConfigError("config", f"is larger than {MAX_BYTES} bytes, the limit for a study")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError("config", f"is not UTF-8 text (line {line}); a study is a TOML file") from None


def _expand(raw: dict[str, Any]) -> None:
    """Write bare names as tables, so that ``--set`` can reach their parameters; supply the default data law."""
    for (section, key), tag in _BARE.items():
        table = raw.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = {tag: table[key]}
    data = raw.get("data")
    if isinstance(data, dict):
        data.setdefault("law", "gaussian")


def _set(raw: dict[str, Any], override: str) -> None:
    """Apply one ``a.b=VALUE`` in place; VALUE is TOML, or a string where it is not."""
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError("--set", f"is {_show(override)}; it must be KEY=VALUE, for example training.time=5")
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
            raise ConfigError(here, f"is {_show(table)}, not a table, so --set cannot reach {'.'.join(parts)} in it")
    table[parts[-1]] = value


def _check_values(value: Any, path: tuple[str | int, ...]) -> None:
    """Refuse what TOML allows and no key means: deep nesting, NaN, infinity, huge integers, control characters."""
    if len(path) > MAX_DEPTH:
        raise ConfigError(_dotted(path[:3]), "is nested too deeply")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_values(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check_values(item, (*path, i))
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(_dotted(path), f"is {value}; it must be a finite number")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ConfigError(_dotted(path), "is an integer beyond 64 bits")
    elif isinstance(value, str) and not value.isprintable():
        raise ConfigError(_dotted(path), f"is {_show(value)}; it must be printable text in one line")


# ---- error messages --------------------------------------------------------------------------------------------


def _explain(message: str, raw: dict[str, Any]) -> ConfigError:
    """ConfigError for a msgspec message '<what> - at `$.section.key[0]`', with value, bounds and near misses."""
    what, _, place = message.partition(" - at ")
    path = tuple(
        int(index) if index else name for name, index in re.findall(r"([^.\[\]`$]+)|\[(\d+)\]", place.strip("`"))
    )
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    value: Any = raw
    for part in path:
        value = value[part]
    if unknown:
        key = unknown[1]
        return ConfigError(_dotted((*path, key)), *_unknown(key, path, raw))
    expected = " or ".join(_describe(kind) for kind in _kinds(path, raw))
    if missing:
        key = missing[1]
        allowed = " or ".join(_describe(kind) for kind in _kinds((*path, key), raw))
        return ConfigError(_dotted((*path, key)), f"is missing; it must be {allowed}")
    if isinstance(value, dict) and not expected.startswith("a table"):
        return ConfigError(_dotted(path), f"is a table; it must be {expected}")
    hint = None
    if isinstance(value, str):
        names = re.findall(r'"([^"]+)"', expected)
        hint = _nearest(value, names, None)
    return ConfigError(_dotted(path), f"is {_show(value)}; it must be {expected}", hint)


def _unknown(key: str, path: Sequence[str | int], raw: dict[str, Any]) -> tuple[str, str | None]:
    """Message and hint for a key that the table at ``path`` does not have."""
    structs = [kind for kind in _kinds(path, raw, every=True) if isinstance(kind, msgspec.inspect.StructType)]
    chosen = [kind for kind in _kinds(path, raw) if isinstance(kind, msgspec.inspect.StructType)]
    allowed = sorted({name for kind in chosen for name in _field_names(kind)})
    for kind in structs:
        if key in {field.encode_name for field in kind.fields} and chosen and kind.tag_field:
            return f'is not used with {kind.tag_field} = "{chosen[0].tag}"; allowed: {", ".join(allowed)}', None
    return f"is not a known key; allowed: {', '.join(allowed)}", _nearest(key, allowed, None)


def _field_names(kind: msgspec.inspect.StructType) -> Iterator[str]:
    if kind.tag_field:
        yield kind.tag_field
    yield from (field.encode_name for field in kind.fields)


def _kinds(path: Sequence[str | int], raw: Any, every: bool = False) -> list[Any]:
    """Types allowed at ``path`` by the schema; tagged alternatives follow the tags in ``raw`` unless ``every``."""
    kinds: list[Any] = [msgspec.inspect.type_info(Config)]
    value = raw
    for i, part in enumerate((*path, None)):
        kinds = [leaf for kind in kinds for leaf in _leaves(kind)]
        last = i == len(path)
        if isinstance(value, dict) and not (last and every):
            kinds = [k for k in kinds if _tag_fits(k, value, part)] or kinds
        if last:
            break
        kinds = [inner for kind in kinds for inner in _inner(kind, part)]
        value = _child(value, part)
    return [kind for kind in kinds if not isinstance(kind, msgspec.inspect.NoneType)]


def _leaves(kind: Any) -> Iterator[Any]:
    if isinstance(kind, msgspec.inspect.UnionType):
        for inner in kind.types:
            yield from _leaves(inner)
    elif isinstance(kind, msgspec.inspect.Metadata):
        yield from _leaves(kind.type)
    else:
        yield kind


def _tag_fits(kind: Any, value: dict[str, Any], part: str | int | None) -> bool:
    tagged = isinstance(kind, msgspec.inspect.StructType) and kind.tag_field is not None
    return not tagged or kind.tag_field == part or value.get(kind.tag_field) == kind.tag


def _inner(kind: Any, part: str | int | None) -> Iterator[Any]:
    if isinstance(kind, msgspec.inspect.VarTupleType) and isinstance(part, int):
        yield kind.item_type
    elif isinstance(kind, msgspec.inspect.StructType):
        if part == kind.tag_field:
            yield msgspec.inspect.LiteralType(values=(kind.tag,))
        for field in kind.fields:
            if field.encode_name == part:
                yield field.type


def _child(value: Any, part: str | int | None) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _describe(kind: Any) -> str:
    """A schema type in words: 'an integer between 1 and 64', 'one of "a", "b"'."""
    inspect = msgspec.inspect
    match kind:
        case inspect.LiteralType():
            return " or ".join(f'"{value}"' for value in kind.values)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "an integer" + _range(kind)
        case inspect.FloatType():
            return "a number" + _range(kind)
        case inspect.StrType():
            return "a text in quotes"
        case inspect.VarTupleType():
            item = " or ".join(_describe(leaf) for leaf in _leaves(kind.item_type))
            low, high = kind.min_length, kind.max_length
            length = f"{low} " if low and low == high else f"at most {high} " if high else ""
            return f"a {'non-empty ' if low and low != high else ''}list of {length}entries, each {item}"
        case inspect.StructType():
            return "a table with the keys " + ", ".join(_field_names(kind))
    return "something else"


def _range(kind: Any) -> str:
    if kind.ge is not None:
        return f" from {_bound(kind.ge)} to {_bound(kind.le)}"
    return f" above {_bound(kind.gt)}, at most {_bound(kind.le)}"


def _bound(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _nearest(name: str, candidates: Iterable[str], otherwise: str | None) -> str | None:
    close = difflib.get_close_matches(name[:100], list(candidates), n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else otherwise


def _dotted(path: Iterable[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:60]}" for part in path)
    return text.lstrip(".").encode("unicode_escape").decode() if not text.isprintable() else text.lstrip(".")


def _show(value: Any) -> str:
    """The value as TOML would write it, cut to one short line."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool | str) or value is None:
        text = json.dumps(value, ensure_ascii=not str(value).isprintable())
    else:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


# ---- writing ---------------------------------------------------------------------------------------------------


def to_toml(config: Config) -> str:
    """The resolved study as TOML text; ``parse(to_toml(config)) == config``."""
    lines = [f"title = {_value(config.title)}"]
    for section in config.__struct_fields__[1:]:
        table = getattr(config, section)
        if table is None:
            continue
        lines += ["", f"[{section}]"]
        lines += [f"{key} = {_value(item)}" for key, item in _items(table)]
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


def _value(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in _items(value)) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
