"""Derivatives of functions: gradients, vector-Jacobian and Jacobian-vector products, Jacobians and Hessians.

Names are those of `torch.autograd.grad` and `torch.autograd.functional`; in `grad`, `create_graph` comes before
`retain_graph`, which is given by keyword.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigrad import modes, tape
from minigrad.kinds import check_kind
from minigrad.ops import stack
from minigrad.tensor import Tensor, as_tensor, cotangent

Tensors = Tensor | Sequence[Tensor]


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list, Iterator)) else (value,)


def _like(given: Any, values: Sequence[Any]) -> Any:
    """One value where one thing was given, a tuple where several were."""
    return tuple(values) if isinstance(given, (tuple, list)) else values[0]


def _one_each(name: str, what: str, given: Any, values: Sequence[Any], kind: str) -> tuple[Any, ...]:
    """What was given for each of the values, or None for each."""
    found = (None,) * len(values) if given is None else _several(given)
    if len(found) != len(values):
        raise ValueError(f"{name}: need a {what} for each of {len(values)} {kind}, got {len(found)}")
    return found


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Any = None,
    create_graph: bool = False,
    *,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of <output, grad_output> by each input, leaving every `.grad` alone.

    `grad_outputs` may be left out for outputs with one value (then it is 1). Only what lies between inputs and outputs
    is computed. With `create_graph` the result can be differentiated again. An input that no output depends on gives
    None with `allow_unused`.
    Raises: RuntimeError for such an input otherwise, for what does not require grad, and where what was saved is freed
    or has changed; ValueError for a grad_output of another shape; TypeError for what is no tensor.
    """
    for setting, value in (("create_graph", create_graph), ("allow_unused", allow_unused)):
        check_kind("grad", setting, bool, value)
    check_kind("grad", "retain_graph", bool | None, retain_graph)
    ys, xs = _several(outputs), _several(inputs)
    given = _one_each("grad", "grad_output", grad_outputs, ys, "outputs")
    for what, values in (("outputs", ys), ("inputs", xs)):
        for value in values:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: need tensors as {what}, got {type(value).__name__}")
            if not value.requires_grad:
                raise RuntimeError(f"grad: one of the {what} does not require grad")
    roots = [cotangent("grad", y, dy, create_graph) for y, dy in zip(ys, given, strict=True)]
    retain = create_graph if retain_graph is None else retain_graph
    found = tape.walk(ys, roots, xs, retain_graph=retain, create_graph=create_graph)
    if not allow_unused and any(dx is None for dx in found):
        missing = [i for i, dx in enumerate(found) if dx is None]
        raise RuntimeError(
            f"grad: no output depends on the inputs numbered {missing}; allow_unused=True gives None there"
        )
    return tuple(dx if dx is None or isinstance(dx, Tensor) else Tensor.wrap(np.array(dx)) for dx in found)


def _leaves(inputs: Any, keep_history: bool) -> tuple[Tensor, ...]:
    """The inputs as tensors to differentiate by: with `keep_history` still part of their graph."""
    tensors = [as_tensor(x) for x in _several(inputs)]
    if keep_history:
        return tuple(x * 1.0 if x.requires_grad else x.detach().requires_grad_() for x in tensors)
    return tuple(x.detach().requires_grad_() for x in tensors)


def _outputs(func: Callable[..., Any], xs: Sequence[Tensor]) -> Any:
    ys = func(*xs)
    for y in _several(ys):
        if not isinstance(y, Tensor):
            raise TypeError(f"need a function that returns tensors, got {type(y).__name__}")
    return ys


def _pull(ys: Sequence[Tensor], xs: Sequence[Tensor], dys: Sequence[Any], create_graph: bool) -> list[Tensor]:
    """Gradients by all inputs, zeros where there is no dependence."""
    reached = [(y, dy) for y, dy in zip(ys, dys, strict=True) if y.requires_grad]
    if not reached:
        return [Tensor.wrap(np.zeros(x.shape, x.dtype)) for x in xs]
    found = grad(
        [y for y, _ in reached], xs, [dy for _, dy in reached], create_graph, retain_graph=True, allow_unused=True
    )
    return [Tensor.wrap(np.zeros(x.shape, x.dtype)) if dx is None else dx for x, dx in zip(xs, found, strict=True)]


def _detached(values: Any, create_graph: bool) -> Any:
    return values if create_graph else _like(values, [value.detach() for value in _several(values)])


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(*inputs), v' J): the vector-Jacobian product, one backward pass.

    `v` has the shapes of the outputs, and may be left out where the output is one value.
    """
    with modes.enable_grad():
        xs = _leaves(inputs, create_graph)
        ys = _outputs(func, xs)
        vs = _one_each("vjp", "v", v, _several(ys), "outputs")
        found = _pull(_several(ys), xs, vs, create_graph)
    return _detached(ys, create_graph), _detached(_like(inputs, found), create_graph)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """(func(*inputs), J v): the Jacobian-vector product, by two backward passes.

    `v` has the shapes of the inputs, and may be left out where the input is one value. The vector-Jacobian product u' J
    is linear in u, and the transpose of that map, applied to v, is J v.
    Source: Townsend, "A new trick for calculating Jacobian vector products", 2017.
    """
    with modes.enable_grad():
        xs = _leaves(inputs, create_graph)
        ys = _outputs(func, xs)
        us = [Tensor.wrap(np.zeros(y.shape, y.dtype)).requires_grad_() for y in _several(ys)]
        pulled = _pull(_several(ys), xs, us, create_graph=True)
        vs = _one_each("jvp", "v", v, xs, "inputs")
        found = _pull(pulled, us, [_direction(x, d) for x, d in zip(xs, vs, strict=True)], create_graph)
    return _detached(ys, create_graph), _detached(_like(ys, found), create_graph)


def _direction(x: Tensor, v: Any) -> Tensor:
    direction: Tensor = Tensor.wrap(cotangent("jvp", x, v, create_graph=False))
    return v if isinstance(v, Tensor) and v.dtype == x.dtype else direction


def jacobian(func: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """All first derivatives: shape (*output, *input), one backward pass per output value.

    One tensor for one output and one input; a tuple over inputs, or over outputs (of tuples), where there are several.
    """
    with modes.enable_grad():
        xs = _leaves(inputs, create_graph)
        ys = _outputs(func, xs)
        blocks = [_like(inputs, _rows(y, xs, create_graph)) for y in _several(ys)]
    return _like(ys, blocks)


def _rows(y: Tensor, xs: Sequence[Tensor], create_graph: bool) -> list[Tensor]:
    rows: list[list[Tensor]] = []
    for i in range(y.numel()):
        unit = np.zeros(y.numel(), y.dtype)
        unit[i] = 1
        rows.append(_pull([y], xs, [Tensor.wrap(unit.reshape(y.shape))], create_graph))
    if not rows:
        return [Tensor.wrap(np.zeros((*y.shape, *x.shape), x.dtype)) for x in xs]
    columns = zip(xs, zip(*rows, strict=True), strict=True)
    blocks = [stack(column).reshape(*y.shape, *x.shape) for x, column in columns]
    return blocks if create_graph else [block.detach() for block in blocks]


def hessian(func: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """All second derivatives of a function with one output value: shape (*input, *input), or a tuple of tuples."""

    def gradient(*xs: Tensor) -> Any:
        y = _outputs(func, xs)
        if not isinstance(y, Tensor) or y.numel() != 1:
            raise ValueError("hessian: need a function with one output value")
        return _like(inputs, _pull([y], xs, [None], create_graph=True))

    return jacobian(gradient, inputs, create_graph)
