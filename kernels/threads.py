"""How many threads a kernel gets, and how it is launched under Numba's three threading layers.

tbb bears whatever a program does. Under workqueue two launches at once abort the process, also where one is of somebody
else's kernel; under omp a forked child dies at its first launch. There the parts run on a pool of Python threads
instead, which kernels, as they need no GIL, share the cores by as well: a launch takes longer, and no program can break
it.
"""

import contextlib
import ctypes
import functools
import importlib.metadata
import operator
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numba
import numba.np.ufunc.parallel

from .jit import SANITIZE, kernel
from .parallel import run_part, run_parts

nb: Any = numba  # it is typed in part only

# Below this much work a launch costs more than a second thread saves: two microseconds and a sleeping thread's waking
# on Numba's threads, a hundred microseconds on Python's.
LEAST_WORK = 1 << 14
LEAST_WORK_OF_POOL = 1 << 18
ALL = -1  # instead of the number of a part

_limit = int(nb.config.NUMBA_NUM_THREADS)
_was_forked = False  # from a process that had chosen a threading layer


def set_num_threads(count: int) -> None:
    """Let kernels use at most `count` threads in the whole process (Numba's own limit holds for one Python thread)."""
    global _limit
    most = nb.config.NUMBA_NUM_THREADS
    try:
        count = operator.index(count)
    except TypeError:
        raise TypeError(f"set_num_threads: need an integer, got {count!r}") from None
    if not 1 <= count <= most:
        raise ValueError(f"set_num_threads: need 1 to {most} threads, got {count}; NUMBA_NUM_THREADS sets the maximum")
    _limit = count


def get_num_threads() -> int:
    """The number of threads a kernel launched from here may use."""
    return min(_limit, nb.get_num_threads())


def parts(n: int, work: int) -> int:
    """Into how many parts to cut `n` items that cost `work` together.

    Units: `work` counts scalar operations or elements touched, at about a nanosecond each on one thread (thirty
    multiply-adds of a SIMD register tile count as one).
    """
    if n <= 1 or work < LEAST_WORK or (work < LEAST_WORK_OF_POOL and not _on_numbas_threads()):
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
        if parts <= 1:
            self.kernel(0, 1, n, *args)
        elif SANITIZE or _on_numbas_threads():
            self.kernel(ALL, parts, n, *args)
        else:
            _share(self.kernel, parts, n, args)


def _launched(worker: Callable[..., None], flushes: bool) -> Callable[..., None]:
    def launched(part, parts, n, *args):
        if part != ALL:
            run_part(worker, flushes, part, parts, n, args)  # type: ignore[call-arg]
        elif SANITIZE:
            for each in range(parts):
                run_part(worker, flushes, each, parts, n, args)  # type: ignore[call-arg]
        else:
            run_parts(worker, flushes, parts, n, args)  # type: ignore[call-arg]

    # It is called after its worker: in the cache, in profiles.
    launched.__qualname__ = f"{worker.__module__.rpartition('.')[2]}.{worker.__name__}"
    return kernel(launched)


def _share(run: Callable[..., None], parts: int, n: int, args: tuple[Any, ...]) -> None:
    """Run the parts of a kernel on Python's threads and on this one, and wait for all."""
    others: list[Future[None]] = []
    with contextlib.suppress(RuntimeError):  # the interpreter is about to end, and starts nothing any more
        others.extend(_pool().submit(run, part, parts, n, *args) for part in range(1, parts))
    for part in (0, *range(len(others) + 1, parts)):
        run(part, parts, n, *args)
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(nb.config.NUMBA_NUM_THREADS, "minigrad")


@functools.cache
def threading_layer() -> str:
    """Numba's threading layer: tbb, omp or workqueue; chosen now if nothing was launched before."""
    numba.np.ufunc.parallel._launch_threads()
    return str(nb.threading_layer())


def _on_numbas_threads() -> bool:
    """Whether a launch on them is safe whatever else the program does."""
    return threading_layer() == "tbb" or (threading_layer() == "omp" and not _was_forked)


def _after_fork() -> None:
    global _was_forked
    _pool.cache_clear()  # its threads do not exist in this process
    with contextlib.suppress(ValueError):  # no layer was chosen, and this process may
        _was_forked = bool(nb.threading_layer())


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
