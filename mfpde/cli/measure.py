"""``mfpde compare --metric chaos|oracle|convergence|step``: the theory of finite networks, measured in outputs."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfpde.cli import common
from mfpde.cli import directory as directories
from mfpde.errors import ConfigError

if TYPE_CHECKING:
    from mfpde.io.outputs import Output

log = logging.getLogger("mfpde")

WIDTHS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


def run(args: argparse.Namespace, paths: list[str]) -> int:
    """Measure, print, and with -o write metric.json and metric.png into that directory."""
    from threadpoolctl import threadpool_limits

    from mfpde.io.outputs import open_output

    with threadpool_limits(1):
        result = MEASURES[args.metric]([open_output(path) for path in paths], args)
    files = []
    if args.output is not None:
        from mfpde.cli import propagation_figures

        draw = getattr(propagation_figures, args.metric)
        files = directories.write_measured(Path(args.output), args.metric, result, draw)
    if args.json:
        common.print_json({"ok": True, "metric": args.metric, "files": files} | result)
        return 0
    from mfpde.cli import propagation_table

    print(getattr(propagation_table, args.metric)(result))
    for file in files:
        log.info("wrote %s", file)
    return 0


def _chaos(outputs: list[Output], args: argparse.Namespace) -> dict[str, Any]:
    from mfpde.io.propagation import propagation

    limits, ensembles = _split(outputs)
    if len(limits) != 1 or len(ensembles) != 1:
        raise ConfigError(
            "--metric", "is chaos, which needs a limit and the ensemble it drove", "name a run directory of solve"
        )
    return propagation(limits[0], ensembles[0], half_width=args.precision, draws=args.draws)


def _oracle(outputs: list[Output], args: argparse.Namespace) -> dict[str, Any]:
    from mfpde.io.rest import oracle_numbers

    return oracle_numbers(_one_limit(outputs, args.metric), args.widths or WIDTHS, args.draws)


def _convergence(outputs: list[Output], args: argparse.Namespace) -> dict[str, Any]:
    from mfpde.io.rest import convergence_numbers

    return convergence_numbers(_one_limit(outputs, args.metric))


def _step(outputs: list[Output], args: argparse.Namespace) -> dict[str, Any]:
    from mfpde.io.steps import step_bias

    _, ensembles = _split(outputs)
    if len(ensembles) != 2:
        raise ConfigError("--metric", "is step, which needs two ensembles that differ in particles.step")
    return step_bias(*ensembles)


MEASURES: dict[str, Callable[[list[Output], argparse.Namespace], dict[str, Any]]] = {
    "chaos": _chaos,
    "oracle": _oracle,
    "convergence": _convergence,
    "step": _step,
}


def _split(outputs: list[Output]) -> tuple[list[Output], list[Output]]:
    return [o for o in outputs if o.kind == "limit"], [o for o in outputs if o.kind == "particles"]


def _one_limit(outputs: list[Output], metric: str) -> Output:
    limits, _ = _split(outputs)
    if len(limits) != 1:
        raise ConfigError("--metric", f"is {metric}, which needs one limit on a grid; {len(limits)} were named")
    return limits[0]
