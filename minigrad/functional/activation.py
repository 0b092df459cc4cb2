"""The nonlinear functions between layers, and dropout."""

import math
from typing import Any

from minigrad import ops, random
from minigrad.functional.arguments import takes_arrays
from minigrad.op import Array
from minigrad.ops.checks import one_float_dtype
from minigrad.shards import sharded


@takes_arrays
def relu(input: Array) -> Any:
    """max(x, 0), elementwise; its derivative at 0 is 0."""
    return ops.relu(input)


@takes_arrays
def leaky_relu(input: Array, negative_slope: float = 0.01) -> Any:
    """x where positive, else negative_slope x. Source: Maas, Hannun and Ng, "Rectifier nonlinearities", 2013."""
    return ops.leaky_relu(input, negative_slope=negative_slope)


@takes_arrays
def elu(input: Array, alpha: float = 1.0) -> Any:
    """x where positive, else alpha (e^x - 1). Source: Clevert, Unterthiner and Hochreiter, 2015."""
    return ops.elu(input, alpha=alpha)


@takes_arrays
def gelu(input: Array, approximate: str = "none") -> Any:
    """x Phi(x) with the normal distribution's Phi, or its approximation by 'tanh'.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: need approximate 'none' or 'tanh', got {approximate!r}")
    return ops.gelu(input) if approximate == "none" else ops.gelu_by_tanh(input)


@takes_arrays
def silu(input: Array) -> Any:
    """x / (1 + e^-x), elementwise."""
    return ops.silu(input)


@takes_arrays
def softplus(input: Array, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^(beta x)) / beta, and x itself where beta x > threshold."""
    return ops.softplus(input, beta=beta, threshold=threshold)


@takes_arrays
def tanh(input: Array) -> Any:
    """(e^x - e^-x) / (e^x + e^-x), elementwise."""
    return ops.tanh(input)


@takes_arrays
def sigmoid(input: Array) -> Any:
    """1 / (1 + e^-x), elementwise."""
    return ops.sigmoid(input)


@takes_arrays
def softmax(input: Array, dim: int) -> Any:
    """e^x / sum(e^x) along one dimension."""
    return ops.softmax(input, dim=dim)


@takes_arrays
def log_softmax(input: Array, dim: int) -> Any:
    """x - log(sum(e^x)) along one dimension, without overflow."""
    return ops.log_softmax(input, dim=dim)


def _dropout(name: str, input: Array, inner: int, p: float, training: bool) -> Any:
    one_float_dtype(name, input)
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: need 0 <= p <= 1, got {p}")
    if not training or p == 0:
        return input
    key, shard = random.key(), sharded.get()
    if shard is not None:  # whether a value is kept depends on its place in the whole batch
        held = shard.held
        of_each_sample = math.prod(input.shape) // inner // (held.stop - held.start)
        key = ops.key_at(key, held.start * of_each_sample)
    return ops.dropout(input, key=key, p=float(p), inner=inner)


@takes_arrays
def dropout(input: Array, p: float = 0.5, training: bool = True) -> Any:
    """Zero each value with probability p and divide the others by 1 - p; nothing when not training.

    Source: Srivastava and others, "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """
    return _dropout("dropout", input, 1, p, training)


@takes_arrays
def dropout2d(input: Array, p: float = 0.5, training: bool = True) -> Any:
    """Zero each channel of each sample with probability p and divide the others by 1 - p.

    Shapes: input (N, C, ...). Source: Tompson and others, "Efficient object localization", 2015.
    """
    if len(input.shape) < 2:
        raise ValueError(f"dropout2d: need input (N, C, ...), got {tuple(input.shape)}")
    return _dropout("dropout2d", input, max(math.prod(input.shape[2:]), 1), p, training)
