"""The whole Jacobian, element by element: by backward passes, row by row, and by differences, column by column.

One difference per column tells nearly everything: where it agrees with the gradient, both are right. What does not
agree is looked at again, at two steps at a time and at several scales, until it is decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.gradcheck import differences
from minigrad.gradcheck.differences import Base, Once
from minigrad.gradcheck.problem import Problem, Recording

OPEN, PASSED, FAILED, KINKED = range(4)

_FIRST = 17  # the first step is 2^-17 of an input's scale: truncation and rounding are alike there
_LEVELS = (9, 13, 17, 21, 25, 5)  # of the steps of a closer look
_KINK_LEVEL = 17  # a kink within 2^-17 of the point counts as at the point
_EXACT = 2.0**-40  # of the largest element: below it the rounding of any gradient's own sums shows
_CLOSE = 0.003  # a bar below this part of an element decides whether it is 1 % wrong
_SMALL = 1e-6  # of the largest element: what need not be resolved
_AT_ONCE = 2_000_000  # elements in work


@dataclass(frozen=True)
class Tolerance:
    """Extra room that the caller gives, and the caller's step if there is one."""

    atol: float = 0.0
    rtol: float = 1e-6
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


def check(problem: Problem, base: Base, analytic: np.ndarray, tolerance: Tolerance) -> Sheet:
    """Compare a Jacobian (output, input) with differences."""
    whole = Sheet.blank(np.ascontiguousarray(analytic.T))
    outputs = [block.place for block in problem.outputs]
    at_once = max(1, _AT_ONCE // max(1, analytic.shape[0]))
    for block in problem.inputs:
        affine = differences.is_affine(base, block)
        scale = differences.scales(base.x[block.place])
        for start in range(0, scale.size, at_once):
            there = np.arange(start, min(start + at_once, scale.size))
            place = slice(block.place.start + start, block.place.start + start + there.size)
            part = Sheet(*(getattr(whole, name)[place] for name in ("analytic", "numerical", "bar", "state")))
            columns = block.place.start + there
            Examination(base, columns, scale[there], outputs, part, tolerance).run(affine)
    return whole


class Examination:
    """The comparison of some columns, with the scales of their inputs; `outputs` are the places of tensors."""

    def __init__(
        self,
        base: Base,
        columns: np.ndarray,
        scale: np.ndarray,
        outputs: Sequence[slice],
        sheet: Sheet,
        tolerance: Tolerance,
    ):
        self.base, self.columns, self.scale, self.sheet, self.tolerance = base, columns, scale, sheet, tolerance
        self.unit = np.zeros(base.y.size)  # the size that derivatives of each output tensor have
        for place in outputs:
            parts = sheet.analytic[:, place], base.y[place] / np.median(scale)
            self.unit[place] = max(np.abs(p).max(initial=0.0, where=np.isfinite(p)) for p in parts)
        self.suspect = np.full(sheet.state.shape, np.nan)  # a numerical value that speaks against the analytic one
        self.was_kink = np.zeros(sheet.state.shape, bool)
        self.was_jump = np.zeros(sheet.state.shape, bool)
        self.rise = np.full(sheet.state.shape, np.inf)

    def run(self, affine: bool) -> None:
        """Decide every element that can be decided."""
        h = self.scale if affine else self.scale * 2.0**-_FIRST
        if self.tolerance.eps is not None and not affine:
            h = np.full(self.scale.shape, self.tolerance.eps)
        once = (differences.forward if affine else differences.central)(self.base, self.columns, h)
        self._first(once)
        for level in (0, 3, *_LEVELS) if affine else _LEVELS:
            left = np.flatnonzero((self.sheet.state == OPEN).any(axis=1))
            if not left.size:
                return
            self._closer(left, level, self.scale[left] * 2.0**-level)

    def _room(self, value: np.ndarray) -> np.ndarray:
        """The difference that is allowed on top of the error bar."""
        return self.tolerance.atol + self.tolerance.rtol * np.abs(value) + _EXACT * self.unit

    def _resolved(self, bar: np.ndarray, *values: np.ndarray) -> Any:
        """Whether a bar is small enough to tell."""
        return bar <= np.fmax(_CLOSE * np.max(np.abs(values), axis=0), _SMALL * self.unit)

    def _first(self, once: Once) -> None:
        sheet = self.sheet
        sheet.numerical[:], sheet.bar[:] = once.slope, once.noise
        with np.errstate(all="ignore"):
            agrees = np.abs(sheet.analytic - once.slope) <= once.noise + self._room(once.slope)
            straight = once.bend <= 2 * once.noise + 1e-3 * np.abs(once.slope) + 1e-4 * self.unit
        sheet.state[agrees & straight & self._resolved(once.noise, sheet.analytic, once.slope)] = PASSED
        sheet.bar[sheet.state == OPEN] = np.inf

    def _closer(self, rows: np.ndarray, level: int, steps: np.ndarray) -> None:
        look = differences.by_columns(self.base, self.columns[rows], steps)
        sheet, analytic = self.sheet, self.sheet.analytic[rows]
        is_open = sheet.state[rows] == OPEN
        with np.errstate(all="ignore"):
            is_clear = look.rise > 16 * look.noise * steps[:, None]
            jump = is_clear & (np.abs(look.rise - self.rise[rows]) <= 0.05 * look.rise)
            kink = look.is_kink & self.was_kink[rows]
            smooth = ~look.is_kink & np.isfinite(look.slope)
            off = np.abs(analytic - look.slope)
            room = self._room(look.slope)
            low, high = np.fmin(look.left, look.right), np.fmax(look.left, look.right)
            within = (analytic >= low - look.side_bar - room) & (analytic <= high + look.side_bar + room)
            outside = np.fmax(low - analytic, analytic - high)
            right = smooth & (off <= look.bar + room) & self._resolved(look.bar, analytic, look.slope)
            wrong = smooth & ((off > 2 * look.bar + room) & (look.bar <= 0.1 * off) | ~np.isfinite(analytic))
            wrong |= kink & ((outside > 2 * look.side_bar + room) & (look.side_bar <= 0.1 * outside))
            at_kink = (level >= _KINK_LEVEL) & ((kink & within) | (jump & self.was_jump[rows]))
            nearest = np.where(kink, np.where(analytic > high, high, low), look.slope)
            again = wrong & ((np.abs(nearest - self.suspect[rows]) <= 0.2 * off) | ~np.isfinite(analytic))
        state = sheet.state[rows]
        state[is_open & right] = PASSED
        state[is_open & at_kink] = KINKED
        state[is_open & again] = FAILED
        bar = np.where(kink, look.side_bar, look.bar)
        better = is_open & (smooth | kink) & (bar < sheet.bar[rows])
        sheet.numerical[rows] = np.where(better, nearest, sheet.numerical[rows])
        sheet.bar[rows] = np.where(better, bar, sheet.bar[rows])
        sheet.state[rows] = state
        self.suspect[rows] = np.where(wrong, nearest, self.suspect[rows])
        self.was_kink[rows], self.was_jump[rows], self.rise[rows] = look.is_kink, jump, look.rise
