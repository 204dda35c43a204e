"""``mfpde completion SHELL``: a script with which the shell completes verbs, flags, choices, studies and files."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from mfpde.cli import common
from mfpde.errors import ConfigError
from mfpde.io import studies
from mfpde.io.keys import VERBS

SHELLS = ("bash", "zsh", "tcsh")
# metavar of an argument -> what the shell offers for it
FILES = ("FILE", "FILE_OR_DIR", "A", "B", "OTHER")
STUDIES = ("STUDY", "SOURCE", "STUDY_OR_DIR")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the shell."""
    parser.description = (
        "Print a script with which the shell completes verbs, flags, choices, built-in studies and files. The script is"
        " static: a press of TAB starts no Python."
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    script = script_of(args.shell)
    if args.json:
        common.print_json({"ok": True, "shell": args.shell, "script": script})
    else:
        print(script)
    return 0


def script_of(shell: str) -> str:
    """The completion script for a shell.  ConfigError if the package shtab is absent."""
    try:
        shtab: Any = importlib.import_module("shtab")
    except ImportError:
        raise ConfigError("completion", "needs the package shtab", "pip install shtab") from None
    names = " ".join(name for verb in VERBS for name in studies.names(verb))
    preamble = {
        "bash": f'_mfpde_study() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}',
        "zsh": f"_mfpde_study() {{ compadd {names}; _files; }}",
    }
    study = {"bash": "_mfpde_study", "zsh": "_mfpde_study", "tcsh": "f"}
    return str(shtab.complete(_whole_parser(shtab, study), shell, preamble=preamble))


def _whole_parser(shtab: Any, study: dict[str, str]) -> argparse.ArgumentParser:
    """One parser of all verbs, which the main program never needs: it imports one verb at a time."""
    from mfpde.cli import main

    parser = argparse.ArgumentParser(prog="mfpde")
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers()
    topics: dict[str, Any] = {}
    for name, (_, line) in main.VERBS.items():
        verb, _, topic = name.partition(" ")
        if topic and verb not in topics:
            topics[verb] = verbs.add_parser(verb, help=f"a topic of {verb}").add_subparsers()
        added: Any = topics[verb].add_parser(topic, help=line) if topic else verbs.add_parser(verb, help=line)
        main.declare(name, added)
        for action in added._actions:
            offered = shtab.FILE if action.metavar in FILES else study if action.metavar in STUDIES else None
            if offered is not None and not action.option_strings:
                action.complete = offered
            elif action.metavar in ("DIR", "PATH"):
                action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
    return parser
