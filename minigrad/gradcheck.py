"""Gradient checks: every element of every derivative against central differences, in float64."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import autograd, modes
from minigrad.tensor import Tensor, as_tensor

_SHOWN = 5  # wrong elements in a message


class GradcheckError(AssertionError):
    """A gradient differs from the numerical one; the message names the worst elements."""


class Wrong(NamedTuple):
    """One element of a gradient that differs: by which input, where, and what it should be."""

    input: str
    place: tuple[int, ...]
    analytic: float
    numerical: float

    def __str__(self) -> str:
        element = f"{self.input}[{', '.join(map(str, self.place))}]" if self.place else self.input
        return f"{element}: gradient {self.analytic:.9g}, by differences {self.numerical:.9g}"


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    seed: int = 0,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of <func(*inputs), v> with central differences, element by element, for a random v.

    d/dx_i is taken as (f(x + eps e_i) - f(x - eps e_i)) / (2 eps); an element passes where the difference is at most
    atol + rtol |numerical|. Checked are the inputs that require grad: float64 tensors, because in float32 the rounding
    of func drowns the difference. Every output is weighted by v, so a wrong element of the Jacobian cannot hide behind
    others, as it can behind a plain sum.

    Returns True, or raises GradcheckError (returns False with `raise_exception=False`).
    Raises: TypeError for inputs that are not float64, ValueError where none requires grad.
    """
    xs = tuple(as_tensor(x) for x in (inputs if isinstance(inputs, (tuple, list)) else (inputs,)))
    checked = [i for i, x in enumerate(xs) if x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: need at least one input that requires grad")
    for i in checked:
        if xs[i].dtype != np.float64:
            raise TypeError(f"gradcheck: need float64 inputs, got {xs[i].dtype} as input {i}; use .double()")

    leaves = [_leaf(x, i in checked) for i, x in enumerate(xs)]
    with modes.enable_grad():
        outputs = _float_outputs(func(*leaves))
        vs = _cotangents(outputs, seed)
        reached = [(y, v) for y, v in zip(outputs, vs, strict=True) if y.requires_grad]
        gradients: Sequence[Tensor | None] = [None] * len(checked)
        if reached:
            ys, dys = zip(*reached, strict=True)
            gradients = autograd.grad(ys, [leaves[i] for i in checked], dys, allow_unused=True)

    wrong: list[Wrong] = []
    total = 0
    arrays = [np.array(x.detach().numpy()) for x in xs]
    for i, dx in zip(checked, gradients, strict=True):
        analytic = np.zeros(xs[i].shape) if dx is None else dx.numpy()
        numerical = _differences(func, xs, arrays, i, vs, eps)
        total += analytic.size
        bad = ~(np.abs(analytic - numerical) <= atol + rtol * np.abs(numerical))  # a NaN is wrong too
        name = f"input {i}" if len(xs) > 1 else "input"
        wrong += [Wrong(name, tuple(map(int, k)), analytic[tuple(k)], numerical[tuple(k)]) for k in np.argwhere(bad)]
    if not wrong:
        return True
    if not raise_exception:
        return False
    wrong.sort(key=lambda w: -abs(w.analytic - w.numerical) if np.isfinite(w.analytic) else -np.inf)
    lines = [f"  {w}" for w in wrong[:_SHOWN]]
    more = f"\n  and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    raise GradcheckError(f"{len(wrong)} of {total} elements are wrong, worst first:\n" + "\n".join(lines) + more)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    seed: int = 0,
    raise_exception: bool = True,
) -> bool:
    """Check second derivatives: `gradcheck` of the gradient of <func(*inputs), v> by the inputs and by v.

    Arguments and errors are those of `gradcheck`.
    """
    xs = tuple(as_tensor(x) for x in (inputs if isinstance(inputs, (tuple, list)) else (inputs,)))
    with modes.enable_grad():  # func may itself differentiate
        shapes = [(y.shape, y.dtype) for y in _float_outputs(func(*xs))]
    rng = np.random.default_rng(seed + 1)
    vs = [Tensor(rng.uniform(0.5, 1.5, shape).astype(dtype), requires_grad=True) for shape, dtype in shapes]

    def gradient(*args: Tensor) -> tuple[Tensor, ...]:
        ins, cotangents = args[: len(xs)], args[len(xs) :]
        wanted = [x for x in ins if x.requires_grad]
        reached = [(y, v) for y, v in zip(_float_outputs(func(*ins)), cotangents, strict=True) if y.requires_grad]
        if not reached or not wanted:
            return tuple(x * 0.0 for x in wanted)
        ys, dys = zip(*reached, strict=True)
        found = autograd.grad(ys, wanted, dys, create_graph=True, allow_unused=True)
        return tuple(x * 0.0 if dx is None else dx for x, dx in zip(wanted, found, strict=True))

    return gradcheck(gradient, (*xs, *vs), eps=eps, atol=atol, rtol=rtol, seed=seed, raise_exception=raise_exception)


def _leaf(x: Tensor, requires_grad: bool) -> Tensor:
    """A copy to differentiate by, so that nothing of the caller's changes."""
    return Tensor(x.detach(), requires_grad=requires_grad)


def _float_outputs(result: Any) -> list[Tensor]:
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    for y in outputs:
        if not isinstance(y, Tensor):
            raise TypeError(f"gradcheck: need a function that returns tensors, got {type(y).__name__}")
    return [y for y in outputs if y.dtype.kind == "f"]


def _cotangents(outputs: Sequence[Tensor], seed: int) -> list[np.ndarray]:
    """Random weights, none near zero: an output whose weight vanished would not be checked."""
    rng = np.random.default_rng(seed)
    return [np.where(rng.random(y.shape) < 0.5, -1, 1) * rng.uniform(0.5, 1.5, y.shape) for y in outputs]


def _differences(
    func: Callable[..., Any],
    xs: Sequence[Tensor],
    arrays: Sequence[np.ndarray],
    which: int,
    vs: Sequence[np.ndarray],
    eps: float,
) -> np.ndarray:
    """Central differences of <func, vs> by every element of one input."""
    moved = [a.copy() for a in arrays]
    numerical = np.empty(xs[which].shape)

    def values() -> list[np.ndarray]:
        given = [_leaf(as_tensor(a), x.requires_grad) for a, x in zip(moved, xs, strict=True)]
        return [y.detach().numpy().astype(np.float64) for y in _float_outputs(func(*given))]

    with modes.enable_grad():  # func may itself differentiate
        for index in itertools.product(*map(range, xs[which].shape)):
            here = moved[which][index]
            moved[which][index] = above = here + eps
            up = values()
            moved[which][index] = below = here - eps
            down = values()
            moved[which][index] = here
            # The step that was really taken: here + eps rounds.
            numerical[index] = sum(np.sum((u - d) * v) for u, d, v in zip(up, down, vs, strict=True)) / (above - below)
    return numerical
