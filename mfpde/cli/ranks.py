"""Several processes as one program: what the launcher says, and verbs that have no use for more than one.

``mpiexec -n K python -m mfpde solve`` starts K processes.  The first one, rank 0, is the program: it reads, writes,
prints, and its exit code is that of the run.  The others follow it (cli.messages) and say nothing.
"""

from __future__ import annotations

import importlib
import os
import time
from typing import TYPE_CHECKING

from mfpde.cli.common import UsageError
from mfpde.errors import MfpdeError

if TYPE_CHECKING:
    from mfpde.cli.messages import World

# (rank, number of processes) as Hydra (MPICH, Intel MPI), Open MPI and Slurm with PMIx tell them
_VARIABLES = (
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),
)
SHARING = ("solve",)


class NoRanks(UsageError):
    """The processes of one launch cannot talk to each other."""


def launched() -> tuple[int, int]:
    """(rank, number of processes) according to the environment; (0, 1) without a launcher."""
    for rank, size in _VARIABLES:
        values = os.environ.get(rank, ""), os.environ.get(size, "")
        if all(value.isdecimal() for value in values):
            return int(values[0]), int(values[1])
    return 0, 1


def follows() -> bool:
    """Whether this process is one of several and not the first."""
    return launched()[0] > 0


def refuse(verb: str) -> None:
    """UsageError where several processes were started for a verb that one does alone."""
    size = launched()[1]
    if size > 1 and verb not in SHARING:
        own = "its runs are processes of its own: --jobs N" if verb == "sweep" else "start it without mpiexec"
        raise UsageError(f"{verb} is done by one process, and mpiexec started {size}", own)


def silent_code(error: MfpdeError) -> int:
    """Exit code of a process that ``follows``: the first one meets the same error, says it, and ends with its code.

    Processes that cannot talk may fail one by one: then the launcher has to end the first one too, once it has spoken.
    """
    if not isinstance(error, NoRanks):
        return 0
    time.sleep(1.0)
    return error.exit_code


def world() -> World | None:
    """The processes of this launch, None for a single one; NoRanks where they cannot talk to each other."""
    size = launched()[1]
    if size == 1:
        return None
    try:
        mpi4py = importlib.import_module("mpi4py")
        mpi4py.rc.thread_level = "funneled"  # the main thread alone sends and receives
        mpi = importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise NoRanks(
            f"mpiexec started {size} processes, which need mpi4py to share the work: {reason}",
            "pip install 'mfpde[mpi]', or start one process",
        ) from None
    if mpi.COMM_WORLD.Get_size() != size:
        raise NoRanks(
            f"mpiexec started {size} processes, but the MPI library of mpi4py sees {mpi.COMM_WORLD.Get_size()}",
            "use the mpiexec of that library; pip install 'mfpde[mpi]' brings both",
        )
    from mfpde.cli.messages import World

    return World(mpi)
