"""What tells a program that MPI started it, before MPI itself is loaded."""

import os

RANKS = "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"
"""Set by MPICH, Intel MPI and Slurm with PMI; by Slurm with PMIx; by Open MPI."""


def is_launched() -> bool:
    """Whether this process is one of those that `mpiexec` or `srun` started together.

    Raises: RuntimeError where Slurm started several that know nothing of each other.
    """
    if any(name in os.environ for name in RANKS):
        return True
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    if tasks != "1":
        raise RuntimeError(
            f"distributed: srun started {tasks} processes without MPI, of which each would train alone: "
            "srun --mpi=pmi2 (or what `srun --mpi=list` shows)"
        )
    return False


def launched_rank() -> int:
    """The number of this process among those that were started together; 0 if it was started alone."""
    return next((int(os.environ[name]) for name in RANKS if name in os.environ), 0)
