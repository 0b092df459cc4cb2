"""Chains of layers as one op: what is between them never reaches memory, and the gradients are those of the chain."""

from typing import Any

import numpy as np

from minigrad.op import Array, Op, op
from minigrad.ops import correlation, winners, winograd
from minigrad.ops.activation import relu
from minigrad.ops.conv import check_conv, conv2d
from minigrad.ops.correlation import Axes, lanes
from minigrad.ops.geometry import Axis
from minigrad.ops.pool import max_pool2d
from minigrad.ops.reduce import channel_sum


def _pull(link: Op[Any], *args: Any, **needs: tuple[bool, ...]) -> Any:
    """What the rule of one link of the chain gives."""
    assert link.rule is not None
    return link.rule(*args, **needs)


@op
def conv2d_relu(x: Array, w: Array, b: Array = None, *, axes: Axes, groups: int = 1) -> Any:
    """max(conv2d(x, w, b), 0)"""
    check_conv("conv2d_relu", x, w, b, axes, groups)
    y = correlation.forward(x, w, b, axes, groups, floor=0.0)
    return y, (x, w, y, axes, groups)


@conv2d_relu.vjp(masked=True)
def conv2d_relu_vjp(
    dy: Array, x: Array, w: Array, y: Array, axes: Axes, groups: int, *, needs: tuple[bool, ...]
) -> Any:
    return _pull(conv2d, _pull(relu, dy, y), x, w, axes, groups, needs=needs)


@op
def conv2d_relu_max_pool2d(x: Array, w: Array, b: Array = None, *, axes: Axes, groups: int = 1) -> Any:
    """The largest value of each 2 x 2 of max(conv2d(x, w, b), 0), without overlap; the first one wins a tie"""
    check_conv("conv2d_relu_max_pool2d", x, w, b, axes, groups)
    y, places = correlation.forward_pooled(x, w, b, axes, groups, floor=0.0)
    return y, (x, w, y, places, axes, groups)


@conv2d_relu_max_pool2d.vjp(masked=True)
def conv2d_relu_max_pool2d_vjp(
    dy: Array, x: Array, w: Array, y: Array, places: Array, axes: Axes, groups: int, *, needs: tuple[bool, ...]
) -> Any:
    """The gate at the pooled values, which are the winners'; only they have a gradient, so they have all of db."""
    walk = None
    if isinstance(dy, np.ndarray) and not winograd.suits(axes, w.shape[1], len(w) // groups, groups):
        walk = winners.walk(axes, w.shape[1], len(w) // groups, groups, lanes(dy.dtype), needs[0])
    if walk is not None:
        return winners.gradients(dy, y, places, x, w, walk, needs[0])
    dy = _pull(relu, dy, y)
    spread = _pull(max_pool2d, (dy,), places, _windows(axes))
    dx, dw, _ = _pull(conv2d, spread, x, w, axes, groups, needs=(needs[0], needs[1], False))
    return dx, dw, channel_sum(dy) if needs[2] else None


def _windows(axes: Axes) -> Axes:
    """The pooling's windows over a convolution's outputs."""
    return tuple(Axis(a.out, 2, 2, 0, 1, a.out // 2, 0) for a in axes)
