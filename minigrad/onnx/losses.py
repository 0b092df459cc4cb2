"""Converters of the losses that are ops of their own."""

from typing import Any

import numpy as np

from minigrad.onnx.elementwise import log1p
from minigrad.onnx.graph import Graph, Value, converts


@converts("binary_cross_entropy")
def binary_cross_entropy(g: Graph, p: Value, t: Value) -> Any:
    p_name, t_name, least = g.cast(p, g.dtype), g.cast(t, g.dtype), g.constant(-100, g.dtype)
    yes = g.add("Max", g.add("Log", p_name), least)
    no = g.add("Max", log1p(g, g.add("Neg", p_name), g.dtype), least)
    rest = g.add("Sub", t_name, g.constant(1, g.dtype))
    return g.add("Sub", g.add("Mul", rest, no), g.add("Mul", t_name, yes))


@converts("cross_entropy")
def cross_entropy(
    g: Graph,
    x: Value,
    labels: Value,
    weights: Value | None = None,
    *,
    ignored: int = -100,
    mean: bool = True,
    smoothing: float = 0.0,
) -> Any:
    dtype, (classes,) = x.dtype, g.fixed(x.shape[1:2])
    zero, second = g.constant(0, dtype), g.constant([1])
    table = g.constant(np.ones(classes), dtype) if weights is None else weights
    kept = g.add("Not", g.add("Equal", labels, g.constant(ignored)))
    safe = g.add("Where", kept, labels, g.constant(0))
    share = g.add("Where", kept, g.add("Gather", table, safe), zero)
    logs = g.add("LogSoftmax", x, axis=1)
    picked = g.add("Squeeze", g.add("GatherElements", logs, g.add("Unsqueeze", safe, second), axis=1), second)
    loss = g.add("Neg", g.add("Mul", g.add("Where", kept, picked, zero), share))
    if smoothing:
        by_class = g.reshape(table, (classes, *(1,) * (len(x.shape) - 2)))
        spread = g.add("ReduceSum", g.add("Mul", logs, by_class), second, keepdims=0)
        spread = g.add("Mul", g.add("Where", kept, spread, zero), g.constant(smoothing / classes, dtype))
        loss = g.add("Sub", g.add("Mul", loss, g.constant(1 - smoothing, dtype)), spread)
    y = g.add("ReduceSum", loss, keepdims=0)
    if mean:
        y = g.add("Div", y, g.add("ReduceSum", share, keepdims=0))
    return y, g.add("Where", g.add("Unsqueeze", kept, second), g.add("Softmax", x, axis=1), zero)
