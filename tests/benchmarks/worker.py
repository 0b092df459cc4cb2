"""Each library in a process of its own: no thread pool spins beside another's, and no heap is shared.

The processes stand still but for the one whose turn it is. `Worker` and `Task` are the near side; the functions below
them run in the process of the library.
"""

import itertools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from . import timing
from .peers import load


class Worker:
    """A peer in its process. By `name` and `fused` sections choose among peers."""

    def __init__(self, module: str, setting: dict[str, bool], threads: int):
        context = multiprocessing.get_context("spawn")  # a forked child would inherit thread pools without threads
        self._pool = ProcessPoolExecutor(1, context, initializer=start, initargs=(module, setting, threads))
        self.name, self.fused = self.ask(name_and_setting)

    def ask(self, function: Callable[..., Any], *args: Any) -> Any:
        """The result of a function there. What it raises, this raises, with the traceback from there."""
        return self._pool.submit(function, *args).result()

    def prepare(self, work: str, *args: Any) -> "Task | None":
        """The work, ready to be timed; None if the peer does not offer it."""
        number = self.ask(prepare, work, args)
        return None if number is None else Task(self, number)

    def forget(self) -> None:
        """Free what was prepared."""
        self.ask(forget)

    def set_num_threads(self, count: int) -> None:
        self.ask(set_num_threads, count)

    def close(self) -> None:
        self._pool.shutdown()


class Task:
    """Stands for a `timing.Task` that a worker has prepared."""

    def __init__(self, worker: Worker, number: int):
        self._worker, self._number = worker, number

    def once(self) -> float:
        return float(self._worker.ask(call, self._number, "once"))

    def turn(self, waking: int, repeats: int) -> float:
        return float(self._worker.ask(call, self._number, "turn", waking, repeats))

    def result(self) -> list[np.ndarray]:
        return list(self._worker.ask(call, self._number, "result"))


_peer: Any = None
_tasks: dict[int, timing.Task] = {}  # by a number that stands for the task on the near side
_numbers = itertools.count()


def start(module: str, setting: dict[str, bool], threads: int) -> None:
    global _peer
    _peer = load(module, setting)
    _peer.set_num_threads(threads)


def name_and_setting() -> tuple[str, bool]:
    return _peer.name, _peer.fused


def prepare(work: str, args: tuple[Any, ...]) -> int | None:
    offered = getattr(_peer, work)(*args) if hasattr(_peer, work) else None
    if offered is None:
        return None
    number = next(_numbers)
    _tasks[number] = timing.Task(offered)
    return number


def call(number: int, method: str, *args: Any) -> Any:
    return getattr(_tasks[number], method)(*args)


def forget() -> None:
    _tasks.clear()


def set_num_threads(count: int) -> None:
    _peer.set_num_threads(count)
