"""Converters of ops that move values: shapes, order, padding, joining, indexing."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.onnx.batch import Batch, Shape
from minigrad.onnx.graph import Graph, Value, converts
from minigrad.ops.dims import Dims, normal_dim, normal_dims

_FIRST, _LAST = -(2**63), 2**63 - 1  # as ends of a slice: beyond either end


@converts("reshape")
def reshape(g: Graph, x: Value, *, shape: Sequence[Any]) -> Any:
    return g.reshape(x, g.shape, x.shape)


@converts("expand")
def expand(g: Graph, x: Value, *, shape: Sequence[Any]) -> Any:
    return g.add("Expand", x, g.sizes(g.shape))


@converts("permute")
def permute(g: Graph, x: Value, *, dims: Sequence[int]) -> Any:
    order = [normal_dim("permute", dim, len(x.shape)) for dim in dims]
    return g.add("Transpose", x, perm=order) if order else g.add("Identity", x)


@converts("pad")
def pad(g: Graph, x: Value, *, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    return padded(g, x, widths, value, x.dtype) if widths else g.add("Identity", x)


def padded(g: Graph, x: str, widths: Sequence[tuple[int, int]], value: float, dtype: Any) -> Any:
    """x with (before, after) values around each dimension."""
    pads = [before for before, _ in widths] + [after for _, after in widths]
    return g.add("Pad", x, g.constant(pads), g.constant(value, dtype))


@converts("flip")
def flip(g: Graph, x: Value, *, dims: Dims) -> Any:
    return flipped(g, x, normal_dims("flip", dims, len(x.shape)))


def flipped(g: Graph, x: str, dims: tuple[int, ...]) -> Any:
    """x in reverse order along some dimensions."""
    return _sliced(g, x, {dim: slice(None, None, -1) for dim in dims})


def _sliced(g: Graph, x: str, slices: dict[int, slice]) -> Any:
    """x[slice] along some dimensions."""
    if not slices:
        return x
    starts, ends, steps = [], [], []
    for part in slices.values():
        step = 1 if part.step is None else part.step
        starts.append((0 if step > 0 else _LAST) if part.start is None else part.start)
        ends.append((_LAST if step > 0 else _FIRST) if part.stop is None else part.stop)
        steps.append(step)
    return g.add("Slice", x, g.sizes(starts), g.sizes(ends), g.constant(list(slices)), g.constant(steps))


@converts("roll")
def roll(g: Graph, x: Value, *, shifts: Any, dims: Any = None) -> Any:
    if dims is None:
        size = math.prod(g.fixed(x.shape))
        return g.reshape(_rolled(g, g.reshape(x, (size,)), int(np.sum(shifts)), 0, size), x.shape)
    y: str = x
    for shift, dim in np.broadcast(shifts, dims):
        (size,) = g.fixed([x.shape[dim]])
        y = _rolled(g, y, int(shift), int(dim), size)
    return g.add("Identity", y)


def _rolled(g: Graph, x: str, shift: int, dim: int, size: int) -> Any:
    at = size - shift % size if size else 0
    return g.add("Concat", _sliced(g, x, {dim: slice(at, None)}), _sliced(g, x, {dim: slice(0, at)}), axis=dim)


@converts("concatenate")
def concatenate(g: Graph, *xs: Value, dim: int) -> Any:
    return g.add("Concat", *xs, axis=dim)


@converts("take")
def take(g: Graph, x: Value, indices: Value) -> Any:
    return g.add("Gather", x, g.cast(indices, np.int64))


@converts("take_along")
def take_along(g: Graph, x: Value, indices: Value, *, dim: int) -> Any:
    return g.add("GatherElements", x, g.cast(indices, np.int64), axis=dim)


@converts("getitem")
def getitem(g: Graph, x: Value, *, index: Any) -> Any:
    parts = _spelt_out(g, index if isinstance(index, tuple) else (index,), len(x.shape))
    where = [i for i, part in enumerate(parts) if isinstance(part, np.ndarray)]
    has_arrays = any(parts[i].ndim for i in where)
    axes, picked = _axes(parts), str(x)
    if has_arrays:
        if where != list(range(where[0], where[-1] + 1)):
            g.refuse("has index arrays with other dimensions between them")
        picked = _picked(g, x, x.shape, axes[where[0]], [parts[i] for i in where])
        block = np.broadcast_shapes(*(parts[i].shape for i in where))
        parts[where[0] : where[-1] + 1] = [slice(None)] * len(block)
        axes = _axes(parts)
    slices = {axes[i]: p for i, p in enumerate(parts) if isinstance(p, slice) and p != slice(None)}
    picked = _sliced(g, picked, slices)
    numbers = [(axes[i], p) for i, p in enumerate(parts) if isinstance(p, np.ndarray)]
    for axis, number in reversed(numbers):
        picked = g.add("Gather", picked, g.constant(number), axis=axis)
    left = [p for p in parts if not isinstance(p, np.ndarray)]
    new = [i for i, p in enumerate(left) if p is None]
    return g.add("Unsqueeze", picked, g.constant(new)) if new else g.add("Identity", picked)


def _spelt_out(g: Graph, index: tuple[Any, ...], ndim: int) -> list[Any]:
    """An index with a slice, an array of integers, or None (a new dimension) for each part; `...` as slices."""
    parts: list[Any] = []
    for part in index:
        if isinstance(part, (bool, Batch)):
            g.refuse(f"has {part} as an index")
        if isinstance(part, np.ndarray) and part.dtype.kind == "b":
            parts.extend(part.nonzero())
        else:
            parts.append(np.asarray(part) if isinstance(part, int) else part)
    known = sum(part is not None and part is not Ellipsis for part in parts)
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    return [*parts[:at], *[slice(None)] * (ndim - known), *parts[at + 1 :]]


def _axes(parts: list[Any]) -> list[int]:
    """Which dimension each part of an index is about."""
    return [i - sum(part is None for part in parts[:i]) for i in range(len(parts))]


def _picked(g: Graph, x: str, shape: Shape, first: int, indices: list[np.ndarray]) -> Any:
    """x at places of several dimensions, which are made one."""
    if len(indices) == 1:
        return g.add("Gather", x, g.constant(indices[0]), axis=first)
    sizes = g.fixed(shape[first : first + len(indices)])
    whole = tuple(np.where(i < 0, i + n, i) for i, n in zip(indices, sizes, strict=True))
    places = np.ravel_multi_index(np.broadcast_arrays(*whole), sizes)
    merged = (*shape[:first], math.prod(sizes), *shape[first + len(indices) :])
    return g.add("Gather", g.reshape(x, merged, shape[:first]), g.constant(places), axis=first)
