"""Training on several processes and machines, by MPI: `mpiexec -n 4 minigrad train --data mnist`.

`fit` shares its batches with all processes that were started together, and ends with the bits that one process would
have come to. A loop of one's own does the same with `DistributedDataParallel`. MPI is joined at the first use; a
program that was started alone has rank 0 of 1, and needs neither MPI nor mpi4py.

An exception that every process raises is an exception; one that a single process raises, or a process that dies or
leaves while others wait for it, ends the job with one message and a status other than 0.
"""

from typing import Any

import numpy as np

from minigrad.distributed.parallel import DistributedDataParallel
from minigrad.distributed.processes import group
from minigrad.tensor import Tensor

__all__ = ["DistributedDataParallel", "all_reduce", "barrier", "broadcast", "get_rank", "get_world_size"]


def get_rank() -> int:
    """The number of this process, from 0: the one of which only one prints and writes."""
    found = group()
    return 0 if found is None else found.rank


def get_world_size() -> int:
    """How many processes there are."""
    found = group()
    return 1 if found is None else found.size


def barrier() -> None:
    """Wait until all processes have come here."""
    found = group()
    if found is not None:
        found.barrier()


def broadcast(tensor: Tensor, src: int = 0) -> None:
    """Overwrite a tensor, of one shape and dtype on all processes, by that of process `src`."""
    found = _for_tensor("broadcast", tensor)
    if not 0 <= src < get_world_size():
        raise ValueError(f"broadcast: need src from 0 to {get_world_size() - 1}, got {src!r}")
    if found is not None:
        array = np.array(tensor.data, order="C")
        found.broadcast(array, src)
        tensor.copy_(array)


def all_reduce(tensor: Tensor) -> None:
    """Overwrite a tensor, of one shape and dtype on all processes, by the sum of theirs.

    The sum is pairwise by rank, ((0 + 1) + (2 + 3)) + ...: it has the same bits on all processes and in every run.
    """
    found = _for_tensor("all_reduce", tensor)
    if found is not None:
        tensor.copy_(found.sum(tensor.data))


def _for_tensor(name: str, tensor: Any) -> Any:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: need a tensor, got {type(tensor).__name__}")
    return group()
