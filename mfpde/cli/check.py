"""``mfpde check FILE…``: vet outputs, read every number (which verifies the checksums), look for NaN and infinities."""

from __future__ import annotations

import argparse

from mfpde.cli import common
from mfpde.errors import DataFileError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FILE…."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="outputs of mfpde (HDF5)")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if all files are sound, 4 at the first that is not."""
    from mfpde.io import store  # imports h5py

    for file in args.files:
        bad = store.not_finite(file)
        if bad:
            name, count = next(iter(bad.items()))
            more = f" and {len(bad) - 1} more variables" if len(bad) > 1 else ""
            raise DataFileError(f"{file} holds {count} numbers that are not finite in {name}{more}")
        if not args.json:
            print(f"{file}: sound")
    if args.json:
        common.print_json({"ok": True, "files": args.files})
    return 0
