"""Pooling: the largest or the mean value of each window, in 1-D and 2-D.

Max pooling and unpooling by the same winners are each other's derivatives; so are average pooling and its transpose.
"""

import functools
import math
from typing import Any

import numpy as np

from minigrad.kernels import average, pool as kernels
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import parts
from minigrad.op import Array, Op, constant, normalised, op
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.conv import SPATIAL
from minigrad.ops.correlation import Axes
from minigrad.ops.elementwise import where
from minigrad.ops.geometry import Axis, plane
from minigrad.ops.memory import allocate


class Span:
    """Averaging windows along one axis: each covers [start, stop) of the input's cells and counts for `count`.

    Neither the starts nor the stops fall from one window to the next. Checked here, once: kernels follow them into
    memory. `axis` is what they were made of, if they are windows of one size.
    """

    __slots__ = ("axis", "counts", "regular", "size", "starts", "stops")

    def __init__(self, size: int, starts: np.ndarray, stops: np.ndarray, counts: np.ndarray, axis: Axis | None = None):
        arrays = starts, stops, counts
        if any(t.ndim != 1 or t.dtype != np.int64 or len(t) != len(starts) or not len(t) for t in arrays):
            raise ValueError("span: need starts, stops and counts as int64 arrays of one length, at least 1")
        if not (starts.min() >= 0 and stops.max() <= size and (starts <= stops).all()):
            raise ValueError(f"span: need windows within [0, {size})")
        if (np.diff(starts) < 0).any() or (np.diff(stops) < 0).any():
            raise ValueError("span: need windows in order")
        self.size, self.axis = size, axis
        self.starts, self.stops, self.counts = (t.copy() for t in arrays)
        self.regular = _regular(starts, stops)


def _regular(starts: np.ndarray, stops: np.ndarray) -> tuple[int, int, int, int]:
    """(first, last, step, width): the windows [first, last) are `step` apart and as wide as the widest."""
    width = int((stops - starts).max())
    widest = np.flatnonzero(stops - starts == width)
    first, last = int(widest[0]), int(widest[-1]) + 1
    steps = np.diff(starts[first:last])
    if len(widest) != last - first or (steps != steps[:1]).any():
        return 0, 0, 0, 0
    return first, last, int(steps[0]) if len(steps) else 1, width


Spans = tuple[Span, ...]
_ROW = Span(1, np.array([0]), np.array([1]), np.array([1]))


@functools.lru_cache(maxsize=1024)
def _tables(spans: Spans, dtype: Any) -> tuple[np.ndarray, ...]:
    """The spans of height and width as the kernels take them."""
    height, width = spans if len(spans) == 2 else (_ROW, *spans)
    if all(len(s.starts) == 1 and s.starts[0] == 0 and s.stops[0] == s.size for s in (height, width)):
        height, width = _ROW, _one_row(height, width)
    rows, columns = (
        height.counts.astype(dtype),
        np.pad(width.counts.astype(dtype), (0, VECTOR_BYTES), constant_values=1),
    )
    shape = np.array([height.size, width.size, *width.regular])
    return shape, height.starts, height.stops, rows, width.starts, width.stops, columns


def _one_row(height: Span, width: Span) -> Span:
    """One window over all of a plane, as one over a single long row."""
    size = height.size * width.size
    return Span(size, np.array([0]), np.array([size]), height.counts * width.counts)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[0] * x.shape[1], math.prod(x.shape[2:]))


def _check(name: str, x: np.ndarray, sizes: tuple[int, ...]) -> None:
    one_float_dtype(name, x)
    if x.ndim != len(sizes) + 2 or x.shape[2:] != sizes:
        raise ValueError(f"{name}: need (N, C, {SPATIAL[len(sizes)]}) with sizes {sizes}, got {x.shape}")


def check_winners(name: str, winners: np.ndarray, sizes: tuple[int, ...]) -> None:
    """Kernels follow these into memory."""
    if winners.dtype.newbyteorder("=") != np.int64:
        raise TypeError(f"{name}: need indices as int64, got {winners.dtype}")
    cells = math.prod(sizes)
    if winners.size and not (winners.min() >= 0 and winners.max() < cells):
        got = f"{winners.min()} to {winners.max()}"
        raise ValueError(f"{name}: need indices in [0, {cells}) for sizes {sizes}, got {got}")


@functools.lru_cache(maxsize=1024)
def _check_seen(name: str, axes: Axes) -> None:
    """Every max-pooling window must see a cell of the input: with dilation, all of its cells may lie in the padding."""
    for axis in axes:
        start = np.arange(axis.out) * axis.stride - axis.before
        first = np.where(start < 0, start % axis.dilation, start)  # the first of its cells that is not before the input
        unseen = np.flatnonzero((first >= axis.size) | (first >= start + axis.span))
        if unseen.size:
            raise ValueError(
                f"{name}: window {unseen[0]} of {axis.out} sees only padding: size {axis.size}, kernel_size "
                f"{axis.window}, stride {axis.stride}, padding ({axis.before}, {axis.after}), dilation {axis.dilation}"
            )


def _check_rank(name: str, spans: Spans, rank: int) -> None:
    if len(spans) != rank:
        raise ValueError(f"{name}: need {rank} spans, got {len(spans)}")


@functools.lru_cache(maxsize=1024)
def _origins(axes: Axes) -> np.ndarray:
    """Where in its plane each window's first cell lies, or would lie if it is in the padding: (OH, OW) or (OL)."""
    steps, origin = (1,) if len(axes) == 1 else (axes[1].size, 1), np.zeros(1, np.int64)
    for axis, step in zip(axes, steps, strict=True):
        origin = np.add.outer(origin, (np.arange(axis.out) * axis.stride - axis.before) * step)
    return origin[0]


@op
def winner_indices(places: Array, *, axes: Axes) -> Any:
    """Where in its plane each winner of max pooling stands, from its place in its window"""
    steps = (axes[0].dilation,) if len(axes) == 1 else (axes[0].dilation * axes[1].size, axes[1].dilation)
    offsets = np.zeros(1, np.int64)
    for axis, step in zip(axes, steps, strict=True):
        offsets = np.add.outer(offsets, np.arange(axis.window) * step)
    return _origins(axes) + offsets.reshape(-1)[places], ()


@op
def keep_last(x: Array, indices: Array, *, sizes: tuple[int, ...]) -> Any:
    """x, with zeros where a later value of the plane has the same index: of those the last one counts, as in PyTorch"""
    if x.ndim < 3 or x.shape != indices.shape:
        raise ValueError(f"keep_last: need values and indices of one shape (N, C, ...), got {x.shape}, {indices.shape}")
    check_winners("keep_last", indices, sizes)
    cells, planes = math.prod(sizes), math.prod(indices.shape[:2])
    cell = (np.arange(planes).reshape(*indices.shape[:2], *(1,) * (indices.ndim - 2)) * cells + indices).ravel()
    order, last = np.arange(cell.size), np.empty(planes * cells, np.int64)
    last[cell] = order  # of equal indices the last assignment stays
    is_last = (last[cell] == order).reshape(indices.shape)
    return x if is_last.all() else np.where(is_last, x, x.dtype.type(0)), (is_last,)


@keep_last.vjp
def keep_last_vjp(dy: Array, is_last: np.ndarray) -> Any:
    return dy if is_last.all() else where(is_last, dy, 0.0), None


def _max_family(rank: int) -> tuple[Op[Any], Op[Any], Op[Any]]:
    pool_name, unpool_name, pick_name = f"max_pool{rank}d", f"max_unpool{rank}d", f"max_pick{rank}d"

    @op(name=pool_name)
    def pool(x: Array, *, axes: Axes) -> Any:
        """(y, places): the largest value of each window, and where in the window it stood

        The first one wins a tie, a NaN wins over numbers. Places are bytes if windows have at most 256 cells.
        """
        _check(pool_name, x, tuple(a.size for a in axes))
        _check_seen(pool_name, axes)
        planes, cells = x.shape[0] * x.shape[1], math.prod(a.window for a in axes)
        y = allocate((*x.shape[:2], *(a.out for a in axes)), x.dtype)
        places = allocate(y.shape, np.uint8 if cells <= kernels.MOST_PLACES else np.int32)
        threads = parts(planes, x.size // 2 + y.size * cells // 4)
        kernels.max_pool_forward(threads, planes, x.reshape(-1), plane(axes), y.reshape(-1), places.reshape(-1))
        return (y, places), (constant(places), axes)

    @pool.vjp
    def pool_vjp(dys: tuple[Array, ...], places: Array, axes: Axes) -> Any:
        """Arrays go where their places say; tensors by an op that can be differentiated."""
        dy, sizes = dys[0], tuple(a.size for a in axes)
        if not isinstance(dy, np.ndarray):
            return unpool(dy, winner_indices(places, axes=axes), sizes=sizes)
        dy = normalised(pool_name, dy)
        dx = allocate((*dy.shape[:2], *sizes), dy.dtype)
        planes = dy.shape[0] * dy.shape[1]
        threads = parts(planes, dx.size // 2)
        kernels.max_pool_backward(threads, planes, dy.reshape(-1), plane(axes), places.reshape(-1), dx.reshape(-1))
        return dx

    @op(name=unpool_name)
    def unpool(dy: Array, winners: Array, *, sizes: tuple[int, ...]) -> Any:
        """Zeros of `sizes` with each dy added where its winner stood"""
        one_float_dtype(unpool_name, dy)
        if dy.ndim != rank + 2 or winners.shape != dy.shape:
            raise ValueError(f"{unpool_name}: need values and indices of one shape, got {dy.shape} and {winners.shape}")
        if len(sizes) != rank or min(sizes) < 1:
            raise ValueError(f"{unpool_name}: need {rank} sizes of at least 1, got {sizes}")
        check_winners(unpool_name, winners, sizes)
        dx = allocate((*dy.shape[:2], *sizes), dy.dtype)
        flat = _flat(dx)
        kernels.unpool_winners(parts(len(flat), dx.size), len(flat), _flat(dy), _flat(winners), flat)
        return dx, (winners,)

    @unpool.vjp
    def unpool_vjp(dy: Array, winners: Array) -> Any:
        return pick(dy, winners), None

    @op(name=pick_name)
    def pick(x: Array, winners: Array) -> Any:
        """The values of x where the winners stood: the transpose of unpooling"""
        one_float_dtype(pick_name, x)
        if x.ndim != rank + 2 or winners.ndim != x.ndim or winners.shape[:2] != x.shape[:2]:
            raise ValueError(f"{pick_name}: need input and indices of one N and C, got {x.shape} and {winners.shape}")
        check_winners(pick_name, winners, x.shape[2:])
        y = allocate(winners.shape, x.dtype)
        flat = _flat(y)
        kernels.pick_winners(parts(len(flat), y.size), len(flat), _flat(x), _flat(winners), flat)
        return y, (winners, x.shape[2:])

    @pick.vjp
    def pick_vjp(dy: Array, winners: Array, sizes: tuple[int, ...]) -> Any:
        return unpool(dy, winners, sizes=sizes), None

    return pool, unpool, pick


def _average_family(rank: int) -> tuple[Op[Any], Op[Any]]:
    pool_name, transpose_name = f"avg_pool{rank}d", f"avg_pool_transpose{rank}d"

    @op(name=pool_name)
    def pool(x: Array, *, spans: Spans) -> Any:
        """The sum of each window's cells, divided by its count"""
        _check_rank(pool_name, spans, rank)
        _check(pool_name, x, tuple(s.size for s in spans))
        y = allocate((*x.shape[:2], *(len(s.starts) for s in spans)), x.dtype)
        planes, threads = x.shape[0] * x.shape[1], parts(x.shape[0] * x.shape[1], x.size // 2)
        average.average_pool_forward(threads, planes, x.reshape(-1), *_tables(spans, x.dtype), y.reshape(-1))
        return y, (spans,)

    @pool.vjp
    def pool_vjp(dy: Array, spans: Spans) -> Any:
        return transpose(dy, spans=spans)

    @op(name=transpose_name)
    def transpose(dy: Array, *, spans: Spans) -> Any:
        """Each dy shared out evenly over its window: the transpose of average pooling"""
        _check_rank(transpose_name, spans, rank)
        _check(transpose_name, dy, tuple(len(s.starts) for s in spans))
        dx = allocate((*dy.shape[:2], *(s.size for s in spans)), dy.dtype)
        planes, threads = dy.shape[0] * dy.shape[1], parts(dy.shape[0] * dy.shape[1], dx.size // 2)
        average.average_pool_backward(threads, planes, dy.reshape(-1), *_tables(spans, dy.dtype), dx.reshape(-1))
        return dx, (spans,)

    @transpose.vjp
    def transpose_vjp(dy: Array, spans: Spans) -> Any:
        return pool(dy, spans=spans)

    return pool, transpose


max_pool1d, max_unpool1d, max_pick1d = _max_family(1)
max_pool2d, max_unpool2d, max_pick2d = _max_family(2)
avg_pool1d, avg_pool_transpose1d = _average_family(1)
avg_pool2d, avg_pool_transpose2d = _average_family(2)
MAX_POOL = {1: max_pool1d, 2: max_pool2d}
MAX_UNPOOL = {1: max_unpool1d, 2: max_unpool2d}
AVG_POOL = {1: avg_pool1d, 2: avg_pool2d}
