"""Where the time goes: a table of the ops that ran, by module, forward and backward."""

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

import minigrad.ops.work  # noqa: F401  the products say there what they cost
from minigrad.kernels import machine
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import get_num_threads
from minigrad.memory import owner_of
from minigrad.modes import Profiler, change_watch, watching
from minigrad.op import constant
from minigrad.tape import Variable

_loops: Any = machine  # kernels are not annotated
_REPEATS = 10


class Key(NamedTuple):
    """What is told apart: an op that ran by itself or in the rule of another, in a module, forward or backward."""

    op: str
    module: str
    phase: str


@dataclass
class Row:
    """What one op did in one module, forward or backward, without the ops that ran within it.

    Units: seconds; floating-point operations; bytes read and written (inputs, outputs, and what was saved besides), and
    bytes that were saved for backward when most was saved.
    """

    op: str  # backward, `a > b` is the op b that ran in the rule of a, and `a` what is left of that rule
    module: str  # the path of the module that called it, such as `features.0`
    phase: str  # forward or backward
    calls: int = 0
    seconds: float = 0.0
    flops: int = 0  # 0 where the op does not say
    bytes: int = 0
    saved_at_peak: int = 0
    dtype: str = ""  # of the last output

    @property
    def gflops(self) -> float | None:
        """GFLOP/s, where the op says how much it computes."""
        return self.flops / self.seconds / 1e9 if self.flops and self.seconds else None

    def of_peak(self) -> float | None:
        """The fraction of what this machine can do at most: the greater of the two, in arithmetic and in bandwidth.

        Arrays that stay in a cache can be read faster than memory is copied, so it can exceed 1.
        """
        if not self.seconds or not self.bytes:
            return None
        arithmetic = self.flops / fma_peak(self.dtype) if self.dtype in ("float32", "float64") else 0.0
        return max(arithmetic, self.bytes / copy_bandwidth()) / self.seconds


def _fastest(work: Callable[[int], Any], threads: int) -> float:
    """The least of several times, in seconds, in which all threads finish `work(thread)`."""
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(1 + _REPEATS):  # the first one compiles
            start = time.perf_counter()
            list(pool.map(work, range(threads)))
            times.append(time.perf_counter() - start)
    return min(times[1:])


@functools.cache
def _fma_peak(dtype: str, threads: int) -> float:
    rounds, scalar = 200_000, np.dtype(dtype).type
    width = VECTOR_BYTES // np.dtype(dtype).itemsize
    x = np.ones(machine.CHAINS * width, dtype)
    seconds = _fastest(lambda thread: _loops.multiply_add(x, scalar(0.5), scalar(0.25), rounds), threads)
    return 2 * machine.CHAINS * width * rounds * threads / seconds


@functools.cache
def _copy_bandwidth(threads: int) -> float:
    x = np.ones(1 << 23, np.float32)
    y = np.zeros_like(x)
    parts = [slice(i * x.size // threads, (i + 1) * x.size // threads) for i in range(threads)]
    return 2 * x.nbytes / _fastest(lambda thread: _loops.copy(x[parts[thread]], y[parts[thread]]), threads)


def fma_peak(dtype: str) -> float:
    """Fused multiply-adds, each two operations, per second on all threads; measured at the first call."""
    return _fma_peak(dtype, get_num_threads())


def copy_bandwidth() -> float:
    """Bytes read and written per second in copying an array larger than the caches; measured at the first call."""
    return _copy_bandwidth(get_num_threads())


def _arrays(values: Any) -> Iterator[np.ndarray]:
    """The arrays in what an op took, gave or saved."""
    if isinstance(values, np.ndarray):
        yield values
    elif isinstance(values, Variable):
        yield values._array
    elif isinstance(values, constant):
        yield from _arrays(values.array)
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _arrays(value)


def _bytes(*values: Any) -> int:
    """The bytes of different arrays."""
    return sum({id(array): array.nbytes for array in _arrays(values)}.values())


class _Held(tuple[Any, ...]):
    """What a node saved; says so when the node lets it go."""

    releases: list[Callable[[], None]]

    def __del__(self) -> None:
        for release in self.releases:
            release()


@dataclass
class _Holding:
    """The memory of one array that nodes saved."""

    key: Key
    size: int
    nodes: int = 0


class _Saved:
    """The memory that the tape holds: each array once, for the op that saved it first."""

    def __init__(self) -> None:
        self.peak = 0
        self.at_peak: dict[Key, int] = {}
        self._total = 0
        self._by_key: dict[Key, int] = {}
        self._holdings: dict[int, _Holding] = {}  # by id of the memory's owner

    def hold(self, key: Key, sizes: dict[int, int]) -> None:
        """A node holds memory from now on: bytes by id of the owner."""
        for owner, size in sizes.items():
            if owner not in self._holdings:
                self._holdings[owner] = _Holding(key, size)
                self._count(key, size)
            self._holdings[owner].nodes += 1
        if self._total > self.peak:
            self.peak, self.at_peak = self._total, dict(self._by_key)

    def release(self, sizes: dict[int, int]) -> None:
        """The node holds it no more."""
        for owner in sizes:
            holding = self._holdings[owner]
            holding.nodes -= 1
            if not holding.nodes:
                del self._holdings[owner]
                self._count(holding.key, -holding.size)

    def _count(self, key: Key, size: int) -> None:
        self._total += size
        self._by_key[key] = self._by_key.get(key, 0) + size


@dataclass
class _Frame:
    """A call that is being measured."""

    module: str
    rule: str  # the op whose rule runs, if one does
    within: float = 0.0  # seconds spent in calls within it
    is_leaf: bool = True  # nothing was called within it


class _Session(Profiler):
    """One `with` block: hands what it is told to its profile, and to the block around it."""

    def __init__(self, owner: "profile", outer: Profiler | None):
        self._owner, self._outer = owner, outer
        self._local = threading.local()
        self._start = time.perf_counter()

    def end(self) -> None:
        """Give way to the block around this one."""
        with self._owner._lock:
            self._owner.seconds += time.perf_counter() - self._start
        change_watch(profiler=self._outer)

    def _measured(self, op: str, frame: _Frame, run: Callable[[], Any]) -> tuple[Any, Row]:
        """The result of `run`, and the row in which its time was counted."""
        stack = self._local.__dict__.setdefault("stack", [])
        stack.append(frame)
        start = time.perf_counter()
        try:
            return run(), self._row(op, frame)
        finally:
            seconds = time.perf_counter() - start
            stack.pop()
            if stack:
                stack[-1].within += seconds
                stack[-1].is_leaf = False
            with self._owner._lock:
                row = self._row(op, frame)
                row.calls += 1
                row.seconds += seconds - frame.within

    def _row(self, op: str, frame: _Frame) -> Row:
        key = Key(op, frame.module, "backward" if frame.rule else "forward")
        return self._owner._rows.setdefault(key, Row(*key))

    def forward(self, op: Any, arrays: list[Any], settings: dict[str, Any]) -> Any:
        stack = self._local.__dict__.get("stack")
        caller = stack[-1] if stack else _Frame(".".join(watching.get().path), "")
        name = f"{caller.rule} > {op.name}" if caller.rule else op.name
        frame = _Frame(caller.module, caller.rule)
        run = functools.partial(op.forward, *arrays, **settings)
        if self._outer is not None:
            run = functools.partial(self._outer.forward, op, arrays, settings)
        result, row = self._measured(name, frame, run)
        output = result[0] if isinstance(result, tuple) and result else result
        with self._owner._lock:
            row.dtype = str(next((array.dtype for array in _arrays(output)), ""))
            row.bytes += _bytes(arrays, result) if frame.is_leaf else 0
            row.flops += 0 if op.work is None else op.work(output, *arrays, **settings)
        return result

    def backward(self, node: Any, dys: list[Any], pull: Callable[..., Any], *settings: Any) -> Any:
        frame = _Frame(".".join(node.path), node.op.name)
        given = list(dys), node.saved
        run = functools.partial(pull, node, dys, *settings)
        if self._outer is not None:
            run = functools.partial(self._outer.backward, node, dys, pull, *settings)
        gradients, row = self._measured(node.op.name, frame, run)
        with self._owner._lock:
            row.dtype = str(next((array.dtype for array in _arrays(gradients)), ""))
            row.bytes += _bytes(given, gradients) if frame.is_leaf else 0
        return gradients

    def recorded(self, node: Any) -> None:
        sizes = {id(owner_of(array)): array.nbytes for array in _arrays(node.saved)}
        if type(node.saved) is not _Held:
            node.saved = _Held(node.saved)
            node.saved.releases = []
        node.saved.releases.append(functools.partial(self._owner._release, sizes))
        with self._owner._lock:
            self._owner._saved.hold(Key(node.op.name, ".".join(node.path), "forward"), sizes)
        if self._outer is not None:
            self._outer.recorded(node)


class profile:
    """Measure what runs inside the block, in this thread or task: `with mg.profile() as p: ...; print(p)`.

    The table has a row for each op in each module, forward and backward: calls, time without that of ops within it,
    GFLOP/s where the op says how much it computes, bytes read and written, and the bytes it had saved for backward when
    most was saved. With `peak`, also the fraction of what the machine can do, which is measured once for this. A block
    may be in another, and a profile may be used again: it goes on adding up.
    """

    def __init__(self, peak: bool = False):
        self.peak = peak
        self.seconds = 0.0  # in the block, ops and all else
        self._rows: dict[Key, Row] = {}
        self._saved = _Saved()
        self._lock = threading.RLock()  # a finaliser may come in while its own thread is counting

    def __enter__(self) -> "profile":
        change_watch(profiler=_Session(self, watching.get().profiler))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = watching.get().profiler
        assert isinstance(session, _Session)
        session.end()

    def _release(self, sizes: dict[int, int]) -> None:
        with self._lock:
            self._saved.release(sizes)

    @property
    def rows(self) -> list[Row]:
        """What ran, the longest first."""
        with self._lock:
            at_peak = self._saved.at_peak
            rows = [dataclasses.replace(row, saved_at_peak=at_peak.get(key, 0)) for key, row in self._rows.items()]
        return sorted(rows, key=lambda row: -row.seconds)

    @property
    def saved_peak(self) -> int:
        """The most bytes that were saved for backward at one time, each array counted once."""
        return self._saved.peak

    def _cells(self) -> list[list[str]]:
        """The table: a heading, a line for each row, and one for what no op did."""
        rows = self.rows
        whole = max(self.seconds, sum(row.seconds for row in rows)) or 1.0
        heading = ["op", "module", "phase", "calls", "ms", "%", "GFLOP/s", "MB", "saved MB"]
        lines = [heading + ["of peak"] * self.peak]
        for row in rows:
            cells = [row.op, row.module, row.phase, str(row.calls), f"{row.seconds * 1e3:.3f}"]
            cells += [f"{100 * row.seconds / whole:.1f}", _number(row.gflops, 1), _number(row.bytes / 1e6, 2)]
            cells += [_number(row.saved_at_peak / 1e6, 2)]
            lines.append(cells + [_number(row.of_peak(), 2)] * self.peak)
        rest = whole - sum(row.seconds for row in rows)
        saved = _number(self.saved_peak / 1e6, 2)
        last = ["outside ops", "", "", "", f"{rest * 1e3:.3f}", f"{100 * rest / whole:.1f}", "", "", saved]
        return [*lines, last + [""] * self.peak]

    def to_markdown(self) -> str:
        """The table in Markdown."""
        heading, *lines = self._cells()
        marks = ["---"] * 3 + ["---:"] * (len(heading) - 3)
        return "\n".join(f"| {' | '.join(cells)} |" for cells in [heading, marks, *lines])

    def __str__(self) -> str:
        lines = self._cells()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = [
            [cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))]
            for cells in lines
        ]
        return "\n".join("  ".join(cells).rstrip() for cells in aligned)


def _number(value: float | None, digits: int) -> str:
    """A number, or nothing where there is none to tell."""
    return f"{value:.{digits}f}" if value else ""
