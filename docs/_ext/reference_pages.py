"""The reference of the site, written anew by every build from mfpde itself: command line, keys, studies, Python API."""

from __future__ import annotations

import contextlib
import io
import os
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from inspect import ismodule
from itertools import groupby
from pathlib import Path
from typing import Any

import plain_docstrings

import mfpde
from mfpde.cli import main
from mfpde.io import keys, studies

COLUMNS = "96"
# section of the API -> modules; a package in THEORY stands for all its modules
API = {
    "A problem and its flow": (
        "problem datalaws pairwise initial measures domain tabulate meanfield stationary evolve ensemble"
    ),
    "Studies, files, figures": "io.config io.build io.opened cli.main figures errors",
    "Comparison": (
        "compare.rates compare.transport compare.chaos compare.fluctuations compare.oracle compare.convergence"
    ),
    "Closed answers": "exact",
    "Theory": "theory",
}
# of a module that is no part of the interface, what is
ONLY = {"cli.main": "run"}


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before anything is read."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}


def write(app: Any) -> None:
    """All pages, below auto/ of the sources."""
    base = Path(app.srcdir) / "auto"
    pages = {"help.md": command_line(), "keys.md": configuration(), "studies.md": built_in(), **api()}
    for name, text in pages.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


# ---- command line ---------------------------------------------------------------------------------------------------


def command_line() -> str:
    """Every verb with what ``mfpde VERB --help`` prints."""
    lines = ["# Command line", "", "What `mfpde VERB --help` prints, for every verb.", "", _fenced(_printed([]))]
    for verb in main.VERBS:
        lines += [f"## mfpde {verb}", "", _fenced(_printed(verb.split()))]
    return "\n".join(lines)


def _printed(verb: list[str]) -> str:
    out, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main.main([*verb, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return out.getvalue()


def _fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


# ---- keys of a study ------------------------------------------------------------------------------------------------


def configuration() -> str:
    """The keys of the studies of every verb, from the schema that checks them."""
    lines = [
        "# Every key, from the schema",
        "",
        "What `mfpde config --explain KEY` says, for every key of the studies of `solve` and of the verbs that have",
        "studies of their own. `mfpde config --template` writes a study with all of them,",
        "`mfpde config --schema` a JSON Schema.",
        "",
    ]
    for verb in keys.VERBS:
        lines += [f"## Studies of mfpde {verb}", ""]
        for section, group in groupby(keys.every_key(verb), key=lambda key: key.path.split(".")[0]):
            lines += _section(section, list(group))
    return "\n".join(lines)


def _section(section: str, group: list[keys.Key]) -> Iterator[str]:
    first, *inner = group
    if not inner:
        yield f"### {section}\n\n{_allowed(first)}\n"
        return
    yield f"### [{section}]\n"
    told = ""
    for when, some in groupby(inner, key=lambda key: key.when):
        rows = list(some)
        if when:
            yield f"With `{when}`:\n"
        if len({key.table for key in rows}) == 1 and rows[0].table not in told:
            told = rows[0].table
            yield told.replace("<", "\\<").replace("*", "\\*") + "\n"
        lines = "\n".join(f"| `{key.path}` | {_cell(key.allowed)} | {_default(key)} |" for key in rows)
        yield f"| key | may be | default |\n|---|---|---|\n{lines}\n"


def _allowed(key: keys.Key) -> str:
    return f"{_cell(key.allowed)}; default: {_default(key)}"


def _default(key: keys.Key) -> str:
    return "required" if key.default is None else f"`{_cell(key.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# ---- studies --------------------------------------------------------------------------------------------------------


def built_in() -> str:
    """Every built-in study: title, verb, what its file says of it, and the file."""
    lines = [
        "# The built-in studies",
        "",
        "`mfpde studies` lists them, `mfpde studies show NAME` prints one to start from.",
        "",
    ]
    for verb in keys.VERBS:
        lines += [f"## Run by mfpde {verb}", ""]
        for name in studies.names(verb):
            text = studies.text(name)
            head = [line for line in text.splitlines() if not line.startswith("#") and line]
            title = head[0].partition("=")[2].strip().strip('"')
            lines += [f"### {name}", "", f"{title[0].upper()}{title[1:]}.", "", _fenced(text, "toml")]
    return "\n".join(lines)


# ---- API ------------------------------------------------------------------------------------------------------------


def api() -> dict[str, str]:
    """One page per module and their index, by the name of the file."""
    pages: dict[str, str] = {}
    index = [*_titled("Python API", "="), "Names of the top level, each documented with its module:", ""]
    index += [_top_level(), ""]
    for section, modules in API.items():
        names = modules.split() if section != "Theory" else _inside("mfpde.theory")
        pages |= {f"api/{name}.rst": _page(name) for name in names}
        index += [*_titled(section, "-"), ".. toctree::", "   :hidden:", ""]
        index += [*(f"   mfpde.{name} <{name}>" for name in names), ""]
        index += [".. list-table::", "   :widths: 30 70", ""]
        for name in names:
            line = plain_docstrings.inline((import_module(f"mfpde.{name}").__doc__ or "").splitlines()[0])
            index += [f"   * - :doc:`mfpde.{name} <{name}>`", f"     - {line}"]
        index.append("")
    return {"api/index.rst": "\n".join(index), **pages}


def _top_level() -> str:
    homes = sorted(mfpde._HOME.items(), key=lambda item: list(mfpde._HOME.values()).index(item[1]))
    lines = [".. list-table::", "   :widths: 20 80", ""]
    for module, names in groupby(homes, key=lambda item: item[1]):
        roles = ", ".join(f":py:obj:`~mfpde.{module}.{name}`" for name, _ in names)
        lines += [f"   * - :doc:`mfpde.{module} <{module}>`", f"     - {roles}"]
    return "\n".join(lines)


def _page(name: str) -> str:
    """A module, or a package with its modules one below the other."""
    members = [f"   :members: {ONLY[name]}"] if name in ONLY else []
    lines = [*_titled(f"mfpde.{name}", "="), f".. automodule:: mfpde.{name}", *members, ""]
    for inner in _inside(f"mfpde.{name}"):
        lines += [*_titled(f"mfpde.{inner}", "-"), f".. automodule:: mfpde.{inner}", ""]
    return "\n".join(lines)


def _inside(name: str) -> list[str]:
    """The modules that a package stands for, without the name of mfpde; none for one that offers functions itself."""
    package = import_module(name)
    offered = [getattr(package, public) for public in getattr(package, "__all__", ())]
    paths = getattr(package, "__path__", ()) if all(map(ismodule, offered)) else ()
    short = name.removeprefix("mfpde.")
    return [f"{short}.{found.name}" for found in pkgutil.iter_modules(paths)]


def _titled(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]
