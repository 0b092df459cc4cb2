"""Convolution layers: cross-correlation, its transpose, and true convolution, in 1-D and 2-D.

conv, its transpose and its weight gradient are one trilinear form <dy, conv(x, w)>: each rule calls the other two.
"""

from typing import Any

import numpy as np

from minigrad.op import Array, Op, op
from minigrad.ops import correlation
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.correlation import Axes
from minigrad.ops.reduce import channel_sum
from minigrad.ops.shape import flip

SPATIAL = {1: "L", 2: "H, W"}
WINDOW = {1: "F", 2: "FH, FW"}


def check_conv(name: str, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, axes: Axes, groups: int) -> None:
    """Do input, weight and bias fit each other and the axes?"""
    rank = len(axes)
    one_float_dtype(name, x, w, b)
    if x.ndim != rank + 2 or x.shape[2:] != tuple(a.size for a in axes):
        sizes = tuple(a.size for a in axes)
        raise ValueError(f"{name}: need input (N, C, {SPATIAL[rank]}) with sizes {sizes}, got {x.shape}")
    channels = x.shape[1]
    if groups < 1 or channels % groups:
        raise ValueError(f"{name}: need groups that divide C = {channels}, got {groups}")
    windows = tuple(a.window for a in axes)
    if w.ndim != rank + 2 or w.shape[1] * groups != channels or w.shape[2:] != windows:
        raise ValueError(f"{name}: need weight (K, C/groups, {WINDOW[rank]}) with C = {channels}, got {w.shape}")
    if w.shape[0] % groups:
        raise ValueError(f"{name}: need K divisible by groups = {groups}, got weight {w.shape}")
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"{name}: need bias (K) = ({w.shape[0]},), got {b.shape}")


def _check_outputs(name: str, dy: np.ndarray, axes: Axes, filters: int | None) -> None:
    outs = tuple(a.out for a in axes)
    if dy.ndim != len(axes) + 2 or dy.shape[2:] != outs or (filters is not None and dy.shape[1] != filters):
        wanted = "K" if filters is None else filters
        raise ValueError(f"{name}: need (N, {wanted}, {SPATIAL[len(axes)]}) with sizes {outs}, got {dy.shape}")


def _family(rank: int) -> tuple[Op[Any], Op[Any], Op[Any], Op[Any]]:
    """conv{rank}d, its transpose, its weight gradient, and the true convolution."""
    conv_name, transpose_name = f"conv{rank}d", f"conv_transpose{rank}d"
    gradient_name, true_name = f"conv{rank}d_weight_gradient", f"convolve{rank}d"
    places = tuple(range(2, rank + 2))

    @op(name=conv_name)
    def conv(x: Array, w: Array, b: Array = None, *, axes: Axes, groups: int = 1) -> Any:
        """y[n, k] = b[k] + sum over c of the cross-correlation of x[n, c] with w[k, c]"""
        check_conv(conv_name, x, w, b, axes, groups)
        return correlation.forward(x, w, b, axes, groups), (x, w, axes, groups)

    @conv.vjp(masked=True)
    def conv_vjp(dy: Array, x: Array, w: Array, axes: Axes, groups: int, *, needs: tuple[bool, ...]) -> Any:
        dx = transpose(dy, w, axes=axes, groups=groups) if needs[0] else None
        dw = weight_gradient(dy, x, axes=axes, groups=groups) if needs[1] else None
        return dx, dw, channel_sum(dy) if needs[2] else None

    @op(name=transpose_name)
    def transpose(dy: Array, w: Array, *, axes: Axes, groups: int = 1) -> Any:
        """The transpose of conv: what it sends back to its input x, whose sizes are those of the axes"""
        one_float_dtype(transpose_name, dy, w)
        filters = w.shape[0] if w.ndim == rank + 2 else -1
        _check_outputs(transpose_name, dy, axes, filters)
        if w.shape[2:] != tuple(a.window for a in axes) or groups < 1 or filters % groups:
            raise ValueError(f"{transpose_name}: weight {w.shape} does not fit groups = {groups} and axes {axes}")
        return correlation.input_gradient(dy, w, axes, groups), (dy, w, axes, groups)

    @transpose.vjp(masked=True)
    def transpose_vjp(g: Array, dy: Array, w: Array, axes: Axes, groups: int, *, needs: tuple[bool, ...]) -> Any:
        d_dy = conv(g, w, axes=axes, groups=groups) if needs[0] else None
        return d_dy, weight_gradient(dy, g, axes=axes, groups=groups) if needs[1] else None

    @op(name=gradient_name)
    def weight_gradient(dy: Array, x: Array, *, axes: Axes, groups: int = 1) -> Any:
        """What conv sends back to its weights w: the cross-correlation of x with dy, summed over the batch"""
        one_float_dtype(gradient_name, dy, x)
        _check_outputs(gradient_name, dy, axes, None)
        if x.ndim != rank + 2 or x.shape[2:] != tuple(a.size for a in axes) or x.shape[0] != dy.shape[0]:
            raise ValueError(f"{gradient_name}: input {x.shape} does not fit dy {dy.shape} and axes {axes}")
        if groups < 1 or x.shape[1] % groups or dy.shape[1] % groups:
            raise ValueError(f"{gradient_name}: groups = {groups} does not divide {x.shape[1]} and {dy.shape[1]}")
        return correlation.weight_gradient(dy, x, axes, groups), (dy, x, axes, groups)

    @weight_gradient.vjp(masked=True)
    def weight_gradient_vjp(g: Array, dy: Array, x: Array, axes: Axes, groups: int, *, needs: tuple[bool, ...]) -> Any:
        d_dy = conv(x, g, axes=axes, groups=groups) if needs[0] else None
        return d_dy, transpose(dy, g, axes=axes, groups=groups) if needs[1] else None

    @op(name=true_name)
    def convolve(x: Array, w: Array, *, axes: Axes) -> Any:
        """y[n, k] = sum over c of the true convolution of x[n, c] with w[k, c]: the filter is flipped, then slides"""
        check_conv(true_name, x, w, None, axes, 1)
        flipped = np.ascontiguousarray(np.flip(w, places))
        return correlation.forward(x, flipped, None, axes, 1), (x, w, axes)

    @convolve.vjp(masked=True)
    def convolve_vjp(dy: Array, x: Array, w: Array, axes: Axes, *, needs: tuple[bool, ...]) -> Any:
        dx = transpose(dy, flip(w, dims=places), axes=axes) if needs[0] else None
        return dx, flip(weight_gradient(dy, x, axes=axes), dims=places) if needs[1] else None

    return conv, transpose, weight_gradient, convolve


conv1d, conv_transpose1d, conv1d_weight_gradient, convolve1d = _family(1)
conv2d, conv_transpose2d, conv2d_weight_gradient, convolve2d = _family(2)
CONV = {1: conv1d, 2: conv2d}
CONV_TRANSPOSE = {1: conv_transpose1d, 2: conv_transpose2d}
CONVOLVE = {1: convolve1d, 2: convolve2d}
