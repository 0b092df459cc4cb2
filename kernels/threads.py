"""How many threads a kernel gets, and how it is launched under Numba's three threading layers.

Under workqueue two launches at once abort the process, also where one is of somebody else's kernel. In a forked child a
launch kills the process under omp, and under tbb it waits for ever if the parent was launching meanwhile. There the
parts run on a pool of Python threads instead, which kernels, as they need no GIL, share the cores by as well: a launch
takes longer, and no program can break it.
"""

import contextlib
import ctypes
import functools
import importlib.metadata
import operator
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numba.core.compiler_lock
import numba.np.ufunc.parallel

from .jit import SANITIZE, kernel
from .parallel import run_part, run_parts

nb: Any = numba  # it is typed in part only

# Below this much work a launch costs more than a second thread saves: two microseconds and a sleeping thread's waking
# on Numba's threads, a hundred microseconds on Python's.
LEAST_WORK = 1 << 14
LEAST_WORK_OF_POOL = 1 << 18
ALL = -1  # instead of the number of a part

_compiling = numba.core.compiler_lock.global_compiler_lock
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
    if n <= 1 or work < LEAST_WORK:
        return 1
    if _on_numbas_threads():
        return min(_limit, n)  # Numba's own limit is the layer's business, which takes one part after the other
    return 1 if work < LEAST_WORK_OF_POOL else min(get_num_threads(), n)


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
        self._kernel: Callable[..., None] | None = None

    @property
    def kernel(self) -> Callable[..., None]:
        """What is compiled; made at the first launch, for a program uses few of all launchers."""
        if self._kernel is None:
            with _compiling:
                self._kernel = self._kernel or _launched(self._worker, self._flushes)
        return self._kernel

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
    """Run the parts of a kernel on Python's threads and on this one; no thread is at one when this ends, or raises."""
    todo, errors, helpers = iter(range(parts)), list[BaseException](), _helpers()
    doors = [threading.RLock() for _ in range(min(parts - 1, helpers.count))]  # one to each helper, closed while held

    def work() -> None:
        for part in todo:  # no two threads get the same one
            run(part, parts, n, *args)

    def help(door: Any) -> None:
        if door.acquire(blocking=False):
            try:
                work()
            except BaseException as error:
                errors.append(error)
            finally:
                door.release()

    try:
        for door in doors:
            helpers.calls.put(functools.partial(help, door))
        work()
    finally:
        _close(doors)
    if errors:
        raise errors[0]


def _close(doors: Sequence[Any]) -> None:
    """Wait until nobody is behind the doors: a helper may be at memory whose owner an interrupt would let go."""
    try:
        for door in doors:
            door.acquire()
    except BaseException:
        _close(doors)  # what this thread holds it gets again
        raise


class _Helpers:
    """Threads that make calls. They are daemons: an executor whose thread starts during an interrupt never ends."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.count = 0
        with contextlib.suppress(RuntimeError):  # the system gives no more
            while self.count < nb.config.NUMBA_NUM_THREADS - 1:
                threading.Thread(target=self._serve, name="minigrad", daemon=True).start()
                self.count += 1

    def _serve(self) -> None:
        while True:
            self.calls.get()()


_helpers = functools.cache(_Helpers)


@functools.cache
def threading_layer() -> str:
    """Numba's threading layer: tbb, omp or workqueue; chosen now if nothing was launched before."""
    with _compiling:  # which also keeps the process from being forked meanwhile
        numba.np.ufunc.parallel._launch_threads()
    return str(nb.threading_layer())


def _on_numbas_threads() -> bool:
    """Whether a launch on them is safe whatever else the program does."""
    return not _was_forked and threading_layer() != "workqueue"


def _after_fork_in_child() -> None:
    global _was_forked
    _compiling.release()
    _helpers.cache_clear()  # its threads do not exist in this process
    with contextlib.suppress(ValueError):  # no layer was chosen, and this process may
        _was_forked = bool(nb.threading_layer())


def _load_tbb() -> None:
    """Load the library of `pip install tbb`, which Numba would not find in a virtual environment's lib/ folder.

    Numba prefers tbb, under which users' own kernels survive the most as well.
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
    # A child forked while another thread compiles would wait for ever to compile or load a kernel itself.
    os.register_at_fork(
        before=_compiling.acquire, after_in_parent=_compiling.release, after_in_child=_after_fork_in_child
    )
