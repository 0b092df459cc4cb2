"""The whole Jacobian, element by element: by backward passes, row by row, and by differences, column by column.

One difference per column tells nearly everything: where it agrees with the gradient, both are right. What does not
agree is looked at again, at three steps at a time on both sides and at several scales, until it is decided.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minigrad.gradcheck import differences, kinks
from minigrad.gradcheck.differences import Base, Closely, Once
from minigrad.gradcheck.problem import Problem, Recording

OPEN, PASSED, FAILED, KINKED = range(4)

_FIRST = 17  # the first step is 2^-17 of an input's scale: truncation and rounding are alike there
# Of the steps of closer looks. Two alike speak a verdict, so the second step is short: long ones may pass over a bend.
_LEVELS = (9, 25, 17, 13, 21, 5)
_AFFINE_LEVELS = (0, 25, 9, 17, 13, 21, 5)
_KINK_LEVEL = 17  # a kink that a longer step shows may be beside the point, not at it
_EXACT = 2.0**-40  # of the largest element: below it the rounding of any gradient's own sums shows
_CLOSE = 0.003  # a bar below this part of an element decides whether it is 1 % wrong
_SMALL = 1e-6  # of the largest element: what need not be resolved
_AT_ONCE = 2_000_000  # elements in work


@dataclass(frozen=True)
class Tolerance:
    """Extra room that the caller gives, and the caller's step if there is one."""

    atol: float = 0.0
    rtol: float = 1e-8
    eps: float | None = None


@dataclass
class Sheet:
    """Columns of the Jacobian (column, output): by the rule, by differences, its error bar, and what was decided."""

    analytic: np.ndarray
    numerical: np.ndarray
    bar: np.ndarray
    state: np.ndarray

    @classmethod
    def blank(cls, analytic: np.ndarray) -> "Sheet":
        """A sheet on which nothing is decided."""
        shape = analytic.shape
        return cls(analytic, np.full(shape, np.nan), np.full(shape, np.inf), np.full(shape, OPEN, np.int8))

    def part(self, columns: np.ndarray) -> "Sheet":
        """Adjacent columns, in the same memory."""
        place = slice(columns[0], columns[-1] + 1)
        return Sheet(self.analytic[place], self.numerical[place], self.bar[place], self.state[place])


def jacobian(problem: Problem, recording: Recording) -> np.ndarray:
    """The Jacobian (output, input) by one backward pass per output element."""
    rows = np.zeros(problem.size)
    for number, block in enumerate(problem.outputs):
        size = block.place.stop - block.place.start
        for i in range(size):
            unit = np.zeros(size)
            unit[i] = 1
            rows[block.place.start + i] = recording.pulled(unit, only=number)
    return rows


def check(problem: Problem, base: Base, recording: Recording, analytic: np.ndarray, tolerance: Tolerance) -> Sheet:
    """Compare a Jacobian (output, input) with differences."""
    whole = Sheet.blank(np.ascontiguousarray(analytic.T))
    scale = np.concatenate([differences.scales(base.x[block.place]) for block in problem.inputs])
    sizes = _sizes(problem, base, analytic)
    at_once = max(1, _AT_ONCE // max(1, analytic.shape[0]))
    for block in problem.inputs:
        affine, unit = differences.is_affine(base, block), sizes / differences.length(base.x[block.place])
        for start in range(block.place.start, block.place.stop, at_once):
            columns = np.arange(start, min(start + at_once, block.place.stop))
            Examination(base, columns, scale[columns], unit, whole.part(columns), tolerance).run(affine)
    _allow_for_rounding(recording, whole, sizes, differences.lengths(problem))
    _allow_for_kinks(base, scale, whole, at_once)
    return whole


def _allow_for_rounding(recording: Recording, sheet: Sheet, sizes: np.ndarray, lengths: np.ndarray) -> None:
    """Take back what was held against elements that are nothing but a rule's rounding."""
    for output in np.flatnonzero((sheet.state == FAILED).any(axis=0)):
        column = Sheet(*(a[:, output] for a in (sheet.analytic, sheet.numerical, sheet.bar, sheet.state)))
        with np.errstate(invalid="ignore"):
            off = np.where(column.state == FAILED, np.abs(column.analytic - column.numerical) - column.bar, np.inf)
        dy = np.zeros(sizes.size)
        dy[output] = 1
        column.state[recording.is_rounding(dy, column.analytic, off, sizes[output] / lengths)] = PASSED


def _allow_for_kinks(base: Base, scale: np.ndarray, sheet: Sheet, at_once: int) -> None:
    """Take back what was held against elements at a point where several kinks meet."""
    suspects = sheet.state == FAILED
    if suspects.any():
        suspects &= kinks.at_point(base, scale)
    columns = np.flatnonzero(suspects.any(axis=1))
    for start in range(0, columns.size, at_once):
        some = columns[start : start + at_once]
        around = kinks.around(base, scale, some)
        is_within = (sheet.analytic[some] >= around.low) & (sheet.analytic[some] <= around.high)
        sheet.state[some] = np.where(suspects[some] & is_within, KINKED, sheet.state[some])


def _sizes(problem: Problem, base: Base, analytic: np.ndarray) -> np.ndarray:
    """For each output element how large its tensor is, or changes when an input changes by its own length."""
    sizes = np.zeros(base.y.size)
    for output in problem.outputs:
        parts = [base.y[output.place]]
        parts += [analytic[output.place, b.place] * differences.length(base.x[b.place]) for b in problem.inputs]
        sizes[output.place] = differences.size(base.elsewhere[output.place], *parts)
    return sizes


class Finding(NamedTuple):
    """What a closer look says: numerical values and their bars, and what they mean for the analytic ones."""

    value: np.ndarray  # at a kink the nearest between the one-sided derivatives
    bar: np.ndarray
    speaks_for: np.ndarray
    speaks_against: np.ndarray
    at_kink: np.ndarray


class Examination:
    """The comparison of columns, with their inputs' scales, and `unit`: the size of each output's derivatives."""

    def __init__(
        self,
        base: Base,
        columns: np.ndarray,
        scale: np.ndarray,
        unit: np.ndarray,
        sheet: Sheet,
        tolerance: Tolerance,
    ):
        self.base, self.columns, self.scale, self.sheet, self.tolerance = base, columns, scale, sheet, tolerance
        self.unit = unit
        self.suspect = np.full(sheet.state.shape, np.nan)  # a numerical value that speaks against the analytic one
        self.suspect_bar = np.zeros(sheet.state.shape)
        self.sides = np.full((3, *sheet.state.shape), np.nan)  # of the last kink: left, right and their bar
        self.was_jump = np.zeros(sheet.state.shape, bool)
        self.rise = np.full(sheet.state.shape, np.inf)

    def run(self, affine: bool) -> None:
        """Decide every element that can be decided."""
        h = self.scale if affine else self.scale * 2.0**-_FIRST
        if self.tolerance.eps is not None and not affine:
            h = np.full(self.scale.shape, self.tolerance.eps)
        once = (differences.forward if affine else differences.central)(self.base, self.columns, h)
        self._first(once)
        for level in _AFFINE_LEVELS if affine else _LEVELS:
            left = np.flatnonzero((self.sheet.state == OPEN).any(axis=1))
            if not left.size:
                return
            self._closer(left, level, self.scale[left] * 2.0**-level)

    def _room(self, value: np.ndarray) -> np.ndarray:
        """The difference that is allowed on top of the error bar."""
        return self.tolerance.atol + self.tolerance.rtol * np.abs(value) + _EXACT * self.unit

    def _resolved(self, bar: np.ndarray, analytic: np.ndarray, numerical: np.ndarray) -> Any:
        """Whether a bar is small enough to tell."""
        enough = np.fmax(_CLOSE * np.fmax(np.abs(analytic), np.abs(numerical)), _SMALL * self.unit)
        return (bar <= enough) | (analytic == numerical)

    def _first(self, once: Once) -> None:
        sheet = self.sheet
        sheet.numerical[:], sheet.bar[:] = once.slope, once.noise
        with np.errstate(all="ignore"):
            agrees = np.abs(sheet.analytic - once.slope) <= once.noise + self._room(once.slope)
            straight = once.bend <= 2 * once.noise + 1e-3 * np.abs(once.slope) + 1e-4 * self.unit
        sheet.state[agrees & straight & self._resolved(once.noise, sheet.analytic, once.slope)] = PASSED
        sheet.bar[sheet.state == OPEN] = np.inf

    def _closer(self, rows: np.ndarray, level: int, steps: np.ndarray) -> None:
        """Look again at some columns, and decide what can be decided."""
        with np.errstate(all="ignore"):
            finding = self._find(rows, steps, differences.by_columns(self.base, self.columns[rows], steps))
            alike = np.abs(finding.value - self.suspect[rows]) <= finding.bar + self.suspect_bar[rows]
        sheet, state = self.sheet, self.sheet.state[rows]
        is_open = state == OPEN
        # A coarser bar does not clear what a finer one has shown; only another value does.
        state[is_open & finding.speaks_for & ~alike] = PASSED
        if level >= _KINK_LEVEL:
            state[is_open & finding.at_kink] = KINKED
        is_confirmed = finding.speaks_against & (alike | ~np.isfinite(sheet.analytic[rows]))
        state[(state == OPEN) & is_confirmed] = FAILED
        sheet.state[rows] = state
        better = is_open & (finding.bar < sheet.bar[rows])
        sheet.numerical[rows] = np.where(better, finding.value, sheet.numerical[rows])
        sheet.bar[rows] = np.where(better, finding.bar, sheet.bar[rows])
        self.suspect[rows] = np.where(finding.speaks_against, finding.value, self.suspect[rows])
        self.suspect_bar[rows] = np.where(finding.speaks_against, finding.bar, self.suspect_bar[rows])

    def _find(self, rows: np.ndarray, steps: np.ndarray, look: Closely) -> Finding:
        """What a look says about each element; a kink or a jump has to show at two steps in turn."""
        analytic = self.sheet.analytic[rows]
        room = self._room(look.slope)
        smooth, kink = ~look.is_kink & np.isfinite(look.slope), self._is_kink_again(rows, look)
        low, high = np.fmin(look.left, look.right), np.fmax(look.left, look.right)
        value = np.where(kink, np.fmin(np.fmax(analytic, low), high), look.slope)
        bar = np.where(kink, look.side_bar, np.where(smooth, look.bar, np.inf))
        off = np.abs(analytic - value)
        agrees = off <= bar + room
        clearly_off = (off > 2 * bar + room) & (bar <= 0.1 * off) | ((smooth | kink) & ~np.isfinite(analytic))
        is_clear = look.rise > 16 * look.noise * steps[:, None]
        jump = is_clear & (np.abs(look.rise - self.rise[rows]) <= 0.05 * look.rise)
        is_plain = look.side_bar <= 0.1 * (high - low)  # else noise may look like a kink
        at_kink = (kink & agrees & is_plain) | (jump & self.was_jump[rows])
        self.was_jump[rows], self.rise[rows] = jump, look.rise
        speaks_for = smooth & agrees & self._resolved(bar, analytic, value)
        return Finding(value, bar, speaks_for, clearly_off, at_kink)

    def _is_kink_again(self, rows: np.ndarray, look: Closely) -> np.ndarray:
        """Whether this look and the one before show the same kink; noise shows another one each time."""
        left, right, bar = self.sides[:, rows]
        room = bar + look.side_bar + 0.1 * np.abs(look.right - look.left)  # it may be a little beside the point
        is_same = look.is_kink & (np.abs(look.left - left) <= room) & (np.abs(look.right - right) <= room)
        self.sides[:, rows] = np.where(look.is_kink, (look.left, look.right, look.side_bar), np.nan)
        return is_same
