"""Linear layers: products of inputs and weights, alone or with the ReLU that follows, and their gradients.

Where a sample is several rows of the input, `rows` says how many: sums over the batch go by chunks of samples.
"""

from typing import Any

import numpy as np

from minigrad.op import Array, op
from minigrad.ops.activation import relu_vjp
from minigrad.ops.checks import one_dtype, one_float_dtype
from minigrad.ops.geometry import integer
from minigrad.ops.linalg import product
from minigrad.ops.products import batch_products, multiply_stacks
from minigrad.ops.reduce import channel_sum
from minigrad.ops.shape import expand, reshape


def _check(name: str, x: Array, w: Array, b: Array) -> None:
    if w.ndim != 2 or x.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ValueError(f"{name}: need input (N, C) and weight (K, C), got {x.shape} and {w.shape}")
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"{name}: need bias (K) = ({w.shape[0]},), got {b.shape}")


@op
def linear(x: Array, w: Array, b: Array = None, *, rows: int = 1) -> Any:
    """x w' + b for x (N, C), w (K, C) and b (K)"""
    one_dtype("linear", x, w, b)
    _check("linear", x, w, b)
    integer("linear", "rows", rows, 1)
    return multiply_stacks(x, w, False, True, b), (x, w, rows)


@linear.vjp(masked=True)
def linear_vjp(dy: Array, x: Array, w: Array, rows: int, *, needs: tuple[bool, ...]) -> Any:
    """All at once where dw is wanted and something else is."""
    if needs[1] and (needs[0] or needs[2]):
        found = iter(linear_gradients(dy, x, w if needs[0] else None, with_bias=needs[2], rows=rows))
        dw = next(found)
        return next(found) if needs[0] else None, dw, next(found) if needs[2] else None
    dx = product(dy, w) if needs[0] else None
    dw = linear_weight_gradient(dy, x, rows=rows) if needs[1] else None
    return dx, dw, channel_sum(dy, rows=rows) if needs[2] else None


@op
def linear_relu(x: Array, w: Array, b: Array = None, *, rows: int = 1) -> Any:
    """max(x w' + b, 0) for x (N, C), w (K, C) and b (K)"""
    one_float_dtype("linear_relu", x, w, b)
    _check("linear_relu", x, w, b)
    integer("linear_relu", "rows", rows, 1)
    y = multiply_stacks(x, w, False, True, b, floor=0.0)
    return y, (x, w, y, rows)


@linear_relu.vjp(masked=True)
def linear_relu_vjp(dy: Array, x: Array, w: Array, y: Array, rows: int, *, needs: tuple[bool, ...]) -> Any:
    return linear_vjp(relu_vjp(dy, y), x, w, rows, needs=needs)


@op
def linear_weight_gradient(dy: Array, x: Array, *, rows: int = 1) -> Any:
    """dw[k, c] = sum over n of dy[n, k] x[n, c], by chunks of the batch"""
    one_dtype("linear_weight_gradient", dy, x)
    if dy.ndim != 2 or x.ndim != 2 or len(dy) != len(x):
        raise ValueError(f"linear_weight_gradient: need dy (N, K) and x (N, C), got {dy.shape} and {x.shape}")
    integer("linear_weight_gradient", "rows", rows, 1)
    if dy.dtype.kind != "f":
        return np.matmul(dy.T, x), (dy, x, rows)
    return batch_products(dy, x, None, False, rows)[0], (dy, x, rows)


@linear_weight_gradient.vjp(masked=True)
def linear_weight_gradient_vjp(g: Array, dy: Array, x: Array, rows: int, *, needs: tuple[bool, ...]) -> Any:
    return linear(x, g, rows=rows) if needs[0] else None, product(dy, g) if needs[1] else None


@op
def linear_gradients(dy: Array, x: Array, w: Array = None, *, with_bias: bool = True, rows: int = 1) -> Any:
    """dw = dy' x for dy (N, K), x (N, C); if w (K, C) is given dx = dy w; if asked db, the sum of dy: in one launch"""
    one_float_dtype("linear_gradients", dy, x, w)
    if not dy.ndim == x.ndim == 2 or len(dy) != len(x):
        raise ValueError(f"linear_gradients: need dy (N, K) and x (N, C), got {dy.shape} and {x.shape}")
    if w is not None and w.shape != (dy.shape[1], x.shape[1]):
        raise ValueError(f"linear_gradients: need w (K, C) = {(dy.shape[1], x.shape[1])}, got {w.shape}")
    integer("linear_gradients", "rows", rows, 1)
    outputs = [y for y in batch_products(dy, x, w, with_bias, rows) if y is not None]
    return tuple(outputs), (dy, x, w, with_bias, rows)


@linear_gradients.vjp(masked=True)
def linear_gradients_vjp(
    gs: tuple[Any, ...], dy: Array, x: Array, w: Array, with_bias: bool, rows: int, *, needs: tuple[bool, ...]
) -> Any:
    """Each output is linear in dy and in one other input: gradients of the other are products as the outputs were."""
    of_weight, of_input, of_bias = gs[0], gs[1] if w is not None else None, gs[-1] if with_bias else None
    terms = []
    if needs[0]:
        if of_weight is not None:
            terms.append(linear(x, of_weight, rows=rows))
        if of_input is not None:
            terms.append(linear(of_input, w, of_bias, rows=rows))
        elif of_bias is not None:
            terms.append(expand(reshape(of_bias, shape=(1, dy.shape[1])), shape=dy.shape))
    by_dy = terms[0] + terms[1] if len(terms) == 2 else terms[0] if terms else None
    by_x = product(dy, of_weight) if needs[1] and of_weight is not None else None
    by_w = linear_weight_gradient(dy, of_input, rows=rows) if needs[2] and of_input is not None else None
    return by_dy, by_x, by_w
