"""Sums of gradients over processes, in buckets that travel while the walk back goes on.

A gradient that comes to a parameter is copied into its place in a bucket; a full bucket is cut into a part for each
process, every process gets its part of everybody's (all-to-all), adds them pairwise by rank, which is how a kernel adds
the chunks of a batch (`kernels/reduce.py`), and the sums go to all (all-gather). So a process sends 2 (R - 1) / R of
the bytes, as in a ring, and the order of summation is always the same.

Each use of a parameter has a place of its own, and the sums are added in the order of the uses: as one process does.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.distributed.processes import Group, bytes_of
from minigrad.kernels import threads
from minigrad.kernels.reduce import tree_sum
from minigrad.memory import added
from minigrad.shards import Shard
from minigrad.tape import Variable

SIZE = 1 << 17  # bytes of a bucket, or what its last gradient makes of it


class Bucket:
    """Memory for gradients of one dtype, which lie side by side."""

    def __init__(self, dtype: np.dtype[Any], size: int, processes: int) -> None:
        part = -(-size // processes)
        self.mine = np.full((processes, part), -0.0, dtype)  # the part of each process in this one's gradients
        self.flat = self.mine.reshape(-1)
        self.theirs = np.empty_like(self.mine)  # this process's part in everybody's gradients
        self.size = size


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the gradient from one use of a parameter lies."""

    bucket: int
    start: int
    stop: int


class Layout:
    """The buckets for the uses of parameters, in the order in which the walk back comes there."""

    def __init__(self, uses: Sequence[Variable], processes: int) -> None:
        self.places: dict[int, list[Place]] = {}  # by the id of the parameter
        self.members: list[list[Place]] = []
        sizes: list[int] = []
        dtypes: list[np.dtype[Any]] = []
        for leaf in uses:
            array = leaf._array
            if not sizes or dtypes[-1] != array.dtype or sizes[-1] * array.itemsize >= SIZE:
                sizes.append(0)
                dtypes.append(array.dtype)
                self.members.append([])
            place = Place(len(sizes) - 1, sizes[-1], sizes[-1] + array.size)
            sizes[-1] = place.stop
            self.members[-1].append(place)
            self.places.setdefault(id(leaf), []).append(place)
        self.buckets = [Bucket(dtype, size, processes) for dtype, size in zip(dtypes, sizes, strict=True)]


@dataclasses.dataclass
class Traffic:
    """What the sums of gradients cost this process since the counters were last set to zero."""

    messages: int = 0
    sent: int = 0  # bytes
    exposed: float = 0.0  # seconds of waiting after the walk back was over


class Reduction:
    """One walk back: gradients arrive by `add`, and `totals` gives their sums over the processes."""

    def __init__(self, layout: Layout, group: Group, shard: Shard, traffic: Traffic) -> None:
        self._layout, self._group, self._holders, self._traffic = layout, group, shard.holders, traffic
        self._missing = [len(members) for members in layout.members]
        self._arrived: dict[int, list[Place]] = {}
        self._sent = self._summed = 0  # buckets, which go in order
        self._scatters: list[Any] = []
        self._gathers: list[Any] = []

    def add(self, leaf: Variable, gradient: np.ndarray) -> None:
        """Take the gradient that comes from the next use of a parameter, and send what is complete."""
        arrived = self._arrived.setdefault(id(leaf), [])
        place = self._layout.places[id(leaf)][len(arrived)]
        arrived.append(place)
        self._layout.buckets[place.bucket].flat[place.start : place.stop] = gradient.reshape(-1)
        self._missing[place.bucket] -= 1
        while self._sent < len(self._missing) and not self._missing[self._sent]:
            self._send()
        self._go_on()

    def totals(self) -> dict[int, np.ndarray]:
        """The sums, by the id of the parameter; of those alone to which gradients came."""
        begun = time.perf_counter()
        while self._sent < len(self._missing):  # some uses got no gradient: the same ones on all processes
            self._send()
        while self._summed < self._sent:
            self._group.wait(self._scatters[self._summed])
            self._sum()
        self._group.wait(*self._gathers)
        self._traffic.exposed += time.perf_counter() - begun
        return {leaf: self._total(places) for leaf, places in self._arrived.items()}

    def _send(self) -> None:
        bucket = self._layout.buckets[self._sent]
        self._sent += 1
        self._scatters.append(self._group.scatters.Ialltoall(bytes_of(bucket.mine), bytes_of(bucket.theirs)))
        self._traffic.messages += 2 * (self._group.size - 1)
        self._traffic.sent += 2 * (self._group.size - 1) * bucket.mine[0].nbytes

    def _go_on(self) -> None:
        """Sum what has come meanwhile. MPI too gets on with what is under way when it is asked."""
        while self._summed < self._sent and self._scatters[self._summed].Test():
            self._sum()
        if self._gathers:
            self._gathers[-1].Test()

    def _sum(self) -> None:
        bucket = self._layout.buckets[self._summed]
        self._summed += 1
        rows = bucket.theirs[: self._holders]
        tree_sum(threads.parts(rows.shape[1], rows.size), rows.shape[1], rows)
        self._gathers.append(self._group.gathers.Iallgather(bytes_of(rows[0]), bytes_of(bucket.mine)))

    def _total(self, places: list[Place]) -> np.ndarray:
        parts = [self._layout.buckets[place.bucket].flat[place.start : place.stop] for place in places]
        total = parts[0].copy()
        for part in parts[1:]:
            total = added(total, part)
        return total
