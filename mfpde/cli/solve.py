"""``mfpde solve``: the limit on the grid, its stationary measure, the finite-N ensemble, files and figures."""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.cli import common, ranks
from mfpde.cli import directory as directories
from mfpde.errors import ConfigError
from mfpde.io import config as configs

if TYPE_CHECKING:
    from mfpde.cli.messages import World
    from mfpde.io.atoms import AtomLimit
    from mfpde.io.build import Study
    from mfpde.io.limit import Limit
    from mfpde.io.particles import Particles

log = logging.getLogger("mfpde")

LIMIT_FILE, PARTICLE_FILE = "limit.h5", "particles.h5"
PARTS = ("limit", "particles", "stationary")
# what a run replaces: particles alone leave the limit that drives them, a limit alone leaves the particles
OWN_FILES = {
    None: (LIMIT_FILE, PARTICLE_FILE, directories.SUMMARY_FILE),
    "limit": (LIMIT_FILE,),
    "stationary": (LIMIT_FILE,),
    "particles": (PARTICLE_FILE,),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    common.add_study(parser)
    parser.add_argument("--only", choices=PARTS, help="run this part alone")
    directories.add_arguments(parser, "the state")
    common.add_run_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Run the study, together with other processes where mpiexec started several; returns the exit code."""
    world = ranks.world()
    if world is None:
        return _run(args, None)
    if world.rank == 0:
        with world.leading():
            return _run(args, world)
    from mfpde.cli.messages import follow

    follow(world, _threads(args, world))
    return 0


def _threads(args: argparse.Namespace, world: World | None) -> int:
    """As asked, else an even share of the cores for every process on this machine."""
    return int(args.threads or max(1, (os.cpu_count() or 1) // (1 if world is None else world.on_this_machine)))


def _run(args: argparse.Namespace, world: World | None) -> int:
    loaded = configs.load(args.study, common.overrides(args))
    began = time.perf_counter()
    directory = directories.choose(args, loaded.name)
    if not args.dry_run:
        _refuse_overwriting(args, directory)

    # from here on the numerics are imported: seconds, that no mistake above should cost
    from threadpoolctl import threadpool_limits

    from mfpde.core import parallel
    from mfpde.io.build import build

    # BLAS sums differ between thread counts; our own threads cut the work in pieces that do not depend on them
    with threadpool_limits(1), parallel.team(_threads(args, world)):
        study = build(loaded.config, loaded.name, loaded.directory)
        if study.on_grid and not study.by_atoms and args.only != "particles":
            study.grid  # noqa: B018  a box that cannot be chosen is an error before anything is written
        _refuse_impossible(args, study)
        if args.dry_run:
            return _dry_run(args, study, directory, world)
        _refuse_too_large(args, study, directory, world)
        with directories.claimed(directory):
            _refuse_overwriting(args, directory)  # another run may have come to its end in the meantime
            result = _run_parts(args, study, directory, world)
    result["wall_s"] = time.perf_counter() - began
    directories.write_summary(directory, result)
    if args.json:
        common.print_json(result)
    else:
        from mfpde.cli import table

        print(table.solve_table(result))
    return 0


def _refuse_overwriting(args: argparse.Namespace, directory: Path) -> None:
    files = OWN_FILES[args.only]
    if args.resume and args.only == "stationary" and any((directory / name).exists() for name in files):
        raise ConfigError("--only", "stationary is solved in one go: nothing to resume", "use --overwrite")
    directories.refuse_overwriting(args, directory, files, "continues that run")


def _refuse_impossible(args: argparse.Namespace, study: Study) -> None:
    from mfpde.io.particles import settings_of
    from mfpde.steppers.kernels import require_device

    if args.only in ("limit", "stationary") and not study.on_grid:
        moving = len(study.problem.moving)
        raise ConfigError("--only", f"is {args.only}, but {moving} coordinates move and a grid takes up to 3")
    if args.only == "stationary" and study.problem.temperature == 0.0:
        raise ConfigError("--only", "is stationary, which needs a training.temperature above 0")
    require_device(settings_of(study).kernels)


def _estimate(args: argparse.Namespace, study: Study, directory: Path, world: World | None) -> dict[str, Any]:
    from mfpde.core.ranks import ALONE
    from mfpde.io.estimate import estimate

    driven = args.only is None or (directory / LIMIT_FILE).exists()
    return estimate(study, args.only, not args.no_figures, driven, ALONE if world is None else world)


def _refuse_too_large(args: argparse.Namespace, study: Study, directory: Path, world: World | None) -> None:
    """A run that cannot fit into memory is an error before anything is written, not a crash after hours."""
    from mfpde.tabulate import machine_memory

    memory = machine_memory()
    found = _estimate(args, study, directory, world)
    keys = {"limit": "grid.cells", "particles": "particles.widths"}
    for part in ("limit", "particles"):
        needed = found.get(part, {}).get("bytes", 0)
        if part == "particles" and needed and world is not None:
            needed += (world.on_this_machine - 1) * found[part]["others"]
        if needed > memory:
            raise ConfigError(
                keys[part],
                f"asks for about {needed / 2**30:.3g} GiB, this machine has {memory / 2**30:.3g} GiB",
                "fewer cells, widths, replicas or snapshots; --dry-run shows the estimate",
            )


def _dry_run(args: argparse.Namespace, study: Study, directory: Path, world: World | None) -> int:
    from mfpde.cli import table

    found = _estimate(args, study, directory, world)
    if args.json:
        common.print_json({"ok": True, "study": study.name, "config": configs.to_toml(study.config), "estimate": found})
    else:
        print(configs.to_toml(study.config))
        if not study.on_grid:
            print(f"# {_no_limit(study)}")
        print(table.estimate_table(found))
    return 0


def _run_parts(args: argparse.Namespace, study: Study, directory: Path, world: World | None) -> dict[str, Any]:
    if args.overwrite:
        for name in OWN_FILES[args.only]:
            (directory / name).unlink(missing_ok=True)
    log.info("%s: %s", study.name, study.config.title or study.data_description)
    result: dict[str, Any] = {
        "ok": True,
        "study": study.name,
        "title": study.config.title,
        "data": study.data_description,
        "directory": str(directory),
        "limit": None,
        "stationary": None,
        "distance_to_stationary": None,
        "particles": [],
        "rates": {},
    }
    limit = _run_limit(args, study, directory, result)
    particles = _run_particles(args, study, directory, limit, result, world)
    result["files"] = _files(directory)
    drawable = limit is not None or particles is not None
    del limit, particles  # drawn from the files: what may be most of the memory is not held twice
    if not args.no_figures and drawable:
        from mfpde.cli import drawing

        result["figures"] = [str(path) for path in drawing.draw(directory, directory)]
    return result


def _no_limit(study: Study) -> str:
    moving = len(study.problem.moving)
    return f"no limit on a grid: a neuron has {moving} moving coordinates, a grid takes up to 3; particles alone"


def _run_limit(
    args: argparse.Namespace, study: Study, directory: Path, result: dict[str, Any]
) -> Limit | AtomLimit | None:
    from mfpde.cli.progress import progress
    from mfpde.io import atoms, limit, summary

    path = str(directory / LIMIT_FILE)
    if args.only == "particles":
        return _recorded(_existing_limit(study, directory), result)
    if not study.on_grid:
        log.info("%s", _no_limit(study))
        return None
    if args.only == "stationary":
        rest = limit.save_stationary(study, path)
        result["stationary"] = summary.stationary_numbers(study.problem, rest)
        return None
    horizon = float(study.times[-1])
    with progress("limit", horizon, args.quiet) as update:
        if study.by_atoms:
            found = atoms.run_atoms(
                study,
                path,
                resume=args.resume,
                checkpoint=args.checkpoint,
                report=lambda t, energy: update(t, free_energy=energy),
            )
            return _recorded(found, result)
        run = limit.run_limit(
            study,
            path,
            resume=args.resume,
            checkpoint=args.checkpoint,
            report=lambda t, energy, gap: update(t, free_energy=energy, gap=gap),
        )
    return _recorded(run, result)


def _recorded(found: Limit | AtomLimit | None, result: dict[str, Any]) -> Limit | AtomLimit | None:
    """The limit, its numbers now in the result."""
    from mfpde.io import summary
    from mfpde.io.limit import Limit

    if isinstance(found, Limit):
        result["limit"] = summary.limit_numbers(found)
        if found.rest is not None:
            result["stationary"] = summary.stationary_numbers(found.study.problem, found.rest)
            result["distance_to_stationary"] = summary.distance_numbers(found, found.rest)
    elif found is not None:
        result["limit"] = summary.atom_numbers(found)
    return found


def _existing_limit(study: Study, directory: Path) -> Limit | AtomLimit | None:
    """A finished limit of the same study in the directory drives the copies of a particle run of its own."""
    from mfpde.io import atoms, limit

    path = directory / LIMIT_FILE
    if not path.exists():
        log.info("no %s beside the particles: they run without copies and without a limit to compare with", LIMIT_FILE)
        return None
    loader = atoms.load_atoms if study.by_atoms else limit.load_limit
    found = loader(study, str(path))
    if not found.finished:
        raise ConfigError(
            "--only",
            f"particles needs the finished limit of {path}, which stopped at t = {found.times[-1]:g}",
            "--resume without --only finishes it first",
        )
    return found


def _run_particles(
    args: argparse.Namespace,
    study: Study,
    directory: Path,
    limit: Limit | AtomLimit | None,
    result: dict[str, Any],
    world: World | None,
) -> Particles | None:
    if args.only in ("limit", "stationary"):
        return None
    from mfpde.cli.progress import progress
    from mfpde.core.ranks import ALONE
    from mfpde.io import summary
    from mfpde.io.particles import run_particles

    drive, bounds = _drive(limit)
    if world is not None:
        world.told((study, drive, bounds))  # all that the others need; they read no file
    with progress("particles", float(study.times[-1]), args.quiet) as update:
        particles = run_particles(
            study,
            drive,
            str(directory / PARTICLE_FILE),
            bounds=bounds,
            resume=args.resume,
            checkpoint=args.checkpoint,
            report=lambda t: update(t),
            ranks=ALONE if world is None else world,
        )
    final = None if limit is None else limit.measure(len(limit.times) - 1)
    result["particles"] = summary.particle_numbers(particles, final)
    result["rates"] = summary.rate_numbers(particles)
    result["forces"] = {
        "description": particles.description,
        "integration_error": particles.integration_error,
        "wall_s": particles.wall,
    }
    return particles


def _drive(limit: Limit | AtomLimit | None) -> tuple[Any, Any]:
    from mfpde.io.limit import Limit
    from mfpde.steppers.drive import Drive

    if limit is None:
        return None, None
    if isinstance(limit, Limit):
        return Drive(limit.history["t"], limit.drive_f), {a.name: (a.lower, a.upper) for a in limit.grid.axes}
    return Drive(limit.drive_times, limit.drive_f), None


def _files(directory: Path) -> list[str]:
    return [str(directory / name) for name in (LIMIT_FILE, PARTICLE_FILE) if (directory / name).exists()]
