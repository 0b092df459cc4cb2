"""The losses that are ops of their own: fused, or with gradients that are bounded where the chain rule's are not."""

from typing import Any

import numpy as np

from minigrad.kernels import loss as kernels
from minigrad.kernels.reduce import CHUNK, tree_sum
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import parts
from minigrad.op import Array, constant, op
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.elementwise import clip, log, maximum
from minigrad.ops.memory import allocate
from minigrad.ops.reduce import sum


@op(broadcasts=True)
def binary_cross_entropy(p: Array, t: Array) -> Any:
    """-(t log p + (1 - t) log(1 - p)), logarithms no lower than -100"""
    with np.errstate(divide="ignore"):
        yes, no = np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)
    return (t - 1) * no - t * yes, (p, t)


@binary_cross_entropy.vjp(masked=True)
def binary_cross_entropy_vjp(dy: Array, p: Array, t: Array, *, needs: tuple[bool, ...]) -> Any:
    """(p - t) / (p (1 - p)) by p, whose divisor is at least 1e-12: a prediction that is sure and wrong still learns."""
    dp = dy * (p - t) / maximum(p * (1.0 - p), 1e-12) if needs[0] else None
    return dp, dy * (_bounded_log(1.0 - p) - _bounded_log(p)) if needs[1] else None


def _bounded_log(x: Array) -> Any:
    return clip(log(clip(x, min=1e-44)), min=-100.0)


@op
def cross_entropy(
    x: Array, labels: Array, weights: Array = None, *, ignored: int = -100, mean: bool = True, smoothing: float = 0.0
) -> Any:
    """(loss, p): -log p[label] times its class's weight, over all samples, and p = softmax(x) over the classes

    x is (N, C, ...), labels are int64 (N, ...). With smoothing e the target is 1 - e at the label plus e / C
    everywhere, each class by its weight. The mean divides by the sum of the labels' weights. Where a label is
    `ignored`, p is 0.
    """
    name = "cross_entropy"
    one_float_dtype(name, x, weights)
    if x.ndim < 2 or x.shape[1] < 1 or labels.shape != (x.shape[0], *x.shape[2:]):
        raise ValueError(f"{name}: need x (N, C, ...) with C > 0 and labels (N, ...), got {x.shape} and {labels.shape}")
    if labels.dtype != np.int64:
        raise TypeError(f"{name}: need labels as int64, got {labels.dtype}")
    if weights is not None and weights.shape != x.shape[1:2]:
        raise ValueError(f"{name}: need weights {x.shape[1:2]}, one for each class, got {weights.shape}")
    if not -(2**63) <= ignored < 2**63:
        raise ValueError(f"{name}: need the number that is ignored as an int64, got {ignored}")
    p, (samples, classes) = allocate(x.shape, x.dtype), x.shape[:2]
    keep = 1.0 - smoothing
    table, spread = _tables(weights, smoothing, classes, x.dtype)
    total = weight = unknown = 0.0
    if x.size:
        chunks = -(-samples // CHUNK)
        threads = parts(chunks, 3 * x.size)
        sums, scratch = allocate((chunks, 3), x.dtype), allocate((threads, (2 * classes + 3) * VECTOR_BYTES), x.dtype)
        kernels.cross_entropy_forward(
            threads,
            chunks,
            x.reshape(-1),
            labels.reshape(-1),
            table,
            spread,
            x.dtype.type(keep),
            ignored,
            samples,
            classes,
            p.reshape(-1),
            sums,
            scratch,
        )
        tree_sum(1, 3, sums)
        total, weight, unknown = sums[0].tolist()
    if unknown:
        bad = (labels != ignored) & ((labels < 0) | (labels >= classes))
        raise ValueError(f"{name}: need classes in [0, {classes}), got {labels[bad].flat[0]}")
    count = weight if mean else 1.0
    loss = np.array(total / count if count else np.nan, x.dtype)  # of nothing the mean is NaN, with gradients of 0
    return (loss, p), (p, labels, constant(table), constant(spread), keep, ignored, count)


def _tables(weights: np.ndarray | None, smoothing: float, classes: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """The classes' weights, none if all are 1; what smoothing gives each class, none if nothing."""
    table = _NONE[dtype] if weights is None else weights
    spread = _NONE[dtype]
    if smoothing:
        spread = np.full(classes, smoothing / classes, dtype) if weights is None else weights * (smoothing / classes)
    return table, spread


_NONE = {np.dtype(kind): np.empty(0, kind) for kind in (np.float32, np.float64)}


@cross_entropy.vjp
def cross_entropy_vjp(
    dys: tuple[Array, ...],
    p: Array,
    labels: Array,
    weights: np.ndarray,
    spread: np.ndarray,
    keep: float,
    ignored: int,
    count: float,
) -> Any:
    """By the loss: (p times the target's sum - target) / count; by p: the softmax's gradient."""
    dy, dp = dys
    dx = None
    if isinstance(dy, (np.ndarray, np.generic)):
        dx = allocate(p.shape, p.dtype)
        if p.size:
            samples, classes = p.shape[:2]
            scale = p.dtype.type(float(dy) / count if count else 0.0)
            arrays = scale, p.reshape(-1), labels.reshape(-1), weights, spread, p.dtype.type(keep)
            threads = parts(samples, p.size)
            kernels.cross_entropy_backward(threads, samples, *arrays, ignored, samples, classes, dx.reshape(-1))
    elif dy is not None:
        target = _targets(p.shape, labels, weights, spread, keep, ignored).astype(p.dtype)
        dx = (p * target.sum(1, keepdims=True) - target) * (dy / count if count else dy * 0)
    if dp is not None:
        weighted = dp * p
        through = weighted - p * sum(weighted, dim=1, keepdim=True)
        dx = through if dx is None else dx + through
    return dx, None, None


def _targets(
    shape: tuple[int, ...], labels: Array, weights: np.ndarray, spread: np.ndarray, keep: float, ignored: int
) -> np.ndarray:
    """The targets of all classes, (N, C, ...), 0 where the label is ignored."""
    labels = np.expand_dims(labels, 1)
    by_class = (-1, *(1,) * (len(shape) - 2))
    target = (np.arange(shape[1]).reshape(by_class) == labels) * keep
    if weights.size:
        target = target * weights.reshape(by_class)
    if spread.size:
        target = target + spread.reshape(by_class)
    return np.where(labels != ignored, target, 0)
