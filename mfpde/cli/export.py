"""``mfpde export FILE --to csv|npz|openpmd``: an output for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mfpde.cli import common
from mfpde.errors import ConfigError, FileSystemError

# format -> what replaces .h5 in the default of -o
ENDINGS = {"csv": "-csv", "npz": ".npz", "openpmd": "-openpmd.h5"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FILE, the format and where to."""
    parser.description = (
        "Write an output for other programs, all digits kept. csv: files GROUP.AXES.csv, one row per point of the axes,"
        " their coordinates first, then every variable on them. npz: one file for numpy.load, every variable under its"
        " path (limit/density), axes and attributes as JSON text. openpmd: an openPMD 1.1 series, densities as meshes,"
        " networks and atoms as particles; a directory of solve gives both in one file."
    )
    parser.add_argument("file", metavar="FILE", help="an output of mfpde (HDF5); for openpmd also a directory of solve")
    parser.add_argument("--to", choices=tuple(ENDINGS), required=True, help="the format")
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="where to write (default: FILE with -csv, .npz, -openpmd.h5 for .h5)"
    )
    parser.add_argument("--particles", action="store_true", help="csv: write the parameters of every particle too")
    parser.add_argument("--last", action="store_true", help="write the last stored time alone")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def run(args: argparse.Namespace) -> int:
    """Write the export and say what and where."""
    target = Path(args.output or f"{args.file.rstrip('/').removesuffix('.h5')}{ENDINGS[args.to]}")
    if args.to == "csv":
        return _csv(args, target)
    if args.to == "openpmd" and target.stem[-1:].isdigit():
        raise ConfigError(
            "-o", f"is {target}, whose name ends in a digit: openPMD readers take it for one file of many", "rename it"
        )
    _refuse_replacing(args, target)
    found = _npz(args, target) if args.to == "npz" else _openpmd(args, target)
    if args.json:
        common.print_json({"ok": True, "file": str(target), **found})
    else:
        print(f"{target}: {', '.join(f'{value} {name}' for name, value in found.items())}")
    return 0


def _refuse_replacing(args: argparse.Namespace, target: Path) -> None:
    if target.resolve() == Path(args.file).resolve():
        raise ConfigError("-o", f"is {target}, the output itself", "name another file")
    if target.exists() and not args.overwrite:
        raise ConfigError("-o", f"is {target}, which exists", "--overwrite replaces it")


def _npz(args: argparse.Namespace, target: Path) -> dict[str, Any]:
    from mfpde.io import npz, store  # imports h5py

    arrays = npz.arrays_of(args.file, args.last)
    store.save(target, npz.image(arrays))
    return {"arrays": len(arrays)}


def _openpmd(args: argparse.Namespace, target: Path) -> dict[str, Any]:
    from mfpde.cli import sources
    from mfpde.io import openpmd, store  # imports h5py

    source = Path(args.file)
    paths = [source]
    if source.is_dir():
        found = sources.find(source)
        paths = [path for path in (found.limit, found.particles) if path is not None]
    series = openpmd.read_series(paths, args.last)
    store.save(target, openpmd.image(series))
    return {"iterations": len(series.times), "meshes": len(series.meshes), "species": len(series.species)}


def _csv(args: argparse.Namespace, directory: Path) -> int:
    from mfpde.io import csv_tables  # imports h5py

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
