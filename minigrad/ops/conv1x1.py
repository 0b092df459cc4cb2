"""The 1x1 convolution: a mixing of channels, the same at every pixel."""

from typing import Any

import numpy as np

from minigrad.kernels import conv1x1 as kernels
from minigrad.kernels.threads import parts
from minigrad.op import Array, op
from minigrad.ops.batch import channel_sum, sum_over_batch
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.conv import pixels_of
from minigrad.ops.memory import allocate
from minigrad.ops.shape import permute


def _mix(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    samples, _, *sizes = x.shape
    y = allocate((samples, w.shape[0], *sizes), x.dtype)
    if y.size:
        bias = allocate((0,), x.dtype) if b is None else b
        n_parts = parts(samples, x.size * w.shape[0] // 30)
        kernels.conv1x1_forward(n_parts, samples, pixels_of(x), w, bias, pixels_of(y))
    return y


@op
def conv1x1(x: Array, w: Array, b: Array = None) -> Any:
    """y[n, k, p] = b[k] + sum over c of w[k, c] x[n, c, p], for x (N, C, ...), w (K, C), b (K)"""
    one_float_dtype("conv1x1", x, w, b)
    if x.ndim not in (3, 4) or w.ndim != 2 or w.shape[1] != x.shape[1]:
        raise ValueError(
            f"conv1x1: need input (N, C, L) or (N, C, H, W) and weight (K, C), got {x.shape} and {w.shape}"
        )
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"conv1x1: need bias (K) = ({w.shape[0]},), got {b.shape}")
    return _mix(x, w, b), (x, w)


@conv1x1.vjp(masked=True)
def conv1x1_vjp(dy: Array, x: Array, w: Array, *, needs: tuple[bool, ...]) -> Any:
    dx = conv1x1(dy, permute(w, dims=(1, 0))) if needs[0] else None
    dw = conv1x1_weight_gradient(dy, x) if needs[1] else None
    return dx, dw, channel_sum(dy) if needs[2] else None


@op
def conv1x1_weight_gradient(dy: Array, x: Array) -> Any:
    """dw[k, c] = sum over n and p of dy[n, k, p] x[n, c, p]"""
    one_float_dtype("conv1x1_weight_gradient", dy, x)
    if dy.ndim < 3 or dy.shape[0] != x.shape[0] or dy.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"conv1x1_weight_gradient: need dy (N, K, ...) and x (N, C, ...), got {dy.shape} and {x.shape}"
        )
    samples, filters, channels = dy.shape[0], dy.shape[1], x.shape[1]
    if not (x.size and dy.size):
        return np.zeros((filters, channels), dy.dtype), (dy, x)
    out, flat = pixels_of(dy), pixels_of(x)

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        n_parts = parts(len(partial), flat[some].size * filters // 30)
        scratch = allocate((n_parts, flat.shape[2], channels), dy.dtype)
        kernels.conv1x1_weight_gradient(n_parts, len(partial), out[some], flat[some], partial, scratch)

    return sum_over_batch(samples, (filters, channels), dy.dtype, chunk_sums), (dy, x)


@conv1x1_weight_gradient.vjp(masked=True)
def conv1x1_weight_gradient_vjp(g: Array, dy: Array, x: Array, *, needs: tuple[bool, ...]) -> Any:
    return (
        conv1x1(x, g) if needs[0] else None,
        conv1x1(dy, permute(g, dims=(1, 0))) if needs[1] else None,
    )
