"""``mfpde config``: the keys of a study as a commented template, as JSON Schema, or one key explained."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from mfpde.cli import common
from mfpde.io.keys import VERBS, Key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb whose studies are meant, and what to tell of them."""
    parser.description = (
        "Tell which keys a study may hold: a template to fill in, a JSON Schema for editors that check TOML (Taplo,"
        " Even Better TOML), or what one key means, may be and is by default."
    )
    parser.add_argument(
        "verb", nargs="?", choices=VERBS, default=VERBS[0], help=f"whose studies are meant (default: {VERBS[0]})"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--template", action="store_true", help="a study with every key and what it may be")
    what.add_argument("--schema", action="store_true", help="the JSON Schema of a study")
    what.add_argument("--explain", metavar="KEY", help="one key or section, for example training.temperature or data")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for."""
    from mfpde.io import keys

    if args.template:
        text = keys.template(args.verb)
        result: dict[str, Any] = {"verb": args.verb, "toml": text}
    elif args.schema:
        schema = keys.json_schema(args.verb)
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        result = {"verb": args.verb, "schema": schema}
    else:
        found = keys.explain_key(args.verb, args.explain)
        text = "\n\n".join(_told(key) for key in found) + "\n"
        result = {"verb": args.verb, "keys": [_plain(key) for key in found]}
    if args.json:
        common.print_json({"ok": True, **result})
    else:
        print(text, end="")
    return 0


def _plain(key: Key) -> dict[str, Any]:
    return {"key": key.path, "when": key.when, "allowed": key.allowed, "default": key.default, "table": key.table}


def _told(key: Key) -> str:
    default = "required" if key.default is None else f"default: {key.default}"
    lines = [key.path + (f"    with {key.when}" if key.when else "")]
    for text in (key.allowed, default, key.table):
        lines += textwrap.wrap(text, 100, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)
