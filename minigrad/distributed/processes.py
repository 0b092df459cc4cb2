"""The processes that MPI started together, and how they meet without waiting for one that never comes.

Every wait is a loop that asks whether the message is there, so that it hears of a process that failed or left: then the
job ends within seconds, with one message. Nothing here needs MPI to be used from several threads.
"""

import atexit
import contextlib
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from minigrad.distributed.launch import is_launched
from minigrad.extras import require
from minigrad.kernels import threads
from minigrad.kernels.reduce import tree_sum
from minigrad.shards import Shard

GRACE = 3.0  # seconds in which processes that fail alike are to say so
PATIENCE = 1e-3  # seconds of waiting after which a process sleeps between two looks
NAP = 5e-5
LEFT, FAILED = 1, 2  # what processes tell each other, as tags of empty messages

_group: "Group | None" = None


def group() -> "Group | None":
    """The processes that were started together, if there are several; the first call makes them one group.

    Raises: ModuleNotFoundError, with the command that installs it, where MPI started this and mpi4py is missing.
    """
    global _group
    if _group is None and is_launched():
        MPI = require("mpi4py.MPI", "mpi4py", "a program that was started by MPI")
        _group = Group(MPI)
    return _group if _group is not None and _group.size > 1 else None


class Group:
    """The processes of a job. All of them make the same calls here, in the same order."""

    def __init__(self, MPI: Any) -> None:
        world = MPI.COMM_WORLD
        self._mpi, self.rank, self.size = MPI, int(world.rank), int(world.size)
        # Messages of one kind overtake those of another: so each has a communicator of its own.
        self.calls, self.scatters, self.gathers, self._news = (world.Dup() for _ in range(4))
        self._heard: dict[int, float] = {}  # when it was heard that a process failed or left
        self._failed, self._left = np.zeros(self.size, bool), np.zeros(self.size, bool)
        self._share_cores()
        if self.size > 1:
            self._hook, sys.excepthook = sys.excepthook, self._uncaught
            atexit.register(self._leave)  # mpi4py's own comes after this

    def _share_cores(self) -> None:
        """Let each process of a machine use its share of the cores, unless the launcher or the user has said."""
        machine = self._mpi.COMM_WORLD.Split_type(self._mpi.COMM_TYPE_SHARED)
        cores = os.cpu_count() or 1
        chosen = "NUMBA_NUM_THREADS" in os.environ or threads.get_num_threads() < cores
        if machine.size > 1 and not chosen:
            threads.set_num_threads(max(1, cores // machine.size))
        machine.Free()

    def shard(self, samples: int) -> Shard:
        """The run of a batch that this process holds."""
        return Shard(self.rank, self.size, samples, self.gather)

    def gather(self, array: np.ndarray) -> np.ndarray:
        """The array of each process, all of one shape: (size, *shape), the same on all."""
        array = np.ascontiguousarray(array)
        rows = np.empty((self.size, *array.shape), array.dtype)
        self.wait(self.calls.Iallgather(bytes_of(array), bytes_of(rows)))
        return rows

    def gather_parts(self, part: np.ndarray, counts: list[int]) -> np.ndarray:
        """Bytes of each process, so many, one after the other: the same on all."""
        whole = np.empty(sum(counts), np.uint8)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self.wait(self.calls.Iallgatherv(part, (whole, counts, starts, self._mpi.BYTE)))
        return whole

    def sum(self, array: np.ndarray) -> np.ndarray:
        """The sum over the processes, added pairwise by rank: the same bits on all."""
        rows = self.gather(array)
        flat = rows.reshape(self.size, -1)
        tree_sum(threads.parts(flat.shape[1], flat.size), flat.shape[1], flat)
        total: np.ndarray = rows[0]
        return total

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is up on any process."""
        up: list[bool] = np.any(self.gather(np.array(flags)), axis=0).tolist()
        return tuple(up)

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What `make()` gives on the first process, on all of them; an error that it raises there is raised on all."""
        content, error = b"", None
        if self.rank == 0:
            try:
                content = pickle.dumps((make(), None))
            except Exception as caught:
                error = caught
                content = pickle.dumps((None, caught))
        size = np.array([len(content)], np.int64)
        self.wait(self.calls.Ibcast(bytes_of(size), 0))
        buffer = np.frombuffer(bytearray(content), np.uint8) if content else np.empty(size[0], np.uint8)
        self.wait(self.calls.Ibcast(buffer, 0))
        value, other = pickle.loads(buffer.tobytes()) if self.rank else (pickle.loads(content)[0], error)
        if other is not None:
            raise other
        return value

    def broadcast(self, array: np.ndarray, source: int) -> None:
        """Overwrite a contiguous array by that of one process."""
        self.wait(self.calls.Ibcast(bytes_of(array), source))

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        self.wait(self.calls.Ibarrier())

    def wait(self, *requests: Any) -> None:
        """Wait for messages; end the job if one that has to send them is gone."""
        test, begun, looks = self._mpi.Request.Testall, time.perf_counter(), 0
        while not test(requests):
            looks += 1
            if time.perf_counter() - begun < PATIENCE:
                _let_others_run()
            else:
                time.sleep(NAP)
            if looks % 256 == 0:
                self._listen()
                gone = [rank for rank, when in self._heard.items() if time.monotonic() - when > 2 * GRACE]
                if gone:
                    self._abort(f"process {gone[0]} of {self.size} left while process {self.rank} waits for it")

    def _listen(self) -> None:
        """Take the news that processes failed or left."""
        status = self._mpi.Status()
        while self._news.Iprobe(self._mpi.ANY_SOURCE, self._mpi.ANY_TAG, status):
            source = status.source
            self._news.Recv(np.empty(0, np.uint8), source, status.tag)
            self._heard[source] = time.monotonic()
            (self._failed if status.tag == FAILED else self._left)[source] = True

    def _tell(self, tag: int) -> None:
        for rank in range(self.size):
            if rank != self.rank:
                self._news.Isend(np.empty(0, np.uint8), rank, tag)

    @contextlib.contextmanager
    def together(self) -> Any:
        """An exception that all processes raise within passes through; one that only some raise ends the job."""
        try:
            yield
        except BaseException as error:
            self._agree_to_fail(error)
            raise

    def _agree_to_fail(self, error: BaseException) -> None:
        if getattr(error, "_agreed", False):
            return
        self._tell(FAILED)
        self._failed[self.rank] = True
        end = time.monotonic() + GRACE
        while not self._failed.all():
            if time.monotonic() > end:
                print("".join(traceback.format_exception(error)), file=sys.stderr, end="")
                self._abort(f"process {self.rank} of {self.size} failed: {type(error).__name__}: {error}")
            time.sleep(NAP)
            self._listen()
        self._failed[:] = False
        self._heard.clear()
        error._agreed = True  # type: ignore[attr-defined]

    def _abort(self, message: str) -> NoReturn:
        print(f"minigrad: {message}; the job ends", file=sys.stderr, flush=True)
        sys.stdout.flush()
        self._mpi.COMM_WORLD.Abort(1)
        os._exit(1)

    def _uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """What the interpreter does with an exception that nobody caught."""
        self._agree_to_fail(error)
        if self.rank == 0:
            self._hook(kind, error, trace)

    def _leave(self) -> None:
        """Wait for the others at the end of the program; those that still wait for this one hear that it left."""
        self._tell(LEFT)
        self._left[self.rank] = True
        while not self._left.all():
            time.sleep(NAP)
            self._listen()


_let_others_run = getattr(os, "sched_yield", lambda: time.sleep(0))  # Windows has no such call


def bytes_of(array: np.ndarray) -> np.ndarray:
    """The memory of an array, whatever its dtype."""
    return array.reshape(-1).view(np.uint8)
