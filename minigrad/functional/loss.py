"""Losses: how far a prediction is from its target. Units: nats for the logarithmic ones, per example where averaged."""

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.op import Array
from minigrad.tape import Variable


def _reduced(name: str, loss: Array, reduction: str) -> Any:
    if reduction == "mean":
        return ops.mean(loss)
    if reduction == "sum":
        return ops.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"{name}: need reduction 'mean', 'sum' or 'none', got {reduction!r}")


def _plain(value: Array) -> np.ndarray:
    return np.asarray(value._array if isinstance(value, Variable) else value)


def _check_pair(name: str, input: Array, target: Array) -> None:
    shape, other = tuple(input.shape), tuple(target.shape)
    if shape != other:
        raise ValueError(f"{name}: need input and target of one shape, got {shape} and {other}")


def _classes(name: str, input: Array, target: Array, ignore_index: int) -> np.ndarray:
    """Integer targets (N, ...) for scores (N, C, ...), or () for (C), each in [0, C) or ignored."""
    labels = _plain(target)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name}: need integer class numbers as target, got {labels.dtype}")
    shape = tuple(input.shape)
    wanted = () if len(shape) == 1 else (*shape[:1], *shape[2:])
    if not shape or labels.shape != wanted:
        raise ValueError(f"{name}: need target {wanted} for input {shape}, got {labels.shape}")
    classes = shape[0] if len(shape) == 1 else shape[1]
    bad = (labels != ignore_index) & ((labels < 0) | (labels >= classes))
    if bad.any():
        raise ValueError(f"{name}: need classes in [0, {classes}), got {int(labels[bad].flat[0])}")
    return labels.astype(np.int64)


def _picked(scores: Array, labels: np.ndarray) -> Any:
    """The score of each label's class: (N, ...) from (N, C, ...)."""
    dim = 0 if len(scores.shape) == 1 else 1
    return ops.squeeze(ops.take_along(scores, np.expand_dims(labels, dim), dim=dim), dim)


def _class_weights(name: str, weight: Array, classes: int, dtype: Any) -> np.ndarray:
    if weight is None:
        return np.ones(classes, dtype)
    if tuple(weight.shape) != (classes,):
        raise ValueError(f"{name}: need weight ({classes},), one for each class, got {tuple(weight.shape)}")
    return _plain(weight).astype(dtype)


def nll_loss(
    input: Array, target: Array, weight: Array = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """The negative log likelihood -weight[t] input[t] of the target class t, given log probabilities.

    'mean' divides by the sum of the targets' weights. Targets equal to `ignore_index` count nothing.

    Shapes: input (N, C, ...) or (C), target integers (N, ...) or (). Units: nats.
    Raises: ValueError for shapes or classes that do not fit, TypeError for targets that are not integers.
    """
    return _nll("nll_loss", input, target, weight, ignore_index, reduction, 0.0)


def _nll(
    name: str, scores: Array, target: Array, weight: Array, ignore_index: int, reduction: str, smoothing: float
) -> Any:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: need reduction 'mean', 'sum' or 'none', got {reduction!r}")
    labels = _classes(name, scores, target, ignore_index)
    dim = 0 if len(scores.shape) == 1 else 1
    weights = _class_weights(name, weight, scores.shape[dim], scores.dtype)
    kept = labels != ignore_index
    safe = np.where(kept, labels, 0)
    share = weights[safe] * kept if len(weights) else np.zeros(labels.shape, scores.dtype)
    loss = -_picked(scores, safe) * share
    if smoothing:
        spread = ops.sum(scores * weights.reshape((-1,) + (1,) * (len(scores.shape) - dim - 1)), dim=dim)
        loss = loss * (1 - smoothing) - spread * kept.astype(scores.dtype) * (smoothing / scores.shape[dim])
    if reduction == "mean":
        return ops.sum(loss) / _scalar(share.sum(), scores.dtype)
    return _reduced(name, loss, reduction)


def _scalar(value: Any, dtype: Any) -> np.ndarray:
    return np.asarray(value, dtype)


def cross_entropy(
    input: Array,
    target: Array,
    weight: Array = None,
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
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: need 0 <= label_smoothing <= 1, got {label_smoothing}")
    if len(input.shape) < 1:
        raise ValueError(f"{name}: need input (N, C, ...) or (C), got a single value")
    dim = 0 if len(input.shape) == 1 else 1
    logs = ops.log_softmax(input, dim=dim)
    if _plain(target).dtype.kind != "f":
        return _nll(name, logs, target, weight, ignore_index, reduction, label_smoothing)
    _check_pair(name, input, target)
    classes = input.shape[dim]
    weights = _class_weights(name, weight, classes, input.dtype).reshape((-1,) + (1,) * (len(input.shape) - dim - 1))
    smooth = target * (1 - label_smoothing) + label_smoothing / max(classes, 1)
    loss = -ops.sum(logs * smooth * weights, dim=dim)
    if reduction == "mean":
        samples = int(np.prod(input.shape)) // max(classes, 1)
        return ops.sum(loss) / _scalar(samples, input.dtype)
    return _reduced(name, loss, reduction)


def mse_loss(input: Array, target: Array, reduction: str = "mean") -> Any:
    """(input - target)^2, averaged, summed or not. Shapes: both the same."""
    _check_pair("mse_loss", input, target)
    difference = ops.subtract(input, target)
    return _reduced("mse_loss", difference * difference, reduction)


def l1_loss(input: Array, target: Array, reduction: str = "mean") -> Any:
    """|input - target|, averaged, summed or not. Shapes: both the same."""
    _check_pair("l1_loss", input, target)
    return _reduced("l1_loss", ops.absolute(ops.subtract(input, target)), reduction)


def huber_loss(input: Array, target: Array, reduction: str = "mean", delta: float = 1.0) -> Any:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = input - target. Shapes: both the same.

    Source: Huber, "Robust estimation of a location parameter", 1964.
    """
    _check_pair("huber_loss", input, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: need delta above 0, got {delta}")
    size = ops.absolute(ops.subtract(input, target))
    small = ops.clip(size, max=delta)
    return _reduced("huber_loss", small * (size - small * 0.5), reduction)


def _weighted(loss: Array, weight: Array) -> Any:
    return loss if weight is None else loss * weight


def binary_cross_entropy(input: Array, target: Array, weight: Array = None, reduction: str = "mean") -> Any:
    """-(t log p + (1 - t) log(1 - p)) for probabilities p = input, logarithms no lower than -100 (as in PyTorch).

    Shapes: both the same; weight broadcasts. Units: nats. Raises: ValueError for p outside [0, 1].
    """
    _check_pair("binary_cross_entropy", input, target)
    values = _plain(input)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("binary_cross_entropy: need probabilities in [0, 1]; for scores use ..._with_logits")
    with np.errstate(divide="ignore"):
        yes, no = _bounded_log(input), _bounded_log(1.0 - input)
    return _reduced("binary_cross_entropy", _weighted(-(target * yes + (1.0 - target) * no), weight), reduction)


def _bounded_log(p: Array) -> Any:
    """log p, but at least -100: where it would be lower the gradient is cut, instead of infinite."""
    least = np.exp(-100.0) if _plain(p).dtype == np.float64 else float(np.finfo(np.float32).tiny)
    bounded = ops.where(_plain(p) > 0, ops.log(ops.maximum(p, least)), -100.0)
    return ops.clip(bounded, min=-100.0)


def binary_cross_entropy_with_logits(
    input: Array, target: Array, weight: Array = None, reduction: str = "mean", pos_weight: Array = None
) -> Any:
    """-(w t log s + (1 - t) log(1 - s)) with s = sigmoid(input) and w = pos_weight, without overflow.

    Shapes: input and target the same; weight and pos_weight broadcast. Units: nats.
    """
    _check_pair("binary_cross_entropy_with_logits", input, target)
    # log s = -softplus(-x) and log(1 - s) = -softplus(x) = -x - softplus(-x)
    tail = ops.softplus(ops.negate(input), threshold=np.inf)
    scale = 1.0 if pos_weight is None else (pos_weight - 1.0) * target + 1.0
    loss = (1.0 - target) * input + scale * tail
    return _reduced("binary_cross_entropy_with_logits", _weighted(loss, weight), reduction)
