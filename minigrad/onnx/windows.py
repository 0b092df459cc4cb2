"""Converters of sliding windows: convolutions, locally connected layers, pooling and its inverse."""

import math
from typing import Any, NamedTuple

import numpy as np

from minigrad.onnx.graph import Graph, Value, converts
from minigrad.onnx.shapes import flipped, padded
from minigrad.ops.correlation import Axes
from minigrad.ops.geometry import Axis
from minigrad.ops.pool import Span, Spans


def _end(axis: Axis) -> int:
    """The padding that the last window needs behind the input: no more, so that rounding down gives all windows."""
    return max(0, (axis.out - 1) * axis.stride + axis.span - axis.size - axis.before)


def _window(axes: Axes) -> dict[str, Any]:
    return {
        "kernel_shape": [a.window for a in axes],
        "strides": [a.stride for a in axes],
        "dilations": [a.dilation for a in axes],
        "pads": [a.before for a in axes] + [_end(a) for a in axes],
    }


@converts("conv1d", "conv2d", "conv2d_relu", "conv2d_relu_max_pool2d")
def conv(g: Graph, x: Value, w: Value, b: Value | None = None, *, axes: Axes, groups: int = 1) -> Any:
    y = g.add("Conv", x, w, b, **_window(axes), group=groups)
    if "relu" in g.op:
        y = g.add("Relu", y)
    return g.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]) if "pool" in g.op else y


@converts("convolve1d", "convolve2d")
def convolve(g: Graph, x: Value, w: Value, *, axes: Axes) -> Any:
    return g.add("Conv", x, flipped(g, w, tuple(range(2, len(w.shape)))), **_window(axes))


@converts("conv1x1")
def conv1x1(g: Graph, x: Value, w: Value, b: Value | None = None) -> Any:
    return g.add("Conv", x, g.add("Unsqueeze", w, g.constant(range(2, len(x.shape)))), b)


@converts("conv_transpose1d", "conv_transpose2d")
def conv_transpose(g: Graph, x: Value, w: Value, *, axes: Axes, groups: int = 1) -> Any:
    # What the windows cover beyond the result is cut off at its end, or what they lack is added there.
    beyond = [(a.out - 1) * a.stride + a.span - a.before - a.size for a in axes]
    settings = _window(axes) | {"pads": [a.before for a in axes] + [max(n, 0) for n in beyond]}
    return g.add("ConvTranspose", x, w, **settings, output_padding=[max(-n, 0) for n in beyond], group=groups)


@converts("locally_connected1d", "locally_connected2d")
def locally_connected(g: Graph, x: Value, w: Value, *, axes: Axes) -> Any:
    """Each window's cells are gathered: (N, C, OH, FH, OW, FW) by (OH, OW, K, C, FH, FW)."""
    y = padded(g, x, [(0, 0), (0, 0), *((a.before, _end(a)) for a in axes)], 0, x.dtype)
    for i, axis in enumerate(axes):
        cells = np.add.outer(np.arange(axis.out) * axis.stride, np.arange(axis.window) * axis.dilation)
        y = g.add("Gather", y, g.constant(cells), axis=2 + 2 * i)
    equation = "ncau,akcu->nka" if len(axes) == 1 else "ncaubv,abkcuv->nkab"
    return g.add("Einsum", y, w, equation=equation)


@converts("max_pool1d", "max_pool2d")
def max_pool(g: Graph, x: Value, *, axes: Axes) -> Any:
    """The second output is, other than the op's, where in its plane each winner stands."""
    settings = _window(axes)
    if all(max(a.before, _end(a)) < a.window for a in axes):
        y, places = g.add("MaxPool", x, outputs=2, **settings)
        return y, g.add("Mod", places, g.constant(math.prod(a.size for a in axes)))  # ONNX counts through all planes
    # With dilation there may be more padding than MaxPool takes.
    around = [(a.before, _end(a)) for a in axes]
    whole = padded(g, x, [(0, 0), (0, 0), *around], -np.inf, x.dtype)
    y, places = g.add("MaxPool", whole, outputs=2, **settings | {"pads": [0] * 2 * len(axes)})
    sizes = [a.size + a.before + _end(a) for a in axes]
    step, index = math.prod(sizes), g.constant(0)
    for axis, size in zip(axes, sizes, strict=True):
        cell = g.add("Div", g.add("Mod", places, g.constant(step)), g.constant(step // size))
        inside = g.add("Sub", cell, g.constant(axis.before))
        index, step = g.add("Add", g.add("Mul", index, g.constant(axis.size)), inside), step // size
    return y, index


@converts("winner_indices")
def winner_indices(g: Graph, places: Value, *, axes: Axes) -> Any:
    return g.add("Identity", places)


def _flat(g: Graph, x: Value) -> str:
    """Planes as rows: (N, C, cells)."""
    return g.reshape(x, (*x.shape[:2], math.prod(g.fixed(x.shape[2:]))), x.shape)


@converts("keep_last")
def keep_last(g: Graph, x: Value, indices: Value, *, sizes: tuple[int, ...]) -> Any:
    """Each cell is given the greatest number of those who have its index; who finds another there gives way."""
    flat, lead = _flat(g, indices), indices.shape[:2]
    count = math.prod(g.fixed(indices.shape[2:]))
    numbers = g.add("Expand", g.constant(range(count)), g.sizes((*lead, count)))
    cells = g.add("Expand", g.constant(-1), g.sizes((*lead, math.prod(sizes))))
    last = g.add("ScatterElements", cells, flat, numbers, axis=2, reduction="max")
    is_last = g.add("Equal", g.add("GatherElements", last, flat, axis=2), numbers)
    kept = g.add("Where", is_last, _flat(g, x), g.constant(0, x.dtype))
    return g.reshape(kept, x.shape, x.shape[:1])


@converts("max_unpool1d", "max_unpool2d")
def max_unpool(g: Graph, x: Value, indices: Value, *, sizes: tuple[int, ...]) -> Any:
    zeros = g.add("Expand", g.constant(0, x.dtype), g.sizes((*x.shape[:2], math.prod(sizes))))
    y = g.add("ScatterElements", zeros, _flat(g, indices), _flat(g, x), axis=2, reduction="add")
    return g.reshape(y, (*x.shape[:2], *sizes), x.shape[:2])


@converts("max_pick1d", "max_pick2d")
def max_pick(g: Graph, x: Value, indices: Value) -> Any:
    y = g.add("GatherElements", _flat(g, x), _flat(g, indices), axis=2)
    return g.reshape(y, indices.shape, indices.shape[:2])


@converts("avg_pool1d", "avg_pool2d")
def avg_pool(g: Graph, x: Value, *, spans: Spans) -> Any:
    """As AveragePool where windows are regular, else as products with matrices of shares (OH, H) and (OW, W)."""
    if all(len(s.starts) == 1 and s.stops[0] - s.starts[0] == s.counts[0] == s.size for s in spans):
        return g.add("ReduceMean", x, g.constant(range(2, len(x.shape))))
    windows = [_regular(span) for span in spans]
    for counts_padding in (1, 0):
        fitting = [w for w in windows if w is not None and w.counts[counts_padding]]
        if len(fitting) == len(spans) and x.dtype == np.float32:
            return g.add(
                "AveragePool",
                x,
                kernel_shape=[w.window for w in fitting],
                strides=[w.stride for w in fitting],
                pads=[w.before for w in fitting] + [w.after for w in fitting],
                count_include_pad=counts_padding,
            )
    y = g.add("MatMul", x, g.constant(_shares(spans[-1]).T, x.dtype))
    return y if len(spans) == 1 else g.add("MatMul", g.constant(_shares(spans[0]), x.dtype), y)


class _Window(NamedTuple):
    """A window that slides as AveragePool's does, and whether its counts are without padding, and with it."""

    window: int
    stride: int
    before: int
    after: int
    counts: tuple[bool, bool]


def _regular(span: Span) -> _Window | None:
    """The window behind the spans, if there is one."""
    lengths, numbers = span.stops - span.starts, np.arange(len(span.starts))
    window = int(lengths.max())
    whole = int(lengths.argmax())
    stride = max(int(np.diff(span.starts).max(initial=1)), int(np.diff(span.stops).max(initial=1)))
    first = span.starts[whole] + (numbers - whole) * stride
    before, after = -int(first[0]), max(0, int(first[-1]) + window - span.size)
    is_regular = (
        0 <= before < window > after
        and np.array_equal(span.starts, np.maximum(first, 0))
        and np.array_equal(span.stops, np.minimum(first + window, span.size))
        and (span.size + before + after - window) // stride + 1 == len(first)
    )
    if not is_regular:
        return None
    counts = bool((span.counts == lengths).all()), bool((span.counts == window).all())
    return _Window(window, stride, before, after, counts)


def _shares(span: Span) -> np.ndarray:
    """What part each cell has in each window's mean: (windows, cells)."""
    cells = np.arange(span.size)
    inside = (span.starts[:, None] <= cells) & (cells < span.stops[:, None])
    return inside / span.counts[:, None]
