"""``mfpde info FILE``: provenance, groups, shapes and times of an output, without reading its numbers."""

from __future__ import annotations

import argparse
from typing import Any

from mfpde.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FILE and --config."""
    parser.add_argument("file", metavar="FILE", help="an output of mfpde (HDF5)")
    parser.add_argument("--config", action="store_true", help="print the study that reproduces the file, as TOML")


def run(args: argparse.Namespace) -> int:
    """Print what the file holds."""
    from mfpde.io import store  # imports h5py

    outline = store.outline(args.file)
    attributes = outline["attributes"]
    if args.json:
        finished = bool(attributes.get("finished"))
        common.print_json({"ok": True, "file": args.file, "finished": finished, **outline})
    elif args.config:
        print(attributes.get("config", ""), end="")
    else:
        print(_describe(args.file, outline))
    return 0


def _describe(file: str, outline: dict[str, Any]) -> str:
    attributes = {"title": "", **outline["attributes"]}
    state = "finished" if attributes.get("finished") else "NOT finished: continue it with --resume"
    lines = [
        f"{file}: {attributes['title']}",
        f"  {attributes.get('source', '?')}, {attributes.get('created', '?')}, seed {attributes.get('seed')}, {state}",
        f"  study sha256 {attributes.get('config_sha256', '?')}",
    ]
    for name, group in outline["groups"].items():
        time = group.get("time")
        span = f"  {time['count']} times from {time['first']:g} to {time['last']:g}" if time else ""
        lines.append(f"{name}{span}")
        lines += [f"  @{key} = {_short(value)}" for key, value in group["attributes"].items()]
        lines += [f"  {key}  {_shape(variable)}" for key, variable in group["variables"].items()]
    return "\n".join(lines)


def _shape(variable: dict[str, Any]) -> str:
    axes = ", ".join(f"{axis} {size}" for axis, size in zip(variable["dims"], variable["shape"], strict=True))
    return f"({axes})  {variable['type']}"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
