"""``mfpde studies``: list the built-in studies; ``mfpde studies show NAME``: print one as TOML."""

from __future__ import annotations

import argparse
import difflib

from mfpde.cli import common
from mfpde.io import studies


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``[list | show NAME]``."""
    parser.add_argument("action", nargs="?", choices=("list", "show"), default="list", help="list (default) or show")
    parser.add_argument("name", nargs="?", help="the study to show")


def run(args: argparse.Namespace) -> int:
    """Print the list or one study."""
    if args.action == "show":
        return _show(args.name, args.json)
    if args.name is not None:
        raise common.UsageError(f"`studies list` takes no name, got '{args.name}'", "use `mfpde studies show NAME`")
    # not needed by `show`
    from mfpde.io import config
    from mfpde.io.deep import config as deep
    from mfpde.io.kernel_limit import config as kernel_limit
    from mfpde.io.one_step import config as one_step

    titles = {name: config.parse(studies.text(name)).title for name in studies.names()}
    titles |= {name: kernel_limit.parse(studies.text(name)).title for name in studies.names("kernel-limit")}
    titles |= {name: one_step.parse(studies.text(name)).title for name in studies.names("one-step")}
    titles |= {name: deep.parse(studies.text(name)).title for name in studies.names("deep")}
    if args.json:
        listed = [{"name": name, "title": title, "verb": studies.verb_of(name)} for name, title in titles.items()]
        common.print_json({"ok": True, "studies": listed})
        return 0
    width = max(map(len, titles))
    for name, title in titles.items():
        print(f"{name:<{width}}  {title}")
    return 0


def _show(name: str | None, json: bool) -> int:
    known = (*studies.names(), *studies.names("kernel-limit"), *studies.names("one-step"), *studies.names("deep"))
    if name is None or name not in known:
        close = difflib.get_close_matches(name or "", known, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"the studies are {', '.join(known)}"
        raise common.UsageError(
            "show needs the name of a study" if name is None else f"there is no study '{name}'", hint
        )
    if json:
        common.print_json({"ok": True, "name": name, "toml": studies.text(name)})
    else:
        print(studies.text(name), end="")
    return 0
