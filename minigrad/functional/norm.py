"""Normalisation: batch, layer and group norm."""

import math
from collections.abc import Sequence
from typing import Any

from minigrad import ops
from minigrad.functional.arguments import takes_arrays
from minigrad.kinds import several
from minigrad.op import Array
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.geometry import integer
from minigrad.shards import sharded
from minigrad.tape import Variable, plain


def _affine(y: Array, weight: Array | None, bias: Array | None, shape: tuple[int, ...]) -> Any:
    if weight is not None:
        y = y * ops.reshape(weight, shape=shape)
    return y if bias is None else y + ops.reshape(bias, shape=shape)


def _check(name: str, input: Array, shape: tuple[int, ...], **arrays: Array | None) -> None:
    one_float_dtype(name, input, *arrays.values())
    for what, array in arrays.items():
        if array is not None and tuple(array.shape) != shape:
            raise ValueError(f"{name}: need {what} {shape}, got {tuple(array.shape)}")


@takes_arrays
def batch_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """weight (x - mean) / sqrt(var + eps) + bias, per channel.

    In training, mean and (biased) variance are the batch's, over all but the channels, and the running ones move
    towards them, in place: r <- (1 - momentum) r + momentum s, with the unbiased variance. Otherwise they are used.
    Of a batch that several processes share (`mg.distributed`), they are those of the whole batch.

    Shapes: input (N, C, ...), all others (C). Raises: ValueError for a channel with a single value in training.
    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """
    if len(input.shape) < 2:
        raise ValueError(f"batch_norm: need input (N, C, ...), got {tuple(input.shape)}")
    channels = input.shape[1]
    statistics = {"running_mean": running_mean, "running_var": running_var}
    _check("batch_norm", input, (channels,), weight=weight, bias=bias, **statistics)
    shape = (1, channels, *(1,) * (len(input.shape) - 2))
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: need running_mean and running_var when not training")
        scale = ops.divide(1.0 if weight is None else weight, ops.sqrt(running_var + eps))
        shift = ops.negate(running_mean) * scale
        shift = shift if bias is None else shift + bias
        return input * ops.reshape(scale, shape=shape) + ops.reshape(shift, shape=shape)
    shard = sharded.get()
    samples = input.shape[0] if shard is None else shard.samples
    for running in statistics.values():
        if running is not None and not plain(running).flags.writeable:
            raise ValueError("batch_norm: running_mean and running_var are changed in training, got a read-only array")
    count = samples * math.prod(input.shape[2:]) if channels else 0
    if count == 1:
        raise ValueError(f"batch_norm: need more than one value per channel in training, got {tuple(input.shape)}")
    y, mean, variance = ops.batch_norm(input, weight, bias, eps=eps)
    if count:
        _update(running_mean, mean, momentum)
        _update(running_var, variance, momentum, count / (count - 1))
    return y


def _update(running: Array | None, value: Array, momentum: float, factor: float = 1.0) -> None:
    """Move a running statistic, in place, towards the batch's."""
    if running is None:
        return
    old, new = plain(running), plain(value)
    moved = old * (1 - momentum) + new * (momentum * factor)
    if isinstance(running, Variable):
        running.copy_(moved)  # type: ignore[attr-defined]
    else:
        running[...] = moved


@takes_arrays
def layer_norm(
    input: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Any:
    """weight (x - mean) / sqrt(var + eps) + bias, with mean and variance over the last dimensions of each sample.

    Shapes: input (..., *normalized_shape), weight and bias normalized_shape.
    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.
    """
    given = several("layer_norm", "normalized_shape", normalized_shape)
    shape = tuple(integer("layer_norm", "normalized_shape", size, 0) for size in given)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise ValueError(f"layer_norm: need input (..., {', '.join(map(str, shape))}), got {tuple(input.shape)}")
    _check("layer_norm", input, shape, weight=weight, bias=bias)
    dims = tuple(range(len(input.shape) - len(shape), len(input.shape)))
    return _affine(ops.normalize(input, dims=dims, eps=eps)[0], weight, bias, shape)


@takes_arrays
def group_norm(
    input: Array, num_groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Any:
    """weight (x - mean) / sqrt(var + eps) + bias, with mean and variance over each group of channels of each sample.

    Shapes: input (N, C, ...), weight and bias (C). Source: Wu and He, "Group normalization", 2018.
    """
    num_groups = integer("group_norm", "num_groups", num_groups, 1)
    if len(input.shape) < 2 or input.shape[1] % num_groups:
        raise ValueError(
            f"group_norm: need input (N, C, ...) with C divisible by {num_groups}, got {tuple(input.shape)}"
        )
    channels = input.shape[1]
    _check("group_norm", input, (channels,), weight=weight, bias=bias)
    rest = math.prod(input.shape[1:]) // num_groups
    y, _, _ = ops.normalize(ops.reshape(input, shape=(input.shape[0], num_groups, rest)), dims=(2,), eps=eps)
    return _affine(
        ops.reshape(y, shape=tuple(input.shape)), weight, bias, (1, channels, *(1,) * (len(input.shape) - 2))
    )
