"""Losses: how far a prediction is from its target. Units: nats for the logarithmic ones, per example where averaged."""

import math
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.functional.arguments import takes_arrays
from minigrad.op import Array
from minigrad.ops.checks import one_float_dtype
from minigrad.tape import Variable, plain


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: need reduction 'mean', 'sum' or 'none', got {reduction!r}")


def _reduced(loss: Array, reduction: str) -> Any:
    if reduction == "none":
        return loss
    return ops.mean(loss) if reduction == "mean" else ops.sum(loss)


def _checked_target(name: str, input: Array, target: Array, reduction: str) -> Array:
    """The target of a loss that compares value by value; one of integers in input's dtype."""
    _check_reduction(name, reduction)
    one_float_dtype(name, input)
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(
            f"{name}: need input and target of one shape, got {tuple(input.shape)} and {tuple(target.shape)}"
        )
    return target if target.dtype.kind == "f" else ops.cast(target, dtype=input.dtype)


def _class_dim(name: str, input: Array) -> int:
    """Where the classes of scores (N, C, ...) or (C) are."""
    one_float_dtype(name, input)
    dim = 0 if len(input.shape) == 1 else 1
    if not input.shape or input.shape[dim] < 1:
        raise ValueError(f"{name}: need input (N, C, ...) or (C) with C > 0, got {tuple(input.shape)}")
    return dim


def _classes(name: str, input: Array, dim: int, target: Array, ignore_index: int) -> Array:
    """Integer targets (N, ...) for scores (N, C, ...), or () for (C), each in [0, C) or ignored."""
    labels, classes = _labels(name, input, dim, target), input.shape[dim]
    numbers = plain(labels)
    bad = (numbers != ignore_index) & ((numbers < 0) | (numbers >= classes))
    if bad.any():
        raise ValueError(f"{name}: need classes in [0, {classes}), got {numbers[bad].flat[0]}")
    return labels


def _labels(name: str, input: Array, dim: int, target: Array) -> Array:
    """Integer targets of the right shape, whatever their values."""
    shape = tuple(input.shape)
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: need integer class numbers as target, got {target.dtype}")
    wanted = (*shape[:dim], *shape[dim + 1 :])
    if tuple(target.shape) != wanted:
        raise ValueError(f"{name}: need target {wanted} for input {shape}, got {tuple(target.shape)}")
    return ops.cast(target, dtype=np.int64)  # a copy: backward needs them as they are now


def _picked(scores: Array, labels: Array, dim: int) -> Any:
    """The score of each label's class: (N, ...) from (N, C, ...)."""
    return ops.squeeze(ops.take_along(scores, ops.unsqueeze(labels, dim), dim=dim), dim)


def _class_weights(name: str, weight: Array | None, classes: int, dtype: Any) -> Array:
    if weight is None:
        return np.ones(classes, dtype)
    if tuple(weight.shape) != (classes,):
        raise ValueError(f"{name}: need weight ({classes},), one for each class, got {tuple(weight.shape)}")
    if isinstance(weight, Variable) and weight.requires_grad:
        raise ValueError(f"{name}: weight is a constant, got one that requires grad; use weight.detach()")
    return ops.cast(weight, dtype=dtype)


def _averaged(loss: Array, count: Any) -> Any:
    """sum(loss) / count; of nothing it is NaN, with gradients of 0, as in PyTorch."""
    is_empty = ops.equal(count, 0.0)
    return ops.sum(loss) / ops.where(is_empty, 1.0, count) + ops.where(is_empty, np.nan, 0.0)


@takes_arrays
def nll_loss(
    input: Array, target: Array, weight: Array | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """The negative log likelihood -weight[t] input[t] of the target class t, given log probabilities.

    'mean' divides by the sum of the targets' weights. Targets equal to `ignore_index` count nothing.

    Shapes: input (N, C, ...) or (C), target integers (N, ...) or (). Units: nats.
    Raises: ValueError for shapes or classes that do not fit, TypeError for targets that are not integers.
    """
    return _nll("nll_loss", input, target, weight, ignore_index, reduction, 0.0)


def _nll(
    name: str, scores: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str, smoothing: float
) -> Any:
    _check_reduction(name, reduction)
    dim = _class_dim(name, scores)
    labels = _classes(name, scores, dim, target, ignore_index)
    classes = scores.shape[dim]
    weights = _class_weights(name, weight, classes, scores.dtype)
    kept = ops.not_equal(labels, ignore_index)
    safe = ops.where(kept, labels, 0)
    share = ops.where(kept, ops.take(weights, safe), 0.0)
    # What is ignored may be infinite: to multiply it with 0 would not do.
    loss = -ops.where(kept, _picked(scores, safe, dim), 0.0) * share
    if smoothing:
        spread = ops.sum(scores * ops.reshape(weights, shape=(classes, *(1,) * (len(scores.shape) - dim - 1))), dim=dim)
        loss = loss * (1 - smoothing) - ops.where(kept, spread, 0.0) * (smoothing / classes)
    return _averaged(loss, ops.sum(share)) if reduction == "mean" else _reduced(loss, reduction)


def _fused(
    name: str,
    input: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Any:
    """The sum or mean by one op."""
    _check_reduction(name, reduction)
    labels = _labels(name, input, 1, target)
    weights = None if weight is None else _class_weights(name, weight, input.shape[1], input.dtype)
    mean = reduction == "mean"
    return ops.cross_entropy(input, labels, weights, ignored=ignore_index, mean=mean, smoothing=smoothing)[0]


@takes_arrays
def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The cross-entropy -log softmax(input)[t] of the target class t, from scores (logits).

    With label smoothing e the target is 1 - e at t plus e / C everywhere. 'mean' divides by the sum of the targets'
    weights. The target may also be probabilities of input's shape; then 'mean' divides by N.

    Shapes: input (N, C, ...) or (C), target integers (N, ...) or (), or probabilities of input's shape. Units: nats.
    Raises: ValueError for shapes or classes that do not fit, TypeError for targets of another kind.
    """
    name = "cross_entropy"
    dim = _class_dim(name, input)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: need 0 <= label_smoothing <= 1, got {label_smoothing}")
    if plain(target).dtype.kind != "f":
        if dim == 1 and reduction != "none":
            return _fused(name, input, target, weight, ignore_index, reduction, label_smoothing)
        logs = ops.log_softmax(input, dim=dim)
        return _nll(name, logs, target, weight, ignore_index, reduction, label_smoothing)
    logs = ops.log_softmax(input, dim=dim)
    target = _checked_target(name, input, target, reduction)
    classes = input.shape[dim]
    by_class = (classes, *(1,) * (len(input.shape) - dim - 1))
    weights = ops.reshape(_class_weights(name, weight, classes, input.dtype), shape=by_class)
    smooth = target * (1 - label_smoothing) + label_smoothing / classes
    loss = -ops.sum(logs * smooth * weights, dim=dim)
    if reduction == "mean":
        return _averaged(loss, float(math.prod(input.shape) // classes))
    return _reduced(loss, reduction)


@takes_arrays
def mse_loss(input: Array, target: Array, reduction: str = "mean") -> Any:
    """(input - target)^2, its mean, its sum, or as it is ('none').

    Shapes: input and target the same. Raises: ValueError where they differ, or for another reduction.
    """
    difference = ops.subtract(input, _checked_target("mse_loss", input, target, reduction))
    return _reduced(difference * difference, reduction)


@takes_arrays
def l1_loss(input: Array, target: Array, reduction: str = "mean") -> Any:
    """|input - target|, its mean, its sum, or as it is ('none').

    Shapes: input and target the same. Raises: ValueError where they differ, or for another reduction.
    """
    target = _checked_target("l1_loss", input, target, reduction)
    return _reduced(ops.absolute(ops.subtract(input, target)), reduction)


@takes_arrays
def huber_loss(input: Array, target: Array, reduction: str = "mean", delta: float = 1.0) -> Any:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = input - target.

    Shapes: input and target the same. Raises: ValueError where they differ, or for a delta that is not above 0.
    Source: Huber, "Robust estimation of a location parameter", 1964.
    """
    target = _checked_target("huber_loss", input, target, reduction)
    if delta <= 0:
        raise ValueError(f"huber_loss: need delta above 0, got {delta}")
    size = ops.absolute(ops.subtract(input, target))
    small = ops.clip(size, max=delta)
    return _reduced(small * (size - small * 0.5), reduction)


def _weighted(loss: Array, weight: Array | None) -> Any:
    return loss if weight is None else ops.multiply(loss, weight)


@takes_arrays
def binary_cross_entropy(input: Array, target: Array, weight: Array | None = None, reduction: str = "mean") -> Any:
    """-(t log p + (1 - t) log(1 - p)) for probabilities p = input, logarithms no lower than -100 (as in PyTorch).

    Shapes: input and target the same; weight broadcasts. Units: nats. Raises: ValueError for p outside [0, 1].
    """
    target = _checked_target("binary_cross_entropy", input, target, reduction)
    values = np.array(plain(input), order="C", copy=None)  # which fails at once where memory cannot hold them
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"binary_cross_entropy: need probabilities in [0, 1], got {values.min()} to {values.max()}; "
            "for scores there is binary_cross_entropy_with_logits"
        )
    return _reduced(_weighted(ops.binary_cross_entropy(input, target), weight), reduction)


@takes_arrays
def binary_cross_entropy_with_logits(
    input: Array, target: Array, weight: Array | None = None, reduction: str = "mean", pos_weight: Array | None = None
) -> Any:
    """-(w t log s + (1 - t) log(1 - s)) with s = sigmoid(input) and w = pos_weight, without overflow.

    Shapes: input and target the same; weight and pos_weight broadcast. Units: nats.
    """
    target = _checked_target("binary_cross_entropy_with_logits", input, target, reduction)
    # log s = -softplus(-x) and log(1 - s) = -softplus(x) = -x - softplus(-x)
    tail = ops.softplus(ops.negate(input), threshold=np.inf)
    scale = 1.0 if pos_weight is None else ops.multiply(ops.subtract(pos_weight, 1.0), target) + 1.0
    loss = (1.0 - target) * input + scale * tail
    return _reduced(_weighted(loss, weight), reduction)
