"""What a right function and rule do not do: change inputs, differ between runs, lose digits, bend what is linear."""

from collections.abc import Iterator

import numpy as np

from minigrad.gradcheck.differences import Base, lengths, scales
from minigrad.gradcheck.problem import Problem, Recording, named
from minigrad.gradcheck.report import Cause, subscript
from minigrad.tensor import Tensor

_SAME = 1e-12  # of the largest value: how far two runs may differ, since sums of several threads may


def forward_faults(problem: Problem, base: Base, leaves: list[Tensor]) -> Iterator[Cause]:
    """What the function itself does wrong; `leaves` are the arguments of a call."""
    for name in problem.changed(leaves):
        yield Cause("inplace", f"the function changes its input {name} in place")
    again = problem.values(problem.x)
    apart = _apart(base.y, again)
    if apart.size:
        place = subscript(*named(problem.outputs, apart[0]))
        yield Cause("nondeterministic", f"the function gives different values in two runs, at {place} first")
    x = problem.x.copy()
    rng = np.random.default_rng(3)
    for block in problem.inputs:
        x[block.place] += scales(x[block.place]) * rng.uniform(0.0, 2.0**-8, x[block.place].size)
    nearby = problem.values(x)
    for block in problem.outputs:
        before, after = base.y[block.place], nearby[block.place]
        values = np.array([after, *base.far[:, block.place]])  # near the point it may cancel, and have few digits
        if block.dtype == np.float64 and _is_single(values[values != before]):
            yield Cause("dtype", f"{block.name} is computed in float32, although its inputs are float64")


def backward_faults(
    problem: Problem, base: Base, recording: Recording, leaves: list[Tensor], rows: np.ndarray | None = None
) -> Iterator[Cause]:
    """What the rule does wrong for a dense dy: rows of the Jacobian, with one element of dy each, may hide it."""
    rng = np.random.default_rng(5)
    dy, other = rng.choice([-1, 1], (2, problem.size[0])) * rng.uniform(0.5, 1.5, (2, problem.size[0]))
    with np.errstate(all="ignore"):
        dx, again = recording.pulled(dy), recording.pulled(dy)
        for name in problem.changed(leaves):
            yield Cause("inplace", f"the rule changes the input {name} in place")
        apart = _apart(dx, again)
        if apart.size:
            where = subscript(*named(problem.inputs, apart[0]))
            yield Cause("nondeterministic", f"the rule gives different gradients in two runs, by {where} first")
            return
        coarse = [b.name for b in problem.inputs if b.dtype == np.float64 and _is_single(dx[b.place])]
        for name in coarse:
            yield Cause("dtype", f"the gradient by {name} is computed in float32")
        if coarse:
            return
        if rows is None:
            parts = np.array([recording.pulled(dy - other), recording.pulled(other)])
        else:
            parts = np.array([np.minimum(dy, 0) @ rows, np.maximum(dy, 0) @ rows])
        expected, slack = parts.sum(axis=0), 1e-9 * np.abs(parts).sum(axis=0)
        unit = np.abs(dy) @ np.fmax(np.abs(base.y), base.elsewhere) / lengths(problem)
        off = np.abs(dx - expected)
        is_bent = np.isfinite(expected) & ~(off <= slack + 1e-12 * unit)  # a gradient may be zero but for rounding
        is_bent &= ~recording.is_rounding(dy, dx, np.where(is_bent, off, np.inf), unit)
        bent = np.flatnonzero(is_bent)
    if bent.size:
        where = subscript(*named(problem.inputs, bent[0]))
        words = f"by {where} it gives {dx[bent[0]]:.6g}, the sum over parts of dy is {expected[bent[0]]:.6g}"
        yield Cause("nonlinear", f"the rule is not linear in dy: {words}")


def forward_mode_faults(problem: Problem) -> Iterator[Cause]:
    """Where forward mode, J v along random directions, is not the transpose of reverse mode: u' (J v) = (u' J) v."""
    rng = np.random.default_rng(19)
    recording, _ = problem.recorded()
    tolerance = 256 * max(float(np.finfo(block.dtype).eps) for block in problem.inputs)
    for _ in range(3):
        u, v = (rng.choice([-1, 1], size) * rng.uniform(0.5, 1.5, size) for size in problem.size)
        pushed, pulled = problem.pushed(v), recording.pulled(u)
        left, right = float(u @ pushed), float(pulled @ v)
        if not abs(left - right) <= tolerance * (np.abs(u) @ np.abs(pushed) + np.abs(pulled) @ np.abs(v)):
            yield Cause("forward", f"jvp is not the transpose of vjp: u' (J v) = {left:.9g}, (u' J) v = {right:.9g}")
            return


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The places at which two runs differ."""
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        size = np.max(np.abs(a), initial=0.0, where=np.isfinite(a))
        return np.flatnonzero(~(same | (np.abs(a - b) <= _SAME * size)))


def _is_single(values: np.ndarray) -> bool:
    """Whether values have a float32's digits only, and not just few digits of their own: halves, integers."""
    values = values[np.isfinite(values) & (values != 0)]
    with np.errstate(all="ignore"):
        single = values.astype(np.float32)
        if values.size < 2 or not np.array_equal(single.astype(np.float64), values) or np.all(values % 1 == 0):
            return False
        mantissas, _ = np.frexp(values)
        return bool(np.any(mantissas * 2**12 % 1 != 0))
