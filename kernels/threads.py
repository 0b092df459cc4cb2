"""How many threads a kernel gets, and how it is launched under Numba's three threading layers."""

import contextlib
import ctypes
import functools
import importlib.metadata
import operator
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numba

from .jit import SANITIZE, kernel
from .parallel import run_part, run_parts

nb: Any = numba  # it is typed in part only

# Below this much work a launch costs more than a second thread saves: two microseconds and a sleeping thread's waking
# under tbb and omp, a hundred microseconds under workqueue.
LEAST_WORK = 1 << 14
LEAST_WORK_WORKQUEUE = 1 << 18

_limit = int(nb.config.NUMBA_NUM_THREADS)
_launching = threading.Lock()
_chosen: str | None = None  # the threading layer, which no process changes
_stranded = False  # a forked child of a process that used omp: a parallel kernel would kill it, even on one thread


def set_num_threads(count: int) -> None:
    """Let kernels use at most `count` threads in the whole process (Numba's own limit holds for one Python thread)."""
    global _limit
    count, most = operator.index(count), nb.config.NUMBA_NUM_THREADS
    if not 1 <= count <= most:
        raise ValueError(f"set_num_threads: need 1 to {most} threads, got {count}; NUMBA_NUM_THREADS sets the maximum")
    _limit = operator.index(count)


def get_num_threads() -> int:
    """The number of threads a kernel launched from here may use."""
    return 1 if _stranded else min(_limit, nb.get_num_threads())


def parts(n: int, work: int) -> int:
    """Into how many parts to cut `n` items that cost `work` together.

    Units: `work` counts scalar operations or elements touched, at about a nanosecond each on one thread (thirty
    multiply-adds of a SIMD register tile count as one).
    """
    if n <= 1 or work < LEAST_WORK:
        return 1
    if _stranded or (work < LEAST_WORK_WORKQUEUE and _layer() == "workqueue"):
        return 1
    return min(_limit, n)  # Numba's own limit is the layer's business, which takes one part after the other


class Launcher:
    """A kernel launched on as many threads as its work is worth.

    Its worker `(start, stop, part, *args)` computes items [start, stop), may use `scratch[part]`, and takes arrays and
    numbers only. It is called on [part * n // parts, (part + 1) * n // parts) for each part, by one kernel that holds
    it. One part never reaches the threads. The same code gives the same bits, in however many parts.

    With `flushes` denormal numbers count as 0 inside each call of the worker, and only there: left on a thread, that
    state would make the bits depend on which thread ran.
    """

    def __init__(self, worker: Callable[..., None], flushes: bool = False) -> None:
        self._worker, self._flushes = worker, flushes

    @functools.cached_property
    def kernel(self) -> Callable[..., None]:
        """What is compiled; made at the first launch, for a program uses few of all launchers."""
        return _launched(self._worker, self._flushes)

    def __call__(self, parts: int, n: int, *args: Any) -> None:
        if parts <= 1 or _stranded:
            self.kernel(1, n, *args)
        elif _layer() in ("tbb", "omp"):
            self.kernel(parts, n, *args)
        else:  # two launches at once abort the process under workqueue, which the first launch may still choose
            with _launching:
                self.kernel(parts, n, *args)


def _launched(worker: Callable[..., None], flushes: bool) -> Callable[..., None]:
    def launched(parts, n, *args):
        if parts == 1 or SANITIZE:
            for part in range(parts):
                run_part(worker, flushes, part, parts, n, args)  # type: ignore[call-arg]
        else:
            run_parts(worker, flushes, parts, n, args)  # type: ignore[call-arg]

    # It is called after its worker: in the cache, in profiles.
    launched.__qualname__ = f"{worker.__module__.rpartition('.')[2]}.{worker.__name__}"
    return kernel(launched)


def _layer() -> str | None:
    """Numba's threading layer; None before its first launch."""
    global _chosen
    if _chosen is None:
        with contextlib.suppress(ValueError):
            _chosen = str(nb.threading_layer())
    return _chosen


def _after_fork() -> None:
    global _launching, _stranded
    _launching = threading.Lock()  # whoever held the old one does not exist in this process
    _stranded = _layer() == "omp"


def _load_tbb() -> None:
    """Load the library of `pip install tbb`, which Numba would not find in a virtual environment's lib/ folder.

    Numba prefers tbb, the one layer that survives both forks and launches from several Python threads.
    """
    name = {"linux": "libtbb.so.12", "win32": "tbb12.dll"}.get(sys.platform)
    try:
        files = importlib.metadata.files("tbb") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == name:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)


_load_tbb()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
