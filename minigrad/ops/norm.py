"""Normalisation: the op behind layer and group norm, and batch norm's own."""

import math
from typing import Any

import numpy as np

from minigrad.kernels import norm as kernels
from minigrad.kernels.reduce import CHUNK, tree_sum
from minigrad.kernels.threads import parts
from minigrad.op import Array, normalised, op
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.elementwise import power
from minigrad.ops.memory import allocate
from minigrad.ops.reduce import mean, sum
from minigrad.ops.shape import reshape
from minigrad.shards import Shard, sharded


@op
def normalize(x: Array, *, dims: tuple[int, ...], eps: float) -> Any:
    """((x - mean) / sqrt(var + eps), mean, var) over `dims`, which are kept with size 1; var is the biased one"""
    count = max(math.prod(x.shape[i] for i in dims), 1)  # of nothing, mean and var are 0
    average = np.sum(x, axis=dims, keepdims=True) / count
    centred = x - average
    variance = np.sum(centred * centred, axis=dims, keepdims=True) / count
    y = centred / np.sqrt(variance + x.dtype.type(eps))
    return (y, average, variance), (y, variance, dims, eps)


@normalize.vjp
def normalize_vjp(dys: tuple[Array, ...], y: Array, variance: Array, dims: tuple[int, ...], eps: float) -> Any:
    """By y: (dy - mean(dy) - y mean(dy y)) / sqrt(var + eps); by mean: dm / n; by var: 2 (x - mean) dv / n."""
    dy, d_mean, d_variance = dys
    deviation = power(variance + eps, 0.5)
    count = math.prod(y.shape[i] for i in dims)
    if dy is None:
        dx = y * 0.0
    else:
        dx = (dy - mean(dy, dims, keepdim=True) - y * mean(dy * y, dims, keepdim=True)) / deviation
    if d_mean is not None:
        dx = dx + d_mean / count
    if d_variance is not None:
        dx = dx + d_variance * deviation * y * (2.0 / count)
    return dx


@op
def batch_norm(x: Array, weight: Array = None, bias: Array = None, *, eps: float) -> Any:
    """(y, mean, var) per channel: y = weight (x - mean) / sqrt(var + eps) + bias; var is the biased one

    x is (N, C, ...), all others (C); of nothing, mean and var are 0. Where x is a run of a batch, mean and var are
    those of the whole batch.
    """
    name = "batch_norm"
    one_float_dtype(name, x, weight, bias)
    if x.ndim < 2:
        raise ValueError(f"{name}: need x (N, C, ...), got {x.shape}")
    (samples, channels), dtype = x.shape[:2], x.dtype
    for what, array in (("weight", weight), ("bias", bias)):
        if array is not None and array.shape != (channels,):
            raise ValueError(f"{name}: need {what} {(channels,)}, got {array.shape}")
    y, shard = allocate(x.shape, dtype), sharded.get()
    if not x.size:
        average, variance = np.zeros(channels, dtype), np.zeros(channels, dtype)
        return (y, average, variance), (x, average, variance, weight, eps, shard)
    flat, area = x.reshape(-1), x.size // (samples * channels)
    average, variance = _moments(flat, samples, channels, area, shard)
    scale = _scale(variance, weight, eps)
    shift = np.zeros(channels, dtype) if bias is None else bias
    kernels.batch_norm_forward(parts(samples, x.size // 3), samples, flat, area, average, scale, shift, y.reshape(-1))
    return (y, average, variance), (x, average, variance, weight, eps, shard)


def _moments(flat: np.ndarray, samples: int, channels: int, area: int, shard: Shard | None) -> Any:
    """Mean and variance of each channel over the batch: of the chunks, then of the runs, by one tree."""
    dtype, chunks = flat.dtype, -(-samples // CHUNK)
    means, spreads = allocate((chunks, channels), dtype), allocate((chunks, channels), dtype)
    kernels.chunk_moments(parts(chunks, flat.size // 2), chunks, flat, samples, area, means, spreads)
    kernels.merge_moments(1, channels, means, spreads, samples, CHUNK, area)
    if shard is not None:
        samples, runs = shard.samples, shard.rows(np.stack([means[0], spreads[0]]))
        means, spreads = (np.ascontiguousarray(runs[:, i]) for i in range(2))
        kernels.merge_moments(1, channels, means, spreads, samples, shard.length, area)
    return means[0].copy(), spreads[0] / dtype.type(samples * area)


def _scale(variance: np.ndarray, weight: np.ndarray | None, eps: float) -> np.ndarray:
    scale = 1 / np.sqrt(variance + variance.dtype.type(eps))
    return scale if weight is None else scale * weight


@batch_norm.vjp(masked=True)
def batch_norm_vjp(
    dys: tuple[Array, ...], x: Array, average: Array, variance: Array, weight: Array, eps: float, shard: Shard | None,
    *, needs: Any,
) -> Any:  # fmt: skip
    """By x: weight / d (dy - mean(dy) - n mean(dy n)), by weight: sum(dy n); d = sqrt(var + eps), n = (x - mean) / d

    Arrays take two passes; tensors, and gradients by mean (dm / n) or var (2 (x - mean) dv / n), the formula in ops.
    """
    dy, d_average, d_variance = dys
    if isinstance(dy, np.ndarray) and d_average is None and d_variance is None and dy.size:
        return _fused_gradients(normalised("batch_norm", dy), x, average, variance, weight, eps, shard, needs)
    if shard is not None:
        raise RuntimeError(
            "batch_norm: of a batch on several processes, there are gradients by y alone, of first order"
        )
    dims, shape = (0, *range(2, len(x.shape))), (1, x.shape[1], *(1,) * (len(x.shape) - 2))
    count = max(math.prod(x.shape) // max(x.shape[1], 1), 1)
    centred = x - reshape(average, shape=shape)
    inverse = power(reshape(variance, shape=shape) + eps, -0.5)
    dx = d_weight = d_bias = None
    if dy is not None:
        normal = centred * inverse
        by_normal = sum(dy * normal, dim=dims)
        d_weight, d_bias = by_normal, sum(dy, dim=dims)
        scale = inverse if weight is None else inverse * reshape(weight, shape=shape)
        mean_of = [reshape(total, shape=shape) / float(count) for total in (d_bias, by_normal)]
        dx = (dy - mean_of[0] - normal * mean_of[1]) * scale
    if d_average is not None:
        dx = (0.0 if dx is None else dx) + reshape(d_average, shape=shape) / float(count) + centred * 0.0
    if d_variance is not None:
        dx = (0.0 if dx is None else dx) + reshape(d_variance, shape=shape) * centred * (2.0 / count)
    return dx, d_weight if weight is not None else None, d_bias


def _fused_gradients(
    dy: np.ndarray, x: np.ndarray, average: np.ndarray, variance: np.ndarray, weight: Any, eps: float,
    shard: Shard | None, needs: Any,
) -> Any:  # fmt: skip
    samples, channels = x.shape[:2]
    area, chunks = x.size // (samples * channels), -(-samples // CHUNK)
    partial = allocate((chunks, 2, channels), x.dtype)
    by, flat = dy.reshape(-1), x.reshape(-1)
    kernels.gradient_sums(parts(chunks, x.size // 2), chunks, by, flat, samples, area, average, partial)
    tree_sum(1, 2 * channels, partial.reshape(chunks, -1))
    if shard is not None:
        partial = shard.rows(partial[0])
        tree_sum(1, 2 * channels, partial.reshape(len(partial), -1))
    total, product = partial[0].copy()
    inverse, scale = _scale(variance, None, eps), _scale(variance, weight, eps)
    dx = None
    if needs[0]:
        count = (samples if shard is None else shard.samples) * area
        dx, share = allocate(x.shape, x.dtype), x.dtype.type(1 / count)
        slope, offset = scale * inverse * inverse * product * share, scale * total * share
        threads = parts(samples, x.size // 3)
        kernels.batch_norm_backward(threads, samples, by, flat, area, average, scale, slope, offset, dx.reshape(-1))
    by_weight = product * inverse if weight is not None else None
    if shard is not None:
        total, by_weight = shard.part_of(total), None if by_weight is None else shard.part_of(by_weight)
    return dx, by_weight, total
