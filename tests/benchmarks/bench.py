"""What a section is, and what it is given: peers, a clock, the machine's limits."""

import dataclasses
import functools
import importlib
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from . import machine
from .timing import Clock

Row = dict[str, Any]
SCALES = {"s": 1.0, "ms": 1e3, "us": 1e6}


@dataclasses.dataclass
class Bench:
    """One run of the benchmarks. Peers: minigrad first."""

    peers: list[Any]
    clock: Clock
    threads: int
    quick: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)

    def contest(self, work: str, *args: Any, among: Callable[[Any], bool] = lambda peer: True) -> dict[str, float]:
        """The median seconds of the work in each peer that offers it, by the peer's name."""
        tasks = {peer.name: peer.prepare(work, *args) for peer in self.peers if among(peer)}
        return self.medians({name: task for name, task in tasks.items() if task is not None})

    def medians(self, tasks: Mapping[str, Any], **settings: Any) -> dict[str, float]:
        """Those of the clock; the peers then free what they had prepared."""
        try:
            return self.clock.medians(tasks, **settings)
        finally:
            for peer in self.peers:
                peer.forget()

    @functools.cached_property
    def peak(self) -> dict[str, float]:
        """GFLOP/s of fused multiply-adds on all threads together, by dtype."""
        return {dtype: machine.fma_peak(dtype, self.threads) for dtype in ("float32", "float64")}

    @functools.cached_property
    def bandwidth(self) -> float:
        """GB/s read and written, in copying arrays as large as those that are pooled."""
        return machine.copy_bandwidth(machine.POOLED, self.threads)


def eager(peer: Any) -> bool:
    """Is it a peer whose calls need no compilation of a program first?"""
    return bool(peer.name != "jax")


class Section(NamedTuple):
    """A table: its docstring stands above it; `quick` ones are part of a quick run."""

    name: str
    title: str
    quick: bool
    rows: Callable[[Bench], Iterator[Row]]

    @property
    def note(self) -> str:
        return " ".join((self.rows.__doc__ or "").split())


SECTIONS: dict[str, Section] = {}
MODULES = "limits steps convolutions pointwise products denormals mnist processes distributed sweep".split()


def sections() -> dict[str, Section]:
    """All sections by name, in the order of their modules, whichever was imported first."""
    for module in MODULES:
        importlib.import_module(f".{module}", __package__)
    ordered = sorted(SECTIONS.values(), key=lambda one: MODULES.index(one.rows.__module__.rpartition(".")[2]))
    return {one.name: one for one in ordered}


def section(title: str, *, quick: bool = True) -> Callable[[Any], Any]:
    """Register a function that yields rows as a section of its name."""

    def register(rows: Callable[[Bench], Iterator[Row]]) -> Callable[[Bench], Iterator[Row]]:
        name = rows.__name__
        if name in SECTIONS:
            raise ValueError(f"two sections are named {name}")
        SECTIONS[name] = Section(name, title, quick, rows)
        return rows

    return register


def compared(times: dict[str, float], unit: str) -> Row:
    """Each peer's time in the unit, and how many times as fast as each library minigrad is."""
    return {f"{name} {unit}": seconds * SCALES[unit] for name, seconds in times.items()} | ratios(times)


def ratios(times: dict[str, float]) -> Row:
    """Times of PyTorch, of its best setting where there are several, and of JAX over minigrad's."""
    torch = [seconds for name, seconds in times.items() if name.startswith("torch")]
    others = {
        "torch": times.get("torch"),
        "best torch": min(torch) if len(torch) > 1 else None,
        "jax": times.get("jax"),
    }
    return {f"times {name}": seconds / times["minigrad"] for name, seconds in others.items() if seconds is not None}


def judged(row: Row, at_least: Row | None = None, at_most: Row | None = None) -> Row:
    """The row with the targets of its columns, and whether it meets them all; without those whose column is missing."""
    wanted = [(column, "at least", value) for column, value in (at_least or {}).items() if column in row]
    wanted += [(column, "at most", value) for column, value in (at_most or {}).items() if column in row]
    if not wanted:
        return row
    met = all(row[c] >= value if how == "at least" else row[c] <= value for c, how, value in wanted)
    return row | {"target": ", ".join(f"{c} {how} {value:.3g}" for c, how, value in wanted), "met": met}


def mean_ratio(rows: Iterable[Row], column: str) -> float:
    """The geometric mean of a column: a layer twice as fast and one half as fast make 1."""
    return statistics.geometric_mean(row[column] for row in rows)
