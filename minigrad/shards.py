"""A batch that several processes share: the run of samples that this one holds while it computes a model.

Kernels sum over a batch by chunks of 8 samples and a pairwise tree (`kernels/reduce.py`). A run is a power of two of
chunks long and begins at a multiple of its length: so its sum is a branch of the tree, and the runs' sums, added
pairwise, are the sum over the batch to the last bit, however many processes there are.
"""

import dataclasses
from collections.abc import Callable
from contextvars import ContextVar

import numpy as np

from minigrad.kernels.reduce import CHUNK


@dataclasses.dataclass(frozen=True, eq=False)
class Shard:
    """The run of a batch of `samples` that process `rank` of `size` holds.

    A process for which none is left computes the last sample once more: it meets the others wherever they do, and
    what it gives counts nowhere.
    """

    rank: int
    size: int
    samples: int
    exchange: Callable[[np.ndarray], np.ndarray]  # an array of every process -> (size, *shape), the same on all

    @property
    def length(self) -> int:
        """Of a run: the least power of two of chunks with which there are enough processes."""
        length = CHUNK
        while self.size * length < self.samples:
            length *= 2
        return length

    @property
    def holders(self) -> int:
        """How many processes hold a run, those of the lowest ranks; the last run may be shorter."""
        return -(-self.samples // self.length)

    @property
    def held(self) -> slice:
        """The samples that this process computes."""
        if self.rank >= self.holders:
            return slice(self.samples - 1, self.samples)
        return slice(self.rank * self.length, min(self.samples, (self.rank + 1) * self.length))

    def count(self, rank: int) -> int:
        """How many samples a process holds that count."""
        return max(0, min(self.samples - rank * self.length, self.length))

    def rows(self, array: np.ndarray) -> np.ndarray:
        """What each holder gives, in the order of the runs: (holders, *shape)."""
        return self.exchange(array)[: self.holders]

    def part_of(self, total: np.ndarray) -> np.ndarray:
        """A sum over all runs that every process already has, as its part of one: adding -0.0 changes nothing."""
        return total if self.rank == 0 else np.full_like(total, -0.0)


sharded: ContextVar[Shard | None] = ContextVar("sharded", default=None)
"""What of the batch the model that runs is given; None where it is all of it."""
