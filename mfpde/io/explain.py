"""Messages for what a study may not hold: the dotted key, its value, what is allowed, the nearest allowed name."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from mfpde.errors import ConfigError

MAX_DEPTH = 8


def check_values(value: Any, path: tuple[str | int, ...]) -> None:
    """Refuse what TOML allows and no key means: deep nesting, NaN, infinity, huge integers, control characters."""
    if len(path) > MAX_DEPTH:
        raise ConfigError(dotted(path[:3]), "is nested too deeply")
    if isinstance(value, dict):
        for key, item in value.items():
            check_values(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            check_values(item, (*path, i))
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(dotted(path), f"is {value}; it must be a finite number")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ConfigError(dotted(path), "is an integer beyond 64 bits")
    elif isinstance(value, str) and not value.isprintable():
        raise ConfigError(dotted(path), f"is {show(value)}; it must be printable text in one line")


def explain(message: str, raw: dict[str, Any], schema: type[msgspec.Struct]) -> ConfigError:
    """ConfigError for what msgspec says of ``raw`` as a ``schema``, '<what> - at `$.section.key[0]`'.

    It shows value, bounds and near misses.
    """
    what, _, place = message.partition(" - at ")
    path = tuple(
        int(index) if index else name for name, index in re.findall(r"([^.\[\]`$]+)|\[(\d+)\]", place.strip("`"))
    )
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL)
    missing = re.fullmatch(r"Object missing required field `(.*)`", what, re.DOTALL)
    value: Any = raw
    for part in path:
        value = value[part]
    if unknown:
        key = unknown[1]
        return ConfigError(dotted((*path, key)), *_unknown(key, path, raw, schema))
    expected = " or ".join(describe(kind) for kind in _kinds(path, raw, schema))
    if missing:
        key = missing[1]
        allowed = " or ".join(describe(kind) for kind in _kinds((*path, key), raw, schema))
        return ConfigError(dotted((*path, key)), f"is missing; it must be {allowed}")
    if isinstance(value, dict) and not expected.startswith("a table"):
        return ConfigError(dotted(path), f"is a table; it must be {expected}")
    hint = None
    if isinstance(value, str):
        names = re.findall(r'"([^"]+)"', expected)
        hint = nearest(value, names, None)
    return ConfigError(dotted(path), f"is {show(value)}; it must be {expected}", hint)


def _unknown(
    key: str, path: Sequence[str | int], raw: dict[str, Any], schema: type[msgspec.Struct]
) -> tuple[str, str | None]:
    """Message and hint for a key that the table at ``path`` does not have."""
    structs = [kind for kind in _kinds(path, raw, schema, every=True) if isinstance(kind, msgspec.inspect.StructType)]
    chosen = [kind for kind in _kinds(path, raw, schema) if isinstance(kind, msgspec.inspect.StructType)]
    allowed = sorted({name for kind in chosen for name in _field_names(kind)})
    for kind in structs:
        if key in {field.encode_name for field in kind.fields} and chosen and kind.tag_field:
            return f'is not used with {kind.tag_field} = "{chosen[0].tag}"; allowed: {", ".join(allowed)}', None
    return f"is not a known key; allowed: {', '.join(allowed)}", nearest(key, allowed, None)


def _field_names(kind: msgspec.inspect.StructType) -> Iterator[str]:
    if kind.tag_field:
        yield kind.tag_field
    yield from (field.encode_name for field in kind.fields)


def _kinds(path: Sequence[str | int], raw: Any, schema: type[msgspec.Struct], every: bool = False) -> list[Any]:
    """Types allowed at ``path`` by the schema; tagged alternatives follow the tags in ``raw`` unless ``every``."""
    kinds: list[Any] = [msgspec.inspect.type_info(schema)]
    value = raw
    for i, part in enumerate((*path, None)):
        kinds = [leaf for kind in kinds for leaf in leaves(kind)]
        last = i == len(path)
        if isinstance(value, dict) and not (last and every):
            kinds = [k for k in kinds if _tag_fits(k, value, part)] or kinds
        if last:
            break
        kinds = [inner for kind in kinds for inner in _inner(kind, part)]
        value = _child(value, part)
    return [kind for kind in kinds if not isinstance(kind, msgspec.inspect.NoneType)]


def leaves(kind: Any) -> Iterator[Any]:
    """The types that a schema type allows: alternatives one by one, bounds of a list taken off."""
    if isinstance(kind, msgspec.inspect.UnionType):
        for inner in kind.types:
            yield from leaves(inner)
    elif isinstance(kind, msgspec.inspect.Metadata):
        yield from leaves(kind.type)
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


def describe(kind: Any) -> str:
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
            item = " or ".join(describe(leaf) for leaf in leaves(kind.item_type))
            low, high = kind.min_length, kind.max_length
            length = f"{low} " if low and low == high else f"at most {high} " if high else ""
            return f"a {'non-empty ' if low and low != high else ''}list of {length}entries, each {item}"
        case inspect.StructType():
            return "a table with the keys " + ", ".join(_field_names(kind))
    return "something else"


def _range(kind: Any) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {_bound(kind.ge)} to {_bound(kind.le)}"
    bounds = {"above": kind.gt, "at least": kind.ge, "at most": kind.le, "below": kind.lt}
    return " " + ", ".join(f"{words} {_bound(value)}" for words, value in bounds.items() if value is not None)


def _bound(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def nearest(name: str, candidates: Iterable[str], otherwise: str | None) -> str | None:
    close = difflib.get_close_matches(name[:100], list(candidates), n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else otherwise


def dotted(path: Iterable[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:60]}" for part in path)
    return text.lstrip(".").encode("unicode_escape").decode() if not text.isprintable() else text.lstrip(".")


def show(value: Any) -> str:
    """The value as TOML would write it, cut to one short line."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool | str) or value is None:
        text = json.dumps(value, ensure_ascii=not str(value).isprintable())
    else:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
