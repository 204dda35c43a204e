"""Whether the features of a grid are compressed into a table, tabulated as they are, or evaluated anew at every use.

A use is one pair of sums over all cells and nodes (predictions, then the potential they make).  The number of uses is
not known beforehand: USES of them are weighed against what is done once.  Of the ways that fit into the memory
allowed, the one with the least expected time is taken; one that needs no table always fits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from mfpde import datalaws
from mfpde.problem import KINKED, Network, Problem
from mfpde.tabulate.averages import average_cost, averaged

Way = Literal["compressed", "precomputed", "direct"]

# a few hundred time steps, each with its iterations and its certificate
USES = 3000
# the share of the machine's memory that a table may take, and the memory taken for granted where no system tells
SHARE, SMALLEST_MEMORY = 0.25, 4 << 30
# seconds of one core of a common machine (Zen 5, 3.7 GHz): both sums from a table, per number in it; storing a feature;
# one evaluation of an activation in a sum, per input the more; one feature of an explicit interaction
_TABLE, _STORE = 4e-10, 6e-10
ACTIVATION = {
    "relu": 0.5e-10,
    "identity": 0.5e-10,
    "quadratic": 0.6e-10,
    "hermite": 2.5e-10,
    "sin": 3.3e-10,
    "tanh": 4.6e-10,
    "sigmoid": 4.5e-10,
    "erf": 7.5e-10,
    "gelu": 7.5e-10,
    "softplus": 7.5e-10,
    "piecewise-linear": 2e-10,
}
_INPUT, _EXPLICIT = 0.1e-10, 1e-8
# compiling the sums that need no table, at first use
_COMPILATION = 1.0


@dataclass(frozen=True)
class Option:
    """One way: nodes whose features it handles, bytes it keeps, seconds it takes at first and at every use."""

    way: Way
    rank: int
    nbytes: int
    once: float
    use: float

    @property
    def expected(self) -> float:
        """Seconds of a run of USES uses."""
        return self.once + USES * self.use


@dataclass(frozen=True)
class Choice:
    """The option taken and those turned down, for so many cells and nodes."""

    taken: Option
    others: tuple[Option, ...]
    cells: int
    nodes: int
    budget: int

    @property
    def summary(self) -> str:
        """What was chosen, in a few words."""
        few = "" if self.taken.rank == self.nodes else f" {self.taken.rank} of"
        return f"{self.taken.way},{few} {self.nodes} nodes"

    @property
    def description(self) -> str:
        """What was chosen and what the alternatives would cost, in one line."""
        t = self.taken
        what = {
            "compressed": f"compressed to {t.rank}",
            "precomputed": "tabulated",
            "direct": f"evaluated at every use ({t.rank} of them)" if t.rank < self.nodes else "evaluated at every use",
        }[t.way]
        others = "; ".join(
            f"{o.way} {_time(o.use)}, {_size(o.nbytes)}" + (" is too large" if o.nbytes > self.budget else "")
            for o in self.others
        )
        features = f"{self.nodes} features of {self.cells} cells {what}, {_time(t.use)} a use, {_size(t.nbytes)}"
        return f"{features} ({others})" if others else features


def choose(problem: Problem, cells: int, rank: int | None, way: Way | None = None, budget: int | None = None) -> Choice:
    """Weigh the ways for features of ``cells``; ``rank`` of the compression, None if there is none.

    ``way`` takes one without weighing; ``budget`` is the memory allowed for a table, in bytes.
    """
    nodes = len(problem.data.y)
    budget = int(SHARE * machine_memory()) if budget is None else budget
    few = nodes if rank is None else rank
    options = [_table(problem, "precomputed", cells, nodes), _direct(problem, cells, few)]
    if rank is not None:
        options.append(_table(problem, "compressed", cells, rank))
    if way is None:
        fitting = [o for o in options if o.way == "direct" or o.nbytes <= budget]
        taken = min(fitting, key=lambda o: o.expected)
    else:
        taken = next((o for o in options if o.way == way), options[0])
    others = tuple(sorted((o for o in options if o is not taken), key=lambda o: o.expected))
    return Choice(taken, others, cells, nodes, budget)


def machine_memory() -> int:
    """Bytes of this machine's main memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return SMALLEST_MEMORY


def _table(problem: Problem, way: Way, cells: int, rank: int) -> Option:
    nodes = len(problem.data.y)
    combine = 8 * rank * nodes if way == "compressed" else 0
    numbers = cells * rank
    once = numbers * (_STORE + _evaluation(problem))
    return Option(way, rank, 8 * numbers + combine, once, numbers * _TABLE + combine * _TABLE / 8)


def _direct(problem: Problem, cells: int, rank: int) -> Option:
    rows = 2 + 2 * problem.data.x.shape[1]
    use = 2.0 * cells * rank * _evaluation(problem)
    return Option("direct", rank, 8 * cells * rows, _COMPILATION, use)


def _evaluation(problem: Problem) -> float:
    """Seconds for one feature of one cell, rotations included."""
    model = problem.model
    if not isinstance(model, Network):
        return _EXPLICIT
    if averaged(problem):
        return average_cost(problem)
    _, average = datalaws.rotation_average(problem.data, model.activation not in KINKED)
    return len(average) * (ACTIVATION[model.activation] + _INPUT * problem.data.x.shape[1])


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:.2g} ms" if seconds < 1.0 else f"{seconds:.2g} s"


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:.3g} MiB"
