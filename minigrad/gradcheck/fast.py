"""The fast mode: random projections of the Jacobian, as many as a stated power takes, and bisection to the element.

For u and v of random signs, u' J v by one backward pass is compared with a difference along v. Let E be the error of
the Jacobian. If one of its elements has |E_ij| = t, then u' E v is at least t in size with a probability of 1/4,
whatever else is wrong: given all other signs it is a + b u_i + c v_j + E_ij u_i v_j, whose mean over the four cases,
each times u_i v_j, is E_ij; so one of the four is at least as large. n independent projections miss it with probability
(3/4)^n at most.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minigrad.gradcheck import differences, kinks
from minigrad.gradcheck.differences import EPS, Base
from minigrad.gradcheck.full import FAILED, KINKED, OPEN, PASSED, Examination, Sheet, Tolerance
from minigrad.gradcheck.problem import Problem, Recording, named
from minigrad.gradcheck.report import Element

_LEVELS = (9, 13, 17, 20, 23)  # of the steps along a direction: 2^-9 of the inputs' scale and so on


def projections(power: float) -> int:
    """How many projections catch a wrong element with probability `power`."""
    return math.ceil(math.log(1 - power) / math.log(3 / 4))


class Floor(NamedTuple):
    """What the projections can see: elements of at least `size`, by one input; `below` have a smaller gradient."""

    input: str
    size: float
    below: int


class Outcome(NamedTuple):
    """What the projections found."""

    wrong: list[Element]
    undecided: list[Element]
    floors: list[Floor]


class Projector:
    """Projections of a problem: differences along v, weighted by u, with the bar they deserve."""

    def __init__(self, problem: Problem, base: Base, recording: Recording):
        self.problem, self.base, self.recording = problem, base, recording
        self.lengths, self.weights = differences.lengths(problem), np.ones(base.y.size)
        for block in problem.outputs:
            size = differences.size(base.elsewhere[block.place], base.y[block.place])
            self.weights[block.place] = 1 / (size or 1.0)
        self._level: int | None = None
        self._usual = math.inf

    def look(self, v: np.ndarray, u: np.ndarray) -> differences.Closely:
        """The derivatives of all outputs along v, with steps whose bar, for the weights u, is small.

        The step that was best before is tried first; another one only where a kink comes between.
        """
        best: tuple[float, int, differences.Closely] | None = None
        for level in sorted(_LEVELS, key=lambda level: level != self._level):
            look = differences.along(self.base, v, 2.0**-level)
            bar = self._bar(look, u)
            if best is None or bar < best[0]:
                best = bar, level, look
            if self._level is not None and bar <= 10 * self._usual:
                break
        assert best is not None
        if self._level is None:
            self._usual, self._level = best[:2]
        return best[2]

    def _bar(self, look: differences.Closely, u: np.ndarray) -> float:
        kink = look.is_kink[0]
        parts = u * np.where(kink, 0.0, look.slack[0]), 4 * u * look.noise[0]
        with np.errstate(invalid="ignore", over="ignore"):
            bar = sum(float(np.linalg.norm(part)) for part in parts) + float(np.abs(u[kink]) @ look.side_bar[0][kink])
        return bar if math.isfinite(bar) else math.inf

    def error(self, look: differences.Closely, u: np.ndarray, row: np.ndarray, v: np.ndarray) -> tuple[float, float]:
        """How far row' v, of the rule's row u' A, is from the differences, and a bar for the difference.

        At a kink any value between the sides is right.
        """
        kink = look.is_kink[0]
        ends = np.sort(u[kink] * (look.left[0][kink], look.right[0][kink]), axis=0).sum(axis=1)
        low, high = float(u[~kink] @ look.slope[0][~kink]) + ends
        slope = float(row @ v)
        if not math.isfinite(slope):
            return math.inf, 0.0
        return max(low - slope, slope - high, 0.0), self._bar(look, u) + 64 * EPS * float(np.linalg.norm(row * v))


def check(problem: Problem, base: Base, recording: Recording, delta: float, power: float, seed: int) -> Outcome:
    """Project until an element that is wrong by `delta` of itself is seen with probability `power`, or one is found."""
    projector = Projector(problem, base, recording)
    rng = np.random.default_rng(seed)
    count = projections(power)
    squares = np.zeros(base.x.size)
    undecided = []
    smallest = 0.0  # error that every projection sees
    for _ in range(count):
        u = rng.choice([-1.0, 1.0], base.y.size) * projector.weights
        v = rng.choice([-1.0, 1.0], base.x.size) * projector.lengths
        row, look = recording.pulled(u), projector.look(v, u)
        squares += row**2
        off, bar = projector.error(look, u, row, v)
        smallest = max(smallest, 3 * bar)  # the differences are off by one bar, two make it suspicious
        if not off <= 2 * bar:
            element, state = _bisected(projector, u, v, look)
            if state == FAILED:
                return Outcome([element], [], [])
            if state == OPEN:
                undecided.append(element)  # else kinks close to the point, seen by a long step only
    floors = []
    for block in problem.inputs:
        size = smallest / delta / projector.lengths[block.place].max(initial=EPS)
        norms = np.sqrt(squares[block.place] / count)
        below = int(np.count_nonzero((norms > 0) & (norms < size)))
        floors.append(Floor(block.name, size / projector.weights.min(initial=np.inf), below))
    return Outcome([], undecided, floors)


def _bisected(projector: Projector, u: np.ndarray, v: np.ndarray, look: differences.Closely) -> tuple[Element, int]:
    """The element behind a suspicious projection, and what a close look at it decides.

    Halve u, then v, and always go on with the half that is further off.
    """
    base, recording = projector.base, projector.recording

    def by_outputs(part: np.ndarray) -> float:
        some = np.where(part, u, 0.0)
        return _badness(*projector.error(look, some, recording.pulled(some), v))

    output = _descend(base.y.size, by_outputs)
    unit = np.zeros(base.y.size)
    unit[output] = 1.0
    row = recording.pulled(unit)

    def by_inputs(part: np.ndarray) -> float:
        some = np.where(part, v, 0.0)
        return _badness(*projector.error(projector.look(some, unit), unit, np.where(part, row, 0.0), some))

    column = _descend(base.x.size, by_inputs)
    alone = base.of(output)
    sheet = Sheet.blank(np.array([[row[column]]]))
    scale = differences.scales(base.x[[column]])
    size = differences.size(alone.elsewhere, alone.y, row * projector.lengths)
    Examination(alone, np.array([column]), scale, size / scale, sheet, Tolerance()).run(affine=False)
    state, off = int(sheet.state[0, 0]), np.full(row.shape, np.inf)
    off[column] = abs(sheet.analytic[0, 0] - sheet.numerical[0, 0]) - sheet.bar[0, 0]
    if state == FAILED and recording.is_rounding(unit, row, off, size / projector.lengths)[column]:
        state = PASSED
    if state == FAILED and kinks.at_point(alone, projector.lengths)[0]:
        low, high = kinks.around(alone, projector.lengths, np.array([column]))
        state = KINKED if low[0, 0] <= row[column] <= high[0, 0] else FAILED
    names = *named(projector.problem.outputs, output), *named(projector.problem.inputs, column)
    return Element(*names, float(row[column]), float(sheet.numerical[0, 0]), float(sheet.bar[0, 0])), state


def _badness(off: float, bar: float) -> float:
    if off == 0:
        return 0.0
    return off / bar if math.isfinite(off) and bar > 0 else math.inf


def _descend(size: int, badness: Callable[[np.ndarray], float]) -> int:
    """The one of so many numbers that is most to blame, by halves."""
    numbers = np.arange(size)
    while numbers.size > 1:
        numbers = max(np.array_split(numbers, 2), key=lambda half: badness(np.isin(np.arange(size), half)))
    return int(numbers[0])
