"""``mfpde export FILE --to csv``: the variables of an output as csv, one row per entry, coordinates in front."""

from __future__ import annotations

import argparse
from pathlib import Path

from mfpde.cli import common
from mfpde.errors import ConfigError, FileSystemError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FILE, the format and where to."""
    parser.description = (
        "Write the variables of an output as csv files GROUP.AXES.csv: one row per point of the axes, their coordinates"
        " first, then every variable on them. Numbers are written with all digits."
    )
    parser.add_argument("file", metavar="FILE", help="an output of mfpde (HDF5)")
    parser.add_argument("--to", choices=("csv",), required=True, help="the format")
    parser.add_argument("-o", "--output", metavar="DIR", help="where to write (default: FILE without .h5, and -csv)")
    parser.add_argument("--particles", action="store_true", help="write the parameters of every particle too")
    parser.add_argument("--last", action="store_true", help="write the last stored time alone")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def run(args: argparse.Namespace) -> int:
    """Write the tables and say which."""
    from mfpde.io import csv_tables  # imports h5py

    directory = Path(args.output or f"{args.file.removesuffix('.h5')}-csv")
    names = csv_tables.table_names(args.file, args.particles)
    present = [name for name in names if (directory / name).exists()]
    if present and not args.overwrite:
        raise ConfigError("-o", f"{directory} already holds {present[0]}", "--overwrite replaces it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileSystemError(f"cannot make the directory {directory}: {error.strerror}") from None
    rows = csv_tables.write_tables(args.file, directory, args.particles, args.last)
    if args.json:
        common.print_json({"ok": True, "directory": str(directory), "rows": rows})
    else:
        for name, count in rows.items():
            print(f"{directory / name}: {count} rows")
    return 0
