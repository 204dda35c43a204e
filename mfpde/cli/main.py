"""The command ``mfpde VERB``: finds the verb, imports its module alone, and turns every failure into one sentence.

stdout holds the result, stderr everything else. Exit codes: 0 done; 1 differs or did not converge; 2 usage or config;
4 bad data file; 5 numerical failure; 6 file system; 70 a bug; 130 and 143 interrupted; 141 the reader went away.
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import importlib
import io
import json
import os
import shutil
import sys
import textwrap
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any

from mfpde.cli import common, examples, ranks
from mfpde.errors import MfpdeError
from mfpde.io import interrupt, trust

# verb -> module with add_arguments(parser) and run(args) -> int, and its line in the help
VERBS = {
    "solve": ("mfpde.cli.solve", "solve the mean-field limit, run finite networks beside it, compare, draw"),
    "compare": ("mfpde.cli.compare", "compare two outputs, grid or particles"),
    "theory weights": ("mfpde.cli.theory.weights", "the maximal admissible weight on the moments, with its bracket"),
    "theory identify": ("mfpde.cli.theory.identify", "active part, realization symmetries, identifiability depths"),
    "theory atoms": ("mfpde.cli.theory.atoms", "sparse dictionary of target and long-time measure, with certificate"),
    "theory errors": ("mfpde.cli.theory.errors", "the error of training, split into its six terms"),
    "theory cell": ("mfpde.cli.theory.cell", "the learning cell of activation and data"),
    "theory sgd": (
        "mfpde.cli.theory.sgd",
        "SGD against its limit in four steps, and the width it needs in any dimension",
    ),
    "kernel-limit": (
        "mfpde.cli.kernel_limit",
        "the kernel limit of large output scales, beside flows at finite scales",
    ),
    "one-step": ("mfpde.cli.one_step", "exact asymptotics after one gradient step, beside networks of finite size"),
    "deep": ("mfpde.cli.deep", "networks of L layers under muP: the limit of infinite width, beside finite widths"),
    "plot": ("mfpde.cli.plot", "draw outputs"),
    "report": ("mfpde.cli.report", "write one self-contained page about a run"),
    "sweep": ("mfpde.cli.sweep", "solve a family of studies"),
    "studies": ("mfpde.cli.studies", "list the built-in studies, or show one as TOML to start from"),
    "config": ("mfpde.cli.config_verb", "tell the keys of a study: template, JSON Schema, one key explained"),
    "info": ("mfpde.cli.info", "say what an output holds and how it was made"),
    "cite": ("mfpde.cli.cite", "print BibTeX for the methods, data and libraries that a study or a run uses"),
    "export": ("mfpde.cli.export", "write an output as csv, npz or openPMD"),
    "check": ("mfpde.cli.check", "vet an output and verify every checksum"),
    "verify": ("mfpde.cli.verify", "measure order, conservation and identities of this installation"),
    "completion": ("mfpde.cli.completion", "print a completion script for bash, zsh or tcsh"),
}


def entry() -> int:
    """``main`` for a process that ends with it: half a second of searches for garbage is left out."""
    gc.set_threshold(20_000)
    code = main()
    gc.freeze()  # all that is still alive goes with the process; its end would search through it three times
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: of this process) and return its exit code; never raises what a user can cause."""
    # until the exception of a signal is gone, with the objects that its traceback holds
    with common.signals_leave_no_remains():
        return _run_to_code(list(sys.argv[1:] if argv is None else argv))


def _run_to_code(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        with common.termination_as_exception():
            code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # nobody reads any more; the flush at interpreter exit must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MfpdeError as error:
        if ranks.follows():
            return ranks.silent_code(error)
        return _fail(f"{error.kind} error: {error}", str(error), error.hint, as_json, error.exit_code)
    except KeyboardInterrupt as error:
        return _interrupted(type(error), as_json)
    except OSError as error:
        signalled = interrupt.arrived()
        if signalled is not None:
            return _interrupted(signalled, as_json)
        if "--traceback" in arguments:
            raise
        message = (error.strerror or str(error)) + ("" if error.filename is None else f": {error.filename}")
        return _fail(f"file system error: {message}", message, None, as_json, 6)
    except Exception as error:
        signalled = interrupt.arrived()
        if signalled is not None:
            return _interrupted(signalled, as_json)
        if "--traceback" in arguments:
            raise
        message = f"internal error: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return _fail(message, message, "run again with --traceback and report what it shows", as_json, 70)


def run(*arguments: str | os.PathLike[str]) -> dict[str, Any]:
    """One command line from Python, ``run("solve", "kuramoto", "-o", "out")``: what it prints with --json.

    Raises MfpdeError where the command line would end in a sentence; a verb that finds a difference or a failed check
    returns, with "ok" false.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        _dispatch([*(os.fspath(argument) for argument in arguments), "--json", "-q"])
    return dict(json.loads(printed.getvalue()))


def _interrupted(kind: type[KeyboardInterrupt], as_json: bool) -> int:
    word, code = ("terminated", 143) if issubclass(kind, common.Terminated) else ("interrupted", 130)
    return _fail(word, word, "continue with --resume", as_json, code)


def _dispatch(arguments: list[str]) -> int:
    if all(argument.startswith("-") for argument in arguments):
        return _without_verb(arguments)
    # before HDF5 is loaded: never look for filter plug-ins in a system directory
    os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")
    verb, args = parse(arguments)
    ranks.refuse(verb)
    common.set_up_log(args)
    with trust.files(args.trust):
        return int(importlib.import_module(VERBS[verb][0]).run(args))


def parse(arguments: Sequence[str]) -> tuple[str, Namespace]:
    """The verb, with its topic, and the parsed flags of a command line.  UsageError if there is no such."""
    rest = list(arguments)
    verb = next((argument for argument in rest if not argument.startswith("-")), "")
    rest.remove(verb)
    topics = [name.split()[1] for name in VERBS if name.split()[0] == verb and " " in name]
    if topics:
        topic = next((argument for argument in rest if not argument.startswith("-")), None)
        if topic not in topics:
            known = f"the topics are {', '.join(topics)}"
            missing = f"{verb} needs a topic" if topic is None else f"there is no topic '{topic[:60]}' of {verb}"
            raise common.UsageError(missing, known)
        rest.remove(topic)
        verb = f"{verb} {topic}"
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"the verbs are {', '.join(VERBS)}"
        raise common.UsageError(f"there is no verb '{verb[:60]}'", hint)
    parser = common.Parser(prog=f"mfpde {verb}", formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
    declare(verb, parser)
    columns = min(shutil.get_terminal_size().columns, 120) - 2
    parser.description = textwrap.fill(parser.description or "", columns)
    parser.epilog = examples.epilog(verb, columns)
    return verb, parser.parse_args(rest)


def declare(verb: str, parser: ArgumentParser) -> None:
    """Describe a verb to a parser: its line, its arguments, the flags of every verb."""
    module, line = VERBS[verb]
    parser.description = line[0].upper() + line[1:] + "."
    importlib.import_module(module).add_arguments(parser)
    common.add_output_flags(parser)


def _without_verb(arguments: list[str]) -> int:
    if not arguments:
        print(_help(), file=sys.stderr)
        return 2
    if arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"mfpde {common.version()}")
        return 0
    raise common.UsageError(f"a verb is missing before {arguments[0][:60]}", "see `mfpde --help`")


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [
        "usage: mfpde VERB [arguments]",
        "",
        "The mean-field limit of two-layer networks, its stationary measure, and the finite networks that approach it.",
        "",
        *(f"  {verb:<{width}}  {line}" for verb, (_, line) in VERBS.items()),
        "",
        "`mfpde VERB --help` tells the arguments of a verb, `mfpde --version` the version. Start with `mfpde solve`.",
    ]
    return "\n".join(lines)


def _fail(shown: str, message: str, hint: str | None, as_json: bool, code: int) -> int:
    try:
        print(f"mfpde: {shown}", file=sys.stderr)
        if hint:
            print(f"hint: {hint}", file=sys.stderr)
        if as_json:
            common.print_json({"ok": False, "error": message, "hint": hint})
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
