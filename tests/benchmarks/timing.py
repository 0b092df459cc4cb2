"""Timing several tasks that do the same work, in turns: medians, after a check that their results agree."""

import collections
import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Call = Callable[[], Any]

REST = 0.02  # seconds before a turn: the idle workers of another library's thread pool spin for a while
TURN = 0.05  # seconds that a turn lasts at least: a training loop does not begin anew all the time
SLOW = 0.05  # seconds: a call that takes longer needs no other call before it to wake the workers and fill the caches
WARM_UP = 3  # calls of each before the first turn: compilation, first allocations
PATIENCE = 1.0  # seconds: of a call that takes longer there are two before the first turn
LEAST_TURNS = 3


class Disagreement(ValueError):
    """Two calls that should do the same work have different results: their times do not compare."""


class Task:
    """A call, and how its time is taken."""

    def __init__(self, call: Call):
        self._call = call
        self._result: Any = None

    def once(self) -> float:
        """The seconds of one call, whose result is kept."""
        start = time.perf_counter()
        self._result = self._call()
        return time.perf_counter() - start

    def turn(self, waking: int, repeats: int) -> float:
        """The mean time of some calls, after a rest and the calls that wake the workers and fill the caches."""
        time.sleep(REST)
        for _ in range(waking):
            self._call()
        start = time.perf_counter()
        for _ in range(repeats):
            self._call()
        return (time.perf_counter() - start) / repeats

    def result(self) -> list[np.ndarray]:
        """What the last single call computed."""
        return arrays(self._result)


@dataclasses.dataclass(frozen=True)
class Clock:
    """How many turns each task takes, and how long one comparison may last as far as `LEAST_TURNS` allow.

    Units: seconds.
    """

    turns: int = 15
    budget: float = 10.0

    def medians(
        self,
        tasks: Mapping[str, Task],
        prepare: Callable[[str], None] | None = None,
        tolerance: float | None = 1e-3,
    ) -> dict[str, float]:
        """The median time of each task, in seconds; `prepare(name)` runs before each turn, untimed.

        Raises: Disagreement where results differ by more than `tolerance` times the largest value of the first one's.
        """
        first_time = _warm_up(tasks, prepare or (lambda name: None))
        if tolerance is not None:
            check_agreement({name: task.result() for name, task in tasks.items()}, tolerance)
        repeats = {name: min(1000, max(1, round(TURN / seconds))) for name, seconds in first_time.items()}
        waking = {name: int(seconds < SLOW) for name, seconds in first_time.items()}
        round_time = sum(REST + (waking[name] + repeats[name]) * seconds for name, seconds in first_time.items())
        times: dict[str, list[float]] = {name: [] for name in tasks}
        names = collections.deque(tasks)
        for _ in range(min(self.turns, max(LEAST_TURNS, int(self.budget / round_time)))):
            for name in names:
                if prepare:
                    prepare(name)
                times[name].append(tasks[name].turn(waking[name], repeats[name]))
            names.rotate()  # or one library would always find the caches as the same other one left them
        return {name: statistics.median(seconds) for name, seconds in times.items()}


def _warm_up(tasks: Mapping[str, Task], prepare: Callable[[str], None]) -> dict[str, float]:
    """The least time of each of the first calls: as many of each, so that results compare, for a call may train."""
    fastest = dict.fromkeys(tasks, float("inf"))
    for already in range(WARM_UP):
        for name, task in tasks.items():
            prepare(name)
            fastest[name] = max(1e-7, min(fastest[name], task.once()))
        if already and max(fastest.values(), default=0.0) > PATIENCE:  # the very first call may have compiled
            break
    return fastest


def arrays(result: Any) -> list[np.ndarray]:
    """A result, or several, of any library as arrays of float64."""
    several = result if isinstance(result, (list, tuple)) else [result]
    plain = (value.detach() if hasattr(value, "detach") else value for value in several if value is not None)
    return [np.asarray(value).astype(np.float64) for value in plain]


def check_agreement(results: Mapping[str, list[np.ndarray]], tolerance: float) -> None:
    """Raise Disagreement unless all results equal the first one's to rounding."""
    (reference, wanted), *others = results.items()
    for name, found in others:
        if [a.shape for a in found] != [a.shape for a in wanted]:
            shapes = [a.shape for a in found], [a.shape for a in wanted]
            raise Disagreement(f"{name} has results of shapes {shapes[0]}, {reference} of {shapes[1]}")
        for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
            error, largest = np.abs(a - b).max(initial=0.0), np.abs(b).max(initial=0.0)
            if not error <= tolerance * max(largest, 1e-30):
                raise Disagreement(
                    f"result {i} of {name} differs by {error:.1e} from {reference}'s, at most {largest:.1e}"
                )
