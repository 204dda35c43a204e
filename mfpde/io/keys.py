"""Which keys a study may hold, told from the schema itself: a commented template, JSON Schema, one key explained."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import msgspec
from msgspec import inspect

from mfpde.errors import ConfigError
from mfpde.io import studies
from mfpde.io.explain import describe, leaves, nearest
from mfpde.io.tables import toml_value

VERBS = ("solve", "kernel-limit", "one-step", "deep")
"""The verbs that run a study; each has a schema of its own."""

_COMMENT_COLUMN = 44


@dataclass(frozen=True)
class Key:
    """One meaning of a key: where it holds, what it may be, its default in TOML (None: required), words on its table.

    The table is the one the key stands in, or the key itself where it is one.

    ``when`` says which other keys choose this meaning, as TOML; "" if none does.
    """

    path: str
    when: str
    allowed: str
    default: str | None
    table: str


def modules(verb: str) -> tuple[ModuleType, ModuleType]:
    """The modules that read a study of ``verb`` and that declare its schema."""
    base = "mfpde.io" if verb == "solve" else f"mfpde.io.{verb.replace('-', '_')}"
    return importlib.import_module(f"{base}.config"), importlib.import_module(f"{base}.schema")


def every_key(verb: str) -> list[Key]:
    """All keys of a study of ``verb`` in the order of the schema, sections before what is in them."""
    return list(_walk(inspect.type_info(modules(verb)[1].Config), "", ()))


def explain_key(verb: str, path: str) -> list[Key]:
    """The meanings of one key, and of the keys directly below it.  ConfigError with the nearest if it is unknown."""
    known = every_key(verb)
    found = [key for key in known if key.path == path or key.path.rpartition(".")[0] == path]
    if not found:
        raise ConfigError(path[:80], "is not a known key", nearest(path, [key.path for key in known], None))
    return found


def json_schema(verb: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a study of ``verb``, for editors that check TOML.

    It admits what may be left out or written short: the law of the data, the name of a table without more keys.  Rules
    that join two keys are not in it.
    """
    reader, declared = modules(verb)
    schema: dict[str, Any] = msgspec.json.schema(declared.Config)
    definitions = schema["$defs"]
    sections = definitions["Config"]["properties"]
    for table in _referred(sections.get("data", {}), definitions):
        table["required"] = [key for key in table.get("required", ()) if key != "law"]
    for (section, key), tag in getattr(reader, "BARE", {}).items():
        for table in _referred(sections.get(section, {}), definitions):
            full = table["properties"][key]
            names = [name for one in _referred(full, definitions) for name in one["properties"][tag]["enum"]]
            table["properties"][key] = {"anyOf": [full, {"enum": names}]}
    title = f"A study of mfpde {verb}"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def _referred(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The tables that a part of a JSON Schema refers to, itself or as alternatives."""
    if "$ref" in schema:
        return [definitions[schema["$ref"].rpartition("/")[2]]]
    return [table for one in schema.get("anyOf", ()) for table in _referred(one, definitions)]


def template(verb: str) -> str:
    """The default study of ``verb`` as TOML with all its keys, each with what it may be; it parses to that study."""
    reader, _ = modules(verb)
    name = studies.names(verb)[0]
    study = reader.parse(studies.text(name))
    lines = [
        f"# The built-in study {name} with every key written out; behind each stands what it may be.",
        f"# `mfpde config {verb} --explain KEY` tells more, `mfpde {verb} FILE --dry-run` checks the file.",
        f"title = {toml_value(study.title)}",
    ]
    for section in study.__struct_fields__[1:]:
        table = getattr(study, section)
        if table is None:
            lines += ["", f"# [{section}] is not used here: mfpde config {verb} --explain {section}"]
        else:
            lines += ["", *_section(verb, section, table)]
    return "\n".join(lines) + "\n"


def _section(verb: str, section: str, table: msgspec.Struct) -> Iterator[str]:
    yield f"[{section}]"
    tag_field = table.__struct_config__.tag_field
    values = {} if tag_field is None else {tag_field: table.__struct_config__.tag}
    values |= {key: getattr(table, key) for key in table.__struct_fields__}
    for key, value in values.items():
        choice = f"{section}.{tag_field} = {toml_value(values[tag_field])}" if tag_field else ""
        meanings = [k for k in every_key(verb) if k.path == f"{section}.{key}"]
        chosen = [k.allowed for k in meanings if key == tag_field or k.when == choice]
        comment = " or ".join(dict.fromkeys(chosen))
        line = f"# {key} =" if value is None else f"{key} = {toml_value(value)}"
        yield f"{line:<{_COMMENT_COLUMN}}  # {comment}"


def _walk(kind: Any, path: str, when: tuple[str, ...]) -> Iterator[Key]:
    """The keys of a table that is at ``path``, depth first."""
    for field in kind.fields:
        here = f"{path}.{field.encode_name}".lstrip(".")
        kinds = [leaf for leaf in leaves(field.type) if not isinstance(leaf, inspect.NoneType)]
        plain = " or ".join(_brief(leaf) for leaf in kinds)
        structs = [leaf for leaf in kinds if isinstance(leaf, inspect.StructType)]
        words = " ".join(_words(leaf) for leaf in structs or [kind])
        yield Key(here, ", ".join(when), plain, _default(field), words)
        tags = {leaf.tag_field: "" for leaf in structs if leaf.tag_field}
        for name in tags:
            names = " or ".join(f'"{leaf.tag}"' for leaf in structs)
            yield Key(f"{here}.{name}", ", ".join(when), names, None, "Chooses the kind of the table.")
        for leaf in structs:
            chosen = (f'{here}.{leaf.tag_field} = "{leaf.tag}"',) if leaf.tag_field else ()
            yield from _walk(leaf, here, (*when, *chosen))


def _words(kind: inspect.StructType) -> str:
    return " ".join((kind.cls.__doc__ or "").replace("``", "").split())


def _brief(kind: Any) -> str:
    """As ``describe``, a table by its keys in braces."""
    if not isinstance(kind, inspect.StructType):
        return describe(kind)
    tag = [f'{kind.tag_field} = "{kind.tag}"'] if kind.tag_field else []
    return "{ " + ", ".join([*tag, *(field.encode_name for field in kind.fields)]) + " }"


def _default(field: inspect.Field) -> str | None:
    """The default as TOML; "left out" where there is none; None where the key is required."""
    if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
        return None
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return "left out" if value is None else toml_value(value)
