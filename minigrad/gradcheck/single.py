"""Checks in float32, whose rounding drowns differences: against float64, and linear maps against their own transpose.

Of a linear map y = J x that is summed from n terms, rounding moves <u, J d> by gamma |u|' |J| |d| at most, with
gamma = n eps to first order, and <J' u, d> likewise: twice that the two may differ. n is the largest number of elements
in a row or column of J, and 8 for what else the function does with each. The constant of an affine map is taken off,
and rounds too. Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from minigrad.gradcheck import differences, full
from minigrad.gradcheck.full import Sheet
from minigrad.gradcheck.problem import Block, Problem, Recording
from minigrad.gradcheck.report import Cause

EPS = float(np.finfo(np.float32).eps)
_GROWTH = 64  # rounding errors of a computation with many steps, in units of eps times its largest values
_PAIRS = 25  # of random vectors: a wrong element goes unseen with probability (3/4)^25, see fast.py


class SingleOnly(TypeError):
    """The function cannot be computed in float64."""


def twin_of(problem: Problem) -> Problem:
    """The problem in float64. Raises: SingleOnly, from the reason, where a kernel takes or gives float32 alone."""
    try:
        twin = problem.double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise SingleOnly(str(error)) from error
    if any(block.dtype != np.float64 for block in twin.outputs):
        raise SingleOnly("of float64 inputs come float32 outputs")
    return twin


def linear_inputs(problem: Problem, twin: Problem | None) -> set[str]:
    """The names of the inputs in which the function is linear or affine."""
    if twin is not None:
        base = differences.at(twin)
        return {block.name for block in twin.inputs if differences.is_affine(base, block)}
    base = differences.at(problem)
    largest = [np.full(b.place.stop - b.place.start, _size(base.y[b.place])) for b in problem.outputs]
    base = replace(base, noise=_GROWTH * EPS * np.concatenate(largest))
    return {block.name for block in problem.inputs if differences.is_affine(base, block)}


def against_double(problem: Problem, twin: Problem, rows: np.ndarray, rows64: np.ndarray) -> Sheet:
    """Compare a Jacobian (output, input) with the one in float64, within rounding relative to the largest elements."""
    sheet = Sheet.blank(np.ascontiguousarray(rows.T))
    sheet.numerical[:] = rows64.T
    y = twin.values(twin.x)
    for output in problem.outputs:
        for block in problem.inputs:
            place = block.place, output.place
            usual = _size(y[output.place]) / differences.length(twin.x[block.place])
            sheet.bar[place] = _GROWTH * EPS * max(_size(rows64[output.place, block.place]), usual)
    with np.errstate(invalid="ignore"):
        off = np.abs(sheet.analytic - sheet.numerical)
        same = (off <= sheet.bar + _GROWTH * EPS * np.abs(sheet.numerical)) | (sheet.analytic == sheet.numerical)
    sheet.state[:] = np.where(same | ~np.isfinite(sheet.numerical), full.PASSED, full.FAILED)
    return sheet


def values_apart(problem: Problem, twin: Problem) -> Iterator[Cause]:
    """Outputs that are not those in float64."""
    y, y64 = problem.values(problem.x), twin.values(twin.x)
    for block in problem.outputs:
        with np.errstate(invalid="ignore"):
            off = np.abs(y[block.place] - y64[block.place])
        if np.any(off > _GROWTH * EPS * _size(y64[block.place])):
            yield Cause("values", f"{block.name} in float32 is not that in float64: apart by {np.nanmax(off):.1e}")


def adjoint(problem: Problem, recording: Recording, block: Block, rows: np.ndarray) -> Cause | None:
    """Compare <u, J d>, by the function, with <J' u, d>, by its rule, for the J of one input."""
    rng = np.random.default_rng(17)
    size = np.abs(rows[:, block.place])
    terms = max(np.count_nonzero(size, axis=axis).max(initial=0) for axis in (0, 1))
    gamma = (terms + 8) * EPS
    offset = problem.values(problem.with_input(block, 0.0))

    def drawn(count: int) -> np.ndarray:
        return rng.choice([-1, 1], count).astype(np.float32) * rng.uniform(0.5, 1.0, count).astype(np.float32)

    for _ in range(_PAIRS):
        u, d = drawn(offset.size).astype(np.float64), drawn(size.shape[1]).astype(np.float64)
        left = float(u @ (problem.values(problem.with_input(block, d)) - offset))
        right = float(recording.pulled(u)[block.place] @ d)
        bound = 2 * gamma * float(np.abs(u) @ (size @ np.abs(d) + 2 * np.abs(offset)))
        if not abs(left - right) <= bound:
            words = f"<u, J d> = {left:.7g} and <J' u, d> = {right:.7g} differ by more than rounding ({bound:.0e})"
            return Cause("adjoint", f"the gradient by {block.name} is not the function's transpose: {words}")
    return None


def against_columns(problem: Problem, block: Block, rows: np.ndarray) -> Sheet:
    """Compare the Jacobian by an input in which the function is linear with the function's values at unit vectors."""
    sheet = Sheet.blank(np.ascontiguousarray(rows.T))
    sheet.state[:] = full.PASSED
    columns = sheet.numerical[block.place]
    offset = problem.values(problem.with_input(block, 0.0))
    for i, unit in enumerate(np.eye(len(columns))):
        columns[i] = problem.values(problem.with_input(block, unit)) - offset
    sheet.bar[block.place] = _GROWTH * EPS * max(_size(columns), _size(offset))
    apart = ~(np.abs(sheet.analytic[block.place] - columns) <= sheet.bar[block.place])
    sheet.state[block.place][apart] = full.FAILED
    return sheet


def _size(values: np.ndarray) -> float:
    return float(np.max(np.abs(values), initial=0.0, where=np.isfinite(values)))
