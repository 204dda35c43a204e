"""``mfpde cite [STUDY_OR_DIR]``: BibTeX for the methods, data and libraries that a study or a run uses."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mfpde.cli import common
from mfpde.errors import ConfigError, DataFileError, FileSystemError
from mfpde.io import bibliography, studies
from mfpde.io.bibliography import TOPICS, Use

# kind of an output file -> verb that writes it
_VERBS = {"one-step": "one-step", "kernel-limit": "kernel-limit", "deep": "deep", "theory": "theory"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the study or run."""
    parser.description = (
        "Print BibTeX for what a study will use at most, or a run has used: the articles behind its methods, its data"
        " and the libraries at work, each under a comment that says what for."
    )
    parser.add_argument(
        "source",
        nargs="?",
        default=studies.DEFAULT,
        metavar="STUDY_OR_DIR",
        help=f"a built-in study, a TOML file, an output directory or file (default: {studies.DEFAULT})",
    )


def run(args: argparse.Namespace) -> int:
    """Print the entries."""
    found = bibliography.references(_use(args.source))
    if args.json:
        entries = [{"key": one.key, "reason": one.reason, "bibtex": one.bibtex} for one in found]
        common.print_json({"ok": True, "source": args.source, "entries": entries})
    else:
        print("\n\n".join(f"% {one.reason}\n{one.bibtex}" for one in found))
    return 0


def _use(source: str) -> Use:
    verb = studies.verb_of(source)
    if verb is not None:
        return bibliography.planned(verb, studies.text(source))
    path = Path(source)
    if path.is_dir() or path.suffix == ".h5":
        return _used(path)
    return _planned(source)


def _planned(source: str) -> Use:
    """Of a TOML file: the sections tell which verb runs it."""
    from mfpde.io import keys
    from mfpde.io.tables import read_source

    text = read_source(source, ()).text
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("config", f"is not valid TOML: {error}") from None
    own = {"one-step": {"model"}, "deep": {"finite", "limit"}, "kernel-limit": {"kernel_limit"}}
    likely = [verb for verb, sections in own.items() if sections & tables.keys()]
    if not likely and "depth" in tables.get("network", {}):
        likely = ["deep"]
    verb = likely[0] if likely else "solve"
    # a study that could not run has nothing to cite
    keys.modules(verb)[0].parse(text)
    return bibliography.planned(verb, text)


def _used(path: Path) -> Use:
    """Of a run: the study in its files and what they hold; several runs in one directory count together."""
    from mfpde.io import store  # imports h5py

    files = sorted(path.glob("*.h5")) if path.is_dir() else [path]
    tables: dict[str, Any] = {}
    verb, parts = "", set(_measured(path))
    for file in files:
        outline = store.outline(file)
        attributes = outline["attributes"]
        tables = tables or tomllib.loads(str(attributes.get("config", "")))
        verb = verb or _VERBS.get(str(attributes.get("kind")), "solve")
        parts |= set(_parts(outline))
    if not files and not parts:
        raise FileSystemError(f"{path} holds no output of mfpde", "name a directory that a verb has written")
    if files and not tables:
        raise DataFileError(f"{files[0]} holds no study")
    if path.is_dir() and any(path.glob("*.png")):
        parts.add("figures")
    return Use(verb or "theory", tables, frozenset(parts))


def _parts(outline: dict[str, Any]) -> Iterator[str]:
    groups = outline["groups"]
    if outline["attributes"].get("kind") == "theory" and "/theory" in groups:
        # of the topics only two write HDF5
        yield "sgd" if "eps" in groups["/theory"]["attributes"] else "cell"
    if "/limit" in groups and "density" in groups["/limit"]["variables"]:
        yield "limit"
        if groups["/limit"]["attributes"].get("flux") == "limited":
            yield "limited"
    if "/stationary" in groups:
        yield "stationary"
    if any(name.startswith("/ensemble/") for name in groups):
        yield "particles"


def _measured(path: Path) -> Iterator[str]:
    """Topics of theory, and the exact distances of ``compare``, by the JSON they leave."""
    for file in sorted(path.glob("*.json")) if path.is_dir() else ():
        if file.stem in TOPICS:
            yield file.stem
        elif file.stem != "summary":
            try:
                held = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(held, dict) and ("ot" in held or held.get("metric") == "ot"):
                yield "ot"
