"""``mfpde sweep STUDY``: every combination of the values of --grid, and the runs listed by --run, each solved in a
directory of its own."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import itertools
import json
import logging
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfpde.cli import common
from mfpde.cli import directory as directories
from mfpde.cli.directory import SUMMARY_FILE
from mfpde.cli.solve import PARTS
from mfpde.errors import ConfigError, MfpdeError
from mfpde.io import config as configs

log = logging.getLogger("mfpde")

INDEX_FILE = "sweep.json"
MOST_RUNS = 10_000
LONGEST_NAME = 150


@dataclass
class Run:
    """One combination of values, its directory, and once it has ended what came of it."""

    values: dict[str, str]
    directory: Path
    sha256: str
    state: str = "waiting"
    exit_code: int | None = None
    error: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare STUDY, --grid, --run and what solve takes."""
    common.add_study(parser)
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=V1,V2,...",
        help="values of a key of the study; repeatable: the runs are all combinations",
    )
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="KEY=V,KEY=V,...",
        help="one run by the keys it sets; repeatable; with --grid each is combined with all of the grid",
    )
    parser.add_argument("--jobs", type=common.count(1), default=1, metavar="N", help="runs at a time (default: 1)")
    parser.add_argument("-o", "--output", metavar="DIR", help="where to write (default: STUDY-sweep)")
    parser.add_argument("--only", choices=PARTS, help="run this part alone")
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")
    common.add_run_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Validate every study, run all, write the index; exit code 1 if any run failed."""
    given = sys.stdin.buffer.read(configs.MAX_BYTES + 1) if args.study == "-" else b""
    name = "stdin" if args.study == "-" else Path(args.study).stem
    directory = Path(args.output or f"{name}-sweep")
    combinations = list(_combinations(args.grid, args.run))
    names = directory_names(combinations)
    runs = [_validated(args, values, directory / n, given) for n, values in zip(names, combinations, strict=True)]
    if args.dry_run:
        return _show(args, _index(args, runs))
    directories.refuse_overwriting(args, directory, (INDEX_FILE,), "runs what is missing")
    from mfpde.io.atomic import lock

    directories.make(directory)
    with lock(directory):
        _run_all(args, runs, directory, given)
    index = _index(args, runs)
    _show(args, index)
    return 0 if index["ok"] else 1


def _run_all(args: argparse.Namespace, runs: list[Run], directory: Path, given: bytes) -> None:
    """Run what is not finished; the index on disk follows every run that ends, and an interruption."""
    from mfpde.cli.jobs import run_commands

    for one in runs:
        if args.resume and _is_finished(one):
            one.state, one.exit_code = "kept", 0
            one.summary = json.loads((one.directory / SUMMARY_FILE).read_text(encoding="utf-8"))
    waiting = [one for one in runs if one.state == "waiting"]
    log.info("%d of %d runs to do, %d at a time", len(waiting), len(runs), args.jobs)
    directories.save_json(directory / INDEX_FILE, _index(args, runs))
    with contextlib.closing(run_commands([_command(args, one) for one in waiting], args.jobs, given)) as ended:
        for k, code, out, err in ended:
            _record(waiting[k], code, out, err)
            log.info("%s: %s", waiting[k].directory.name, waiting[k].error or "done")
            directories.save_json(directory / INDEX_FILE, _index(args, runs))


def _record(one: Run, code: int, out: str, err: str) -> None:
    one.exit_code = code
    try:
        answer = json.loads(out)
    except ValueError:
        answer = {"ok": False, "error": err.strip().rsplit("\n", 1)[-1][:300] or None}
    if code == 0 and answer["ok"]:
        one.state, one.summary = "done", answer
    else:
        one.state = "failed"
        one.error = answer.get("error") or (f"killed by signal {-code}" if code < 0 else f"exit code {code}")


# ---- what to run -----------------------------------------------------------------------------------------------


def _combinations(grids: Sequence[str], listed: Sequence[str]) -> Iterator[dict[str, str]]:
    """Every listed run with every combination of the grid; ConfigError for what names no run, or one twice."""
    if not grids and not listed:
        raise ConfigError("--grid", "and --run are missing: one of them has to say what to vary", "--grid KEY=V1,V2")
    runs, values = _listed(listed), _grid(grids)
    both = next((key for key in values if any(key in one for one in runs)), None)
    if both is not None:
        raise ConfigError("--grid", f"varies {both}, which a --run sets")
    count = len(runs)
    for choices in values.values():
        count *= len(choices)
    if count > MOST_RUNS:
        raise ConfigError("--grid" if grids else "--run", f"asks for {count} runs; at most {MOST_RUNS} are allowed")
    for one in runs:
        for choice in itertools.product(*values.values()):
            yield {**one, **dict(zip(values, choice, strict=True))}


def _listed(texts: Sequence[str]) -> list[dict[str, str]]:
    """The runs of --run, one that sets nothing where there are none."""
    runs: list[dict[str, str]] = []
    for text in texts:
        one: dict[str, str] = {}
        for setting in _split(text):
            key, equals, value = (part.strip() for part in setting.partition("="))
            if not equals or not key or not value:
                allowed = "it must be KEY=V,KEY=V,..., such as training.time=10,network.scale=2"
                raise ConfigError("--run", f"is {text[:80]!r}; {allowed}")
            if key in one:
                raise ConfigError("--run", f"sets {key} twice in {text[:80]!r}")
            one[key] = value
        if one in runs:
            raise ConfigError("--run", f"lists {text[:80]!r} twice")
        runs.append(one)
    return runs or [{}]


def _grid(grids: Sequence[str]) -> dict[str, list[str]]:
    """Values of every key of --grid."""
    values: dict[str, list[str]] = {}
    for text in grids:
        key, equals, rest = text.partition("=")
        key, choices = key.strip(), _split(rest)
        if not equals or not key or not all(choices):
            raise ConfigError("--grid", f"is {text[:80]!r}; it must be KEY=V1,V2,..., such as training.time=10,20")
        if key in values or len(set(choices)) < len(choices):
            raise ConfigError("--grid", f"gives {key if key in values else 'a value of ' + key} twice")
        values[key] = choices
    return values


def _split(text: str) -> list[str]:
    """Values between commas that stand outside brackets, braces and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += 0 if quote else (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def directory_names(combinations: Sequence[dict[str, str]]) -> list[str]:
    """Readable names that differ, safe in any shell and file system: training.temperature=0.1,network.scale=2."""
    names: list[str] = []
    for values in combinations:
        cleaned = (f"{key}={re.sub(r'[^A-Za-z0-9.+-]+', '_', value).strip('_')}" for key, value in values.items())
        name = re.sub(r"[^A-Za-z0-9._=,+-]", "_", ",".join(cleaned)).lstrip(".-")
        if len(name) > LONGEST_NAME or name in names:
            name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(repr(values).encode()).hexdigest()[:8]}"
        names.append(name)
    return names


def _validated(args: argparse.Namespace, values: dict[str, str], directory: Path, given: bytes) -> Run:
    """The run of some values; whatever a study can have wrong is found here, before anything runs."""
    overrides = [*common.overrides(args), *(f"{key}={value}" for key, value in values.items())]
    try:
        if args.study == "-":  # the study is read once per run
            sys.stdin = io.TextIOWrapper(io.BytesIO(given))
        loaded = configs.load(args.study, overrides)
        _build(loaded, args.only)
    except MfpdeError as error:
        where = f"in the run {directory.name}"
        error.hint = where if error.hint is None else f"{error.hint}; {where}"
        raise
    return Run(values, directory, configs.sha256(loaded.config))


def _build(loaded: configs.Loaded, only: str | None) -> None:
    from mfpde.io.build import build
    from mfpde.io.particles import settings_of
    from mfpde.steppers.kernels import require_device

    study = build(loaded.config, loaded.name, loaded.directory)
    require_device(settings_of(study).kernels)
    if study.on_grid and not study.by_atoms and only != "particles":
        study.grid  # noqa: B018  a box that cannot be chosen is an error too


def _is_finished(one: Run) -> bool:
    """Whether the directory holds the finished run of the same study."""
    from mfpde.io import store

    try:
        files = json.loads((one.directory / SUMMARY_FILE).read_text())["files"]
        outputs = [store.outline(file)["attributes"] for file in files if file.endswith(".h5")]
    except (OSError, ValueError, KeyError, MfpdeError):
        return False
    return bool(outputs) and all(a["config_sha256"] == one.sha256 and a["finished"] for a in outputs)


def _command(args: argparse.Namespace, one: Run) -> list[str]:
    """The command line of one run: ``solve`` itself, single-threaded."""
    overrides = [*common.overrides(args), *(f"{key}={value}" for key, value in one.values.items())]
    command = [sys.executable, "-m", "mfpde", "solve", args.study, "-o", str(one.directory)]
    command += ["--json", "-q", "--threads", str(args.threads or 1)]
    for override in overrides:
        command += ["--set", override]
    command += ["--only", args.only] if args.only else []
    command += ["--no-figures"] if args.no_figures else []
    command += ["--resume"] if args.resume else []
    return [*command, *(["--overwrite"] if args.overwrite else [])]


# ---- what came of it -------------------------------------------------------------------------------------------


def _index(args: argparse.Namespace, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "ok": all(one.state != "failed" for one in runs),
        "study": args.study,
        "overrides": common.overrides(args),
        "keys": list(dict.fromkeys(key for one in runs for key in one.values)),
        "runs": [_entry(one) for one in runs],
    }


def _entry(one: Run) -> dict[str, Any]:
    """A row of the index: values, state and the numbers of the limit, or of what there is instead."""
    s = one.summary
    particles = s.get("particles") or []
    source = s.get("limit") or s.get("stationary") or {"risk": particles[-1]["risk_mean"] if particles else None}
    return {
        "values": {key: _typed(value) for key, value in one.values.items()},
        "directory": str(one.directory),
        "config_sha256": one.sha256,
        "state": one.state,
        "exit_code": one.exit_code,
        "error": one.error,
        "free_energy": source.get("free_energy"),
        "risk": source.get("risk"),
        "gap": source.get("gap"),
        "rates": {name: rate["slope"] for name, rate in s.get("rates", {}).items()},
        "wall_s": s.get("wall_s"),
    }


def _typed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _show(args: argparse.Namespace, index: dict[str, Any]) -> int:
    if args.json:
        common.print_json(index)
        return 0
    keys = index["keys"]
    titles = [*keys, "state", "free energy", "risk", "gap", "function rate", "coupling rate"]
    rows = [titles]
    for one in index["runs"]:
        rates = (one["rates"].get(name) for name in ("function_error", "coupling_error"))
        numbers = [_number(one[name], 10) for name in ("free_energy", "risk")] + [_number(one["gap"], 3)]
        values = [str(one["values"].get(key, "-")) for key in keys]
        rows.append([*values, one["state"], *numbers, *(_number(rate, 4) for rate in rates)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    for one in index["runs"]:
        if one["error"]:
            print(f"{one['directory']}: {one['error']}")
    return 0


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}g}"
