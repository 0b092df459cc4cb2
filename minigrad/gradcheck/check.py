"""The checks as users call them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.gradcheck import behaviour, causes, differences, fast, full, higher, single
from minigrad.gradcheck.full import Sheet, Tolerance
from minigrad.gradcheck.problem import Problem, named
from minigrad.gradcheck.report import Cause, Element, GradcheckError, Report
from minigrad.kinds import checks_kinds
from minigrad.op import GradientShapeError


@checks_kinds
def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float | None = None,
    atol: float = 0.0,
    rtol: float = 1e-8,
    order: int = 1,
    check_forward_ad: bool = False,
    fast_mode: bool = False,
    delta: float = 0.01,
    power: float = 0.999,
    seed: int = 0,
    raise_exception: bool = True,
) -> Report:
    """Compare every element of the Jacobian of func at `inputs` with numerical derivatives.

    `func` is a function of tensors, an op, or a module, whose parameters are then checked by name. Checked are inputs
    that require grad. An element passes where |analytic - numerical| is at most atol + rtol |numerical| plus the
    error bar of the numerical value, which follows from differences at several steps and the noise of func. Steps
    follow from the scale of an input (`eps` sets the first one); affine functions are recognised, and checked exactly.
    Where func has a kink (ReLU's zero, a tie in max pooling), any value between the one-sided derivatives is right.

    With `order` n the n-th derivatives are checked: `gradcheck` of the gradient of <func(*inputs), v>, by the inputs
    and by v.

    `fast_mode` compares random projections, as many as it takes to see an element that is wrong by a part of `delta`
    with probability `power`, down to a floor that the report states: log(1 - power) / log(3/4) of them, 25 by default,
    whatever the size of the Jacobian. An element that is wrong is then found by bisection.

    `check_forward_ad` also compares `jvp` with the Jacobian, along random directions.

    Inputs in float32 are checked in float64 first; then their gradients, and the function's values, are compared with
    those in float64, and where the function is linear, the rule with its transpose, within bounds on rounding.

    Returns a `Report`: true where everything passed.
    Raises: GradcheckError, whose `report` is the same, where an element is wrong (unless `raise_exception=False`);
    ValueError where no input requires grad; TypeError for float32 inputs in `fast_mode`, or of a function that is not
    linear and cannot be computed in float64.
    """
    caller = "gradcheck" if order == 1 else f"gradcheck of order {order}"
    if order < 1:
        raise ValueError(f"gradcheck: need order of at least 1, got {order}")
    eps = None if eps is None else float(eps)  # a truth value is a number, but has no negative
    if seed < 0:
        raise ValueError(f"{caller}: need a seed of at least 0, got {seed}")
    for _ in range(order - 1):
        func, inputs = higher.gradient(Problem(func, inputs, caller), seed)
    problem = Problem(func, inputs, caller)
    report = Report(caller, problem.size[0] * problem.size[1])
    report.shapes = {block.name: block.shape for block in problem.inputs}
    if any(block.dtype == np.float32 for block in problem.inputs):
        if fast_mode:
            raise TypeError(f"{caller}: need float64 inputs for fast_mode, use .double()")
        _single(problem, report, Tolerance(atol, rtol, eps))
    elif fast_mode:
        _projected(problem, report, delta, power, seed)
    else:
        _whole(problem, report, Tolerance(atol, rtol, eps))
    if check_forward_ad and report.verdict != "fail":
        report.causes += behaviour.forward_mode_faults(problem)
    if raise_exception and report.verdict == "fail":
        raise GradcheckError(report)
    return report


@checks_kinds
def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float | None = None,
    atol: float = 0.0,
    rtol: float = 1e-8,
    seed: int = 0,
    raise_exception: bool = True,
) -> Report:
    """Check second derivatives: `gradcheck` with order 2, whose arguments, result and errors it shares."""
    return gradcheck(func, inputs, eps=eps, atol=atol, rtol=rtol, order=2, seed=seed, raise_exception=raise_exception)


def _whole(problem: Problem, report: Report, tolerance: Tolerance) -> None:
    """Fill a report with what the whole Jacobian shows."""
    base = differences.at(problem)
    recording, leaves = problem.recorded()
    report.causes += behaviour.forward_faults(problem, base, leaves)
    if report.causes:
        return  # the Jacobian means nothing
    try:
        rows = full.jacobian(problem, recording)
    except GradientShapeError as error:
        report.causes.append(_misshapen(error))
        return
    report.causes += behaviour.backward_faults(problem, base, recording, leaves, rows)
    _judge(problem, report, rows, full.check(problem, base, recording, rows, tolerance))


def _judge(problem: Problem, report: Report, rows: np.ndarray, sheet: Sheet) -> None:
    """Add what a comparison found."""
    wrong = _elements(problem, sheet, full.FAILED)
    report.wrong += wrong
    report.undecided += _elements(problem, sheet, full.OPEN)
    columns = np.flatnonzero((sheet.state == full.KINKED).any(axis=1))
    report.kinks += [named(problem.inputs, column) for column in columns]
    if wrong:
        report.causes += causes.explain(problem, rows, sheet.numerical.T, (sheet.state == full.FAILED).T)


def _single(problem: Problem, report: Report, tolerance: Tolerance) -> None:
    """Fill a report on float32 inputs: what is wrong in float64 too, else what is wrong in float32 alone."""
    twin, reason = None, None
    try:
        twin = single.twin_of(problem)
    except single.SingleOnly as error:
        reason = error
    linear = single.linear_inputs(problem, twin)
    others = [block.name for block in problem.inputs if block.name not in linear]
    if reason and others:
        raise TypeError(
            f"{problem.caller}: the function is not linear in {', '.join(others)}, and cannot be computed in float64, "
            f"with which its gradient in float32 would be compared: {reason}"
        ) from reason
    if twin is not None:
        _whole(twin, report, tolerance)
        if report.verdict == "fail":
            return
        report.causes += single.values_apart(problem, twin)
    recording, _ = problem.recorded()
    rows = full.jacobian(problem, recording)
    if twin is not None:
        rows64 = full.jacobian(twin, twin.recorded()[0])
        _judge(problem, report, rows, single.against_double(problem, twin, rows, rows64))
    for block in problem.inputs:
        if block.name in linear:
            cause = single.adjoint(problem, recording, block, rows)
            if cause is not None:
                report.causes.append(cause)
                if not report.wrong:
                    _judge(problem, report, rows, single.against_columns(problem, block, rows))


def _projected(problem: Problem, report: Report, delta: float, power: float, seed: int) -> None:
    """Fill a report with what random projections show."""
    if not 0 < delta < 1 or not 0 < power < 1:
        raise ValueError(f"{problem.caller}: need delta and power between 0 and 1, got {delta} and {power}")
    recording, leaves = problem.recorded()
    base = differences.at(problem)
    report.causes += behaviour.forward_faults(problem, base, leaves)
    if report.causes:
        return
    try:
        report.causes += behaviour.backward_faults(problem, base, recording, leaves)
    except GradientShapeError as error:
        report.causes.append(_misshapen(error))
    if report.causes:
        return
    report.wrong, report.undecided, floors = fast.check(problem, base, recording, delta, power, seed)
    if floors:
        report.notes.append(
            f"{fast.projections(power)} projections: an element wrong by {delta:.3g} of itself is seen "
            f"with probability {power:.6g} where it is at least"
        )
    for floor in floors:
        below = f"; {floor.below:,} inputs have smaller gradients, unchecked" if floor.below else ""
        report.notes.append(f"  {floor.size:.0e} by {floor.input}{below}")


def _elements(problem: Problem, sheet: Sheet, state: int) -> list[Element]:
    """The elements in a state, those with the largest errors first."""
    found = []
    for column, row in np.argwhere(sheet.state == state):
        names = *named(problem.outputs, row), *named(problem.inputs, column)
        found.append(Element(*names, *(float(a[column, row]) for a in (sheet.analytic, sheet.numerical, sheet.bar))))
    found.sort(key=lambda e: -abs(e.analytic - e.numerical) if np.isfinite(e.analytic) else -np.inf)
    return found


def _misshapen(error: GradientShapeError) -> Cause:
    """A gradient in a wrong shape, which may be the shape before a sum."""
    try:
        is_broadcast = np.broadcast_shapes(error.wanted, error.got) == error.got
    except ValueError:
        is_broadcast = False
    hint = ": a missing sum over the broadcast axes?" if is_broadcast else ""
    return Cause("reduction" if is_broadcast else "shape", f"{error}{hint}")
