"""What the verbs share: flags, the JSON result, the log, and SIGTERM as an exception. Imports only what is quick."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import logging
import math
import re
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import mfpde
from mfpde.core.signals import OutsideTheCompiler
from mfpde.errors import MfpdeError
from mfpde.io import interrupt, studies


class UsageError(MfpdeError):
    """The command line itself is wrong."""

    exit_code = 2
    kind = "usage"


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; a kind of KeyboardInterrupt, so that one ``except`` writes the checkpoint for both."""


class Parser(argparse.ArgumentParser):
    """argparse that raises UsageError instead of exiting, and guesses mistyped flags."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the nearest flag as hint."""
        wrong = re.search(r"unrecognized arguments: (--?[\w-]+)", message)
        close = difflib.get_close_matches(wrong[1], self._option_string_actions, n=1) if wrong else []
        raise UsageError(message, f"did you mean '{close[0]}'?" if close else f"see `{self.prog} --help`")


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of every verb; the main program adds them."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print exactly one JSON object on stdout, also on failure")
    group.add_argument("-q", "--quiet", action="store_true", help="no log and no progress on stderr")
    group.add_argument("-v", "--verbose", action="store_true", help="log more")
    group.add_argument(
        "--trust", action="store_true", help="do not vet HDF5 files: for own ones that are larger than vetting allows"
    )
    group.add_argument("--traceback", action="store_true", help="show where an internal error came from")


def add_study(parser: argparse.ArgumentParser, default: str = studies.DEFAULT) -> None:
    """The study of the verbs that run one."""
    parser.add_argument(
        "study",
        nargs="?",
        default=default,
        metavar="STUDY",
        help=f"a TOML file, - for standard input, or a built-in name (default: {default})",
    )


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the verbs that run a study."""
    group = parser.add_argument_group("study and run")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the study, VALUE in TOML; repeatable",
    )
    group.add_argument("--seed", type=count(0), metavar="N", help="the same as --set output.seed=N")
    group.add_argument("--threads", type=count(1), metavar="N", help="threads; the result does not depend on it")
    group.add_argument("--dry-run", action="store_true", help="print the resolved study and estimates, run nothing")
    exclusive = group.add_mutually_exclusive_group()
    exclusive.add_argument("--resume", action="store_true", help="continue what an interrupted run left")
    exclusive.add_argument("--overwrite", action="store_true", help="replace existing output")


def count(least: int) -> Any:
    """An argparse type: integers of at least ``least``."""

    def integer(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not an integer of at least {least}")
        return int(text)

    return integer


def overrides(args: argparse.Namespace) -> list[str]:
    """The ``--set`` values, and ``--seed`` as one of them, for ``config.load``."""
    return [*args.set, *([] if args.seed is None else [f"output.seed={args.seed}"])]


def version() -> str:
    """Version of mfpde."""
    return str(getattr(mfpde, "__version__", "0+unknown"))


def print_json(result: Any) -> None:
    """Print one JSON object; numpy scalars and arrays become numbers and lists, NaN and infinities null."""
    print(json.dumps(plain(result), ensure_ascii=False, allow_nan=False))


def plain(value: Any) -> Any:
    """The value in types JSON knows."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def set_up_log(args: argparse.Namespace) -> None:
    """Send the log of mfpde to stderr: information by default, warnings with -q, all with -v."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("mfpde")
    log.handlers[:] = [handler]
    log.setLevel(logging.DEBUG if args.verbose else logging.WARNING if args.quiet else logging.INFO)
    log.propagate = False


@contextlib.contextmanager
def termination_as_exception() -> Iterator[None]:
    """Inside the block SIGINT and SIGTERM raise KeyboardInterrupt and Terminated; a second of a kind kills as usual.

    They wait for the end of what Numba is compiling.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def arrived(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)
        interrupt.arrive(Terminated if signum == signal.SIGTERM else KeyboardInterrupt)

    interrupt.forget()
    # a process started in the background of a script ignores SIGINT, and must go on doing so
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, OutsideTheCompiler(arrived)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_leave_no_remains() -> Iterator[None]:
    """Inside the block Python does not report what a signal broke where no exception can be raised.

    The signal's own exception, dropped in a callback of the garbage collector, comes again at the next record; and the
    destructor of an object that the signal kept from being made misses what the constructor had not yet set.
    """
    hook = sys.unraisablehook

    def report(dropped: Any) -> None:
        lost = isinstance(dropped.exc_value, KeyboardInterrupt)
        destructor = getattr(dropped.object, "__name__", "") == "__del__"
        half_made = destructor and isinstance(dropped.exc_value, AttributeError) and interrupt.arrived() is not None
        if not (lost or half_made):
            hook(dropped)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = hook
