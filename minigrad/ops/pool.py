"""Pooling: the largest or the mean value of each window, in 1-D and 2-D.

Max pooling and unpooling by the same winners are each other's derivatives; so are average pooling and its transpose.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from minigrad.kernels import pool as kernels
from minigrad.kernels.threads import parts
from minigrad.op import Array, Op, op
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.conv import SPATIAL, Axes
from minigrad.ops.geometry import plane
from minigrad.ops.memory import allocate


class Span(NamedTuple):
    """Averaging windows along one axis: each covers [start, stop) of the input's cells and counts for `count`."""

    size: int
    starts: np.ndarray  # int64, like the others
    stops: np.ndarray
    counts: np.ndarray


Spans = tuple[Span, ...]
_ROW = Span(1, np.array([0]), np.array([1]), np.array([1]))


def _tables(spans: Spans, dtype: Any) -> tuple[np.ndarray, ...]:
    """The spans of height and width as the kernels take them."""
    height, width = spans if len(spans) == 2 else (_ROW, *spans)
    rows, columns = height.counts.astype(dtype), width.counts.astype(dtype)
    return height.starts, height.stops, rows, width.starts, width.stops, columns


def _planes(x: np.ndarray) -> np.ndarray:
    """(N, C, ...) as one plane per channel of each image."""
    height, width = x.shape[-2:] if x.ndim == 4 else (1, x.shape[-1])
    return x.reshape(x.shape[0] * x.shape[1], height, width)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[0] * x.shape[1], math.prod(x.shape[2:]))


def _check(name: str, x: np.ndarray, sizes: tuple[int, ...]) -> None:
    one_float_dtype(name, x)
    if x.ndim != len(sizes) + 2 or x.shape[2:] != sizes:
        raise ValueError(f"{name}: need (N, C, {SPATIAL[len(sizes)]}) with sizes {sizes}, got {x.shape}")


def check_winners(name: str, winners: np.ndarray, sizes: tuple[int, ...]) -> None:
    """Kernels follow these into memory."""
    if winners.dtype != np.int64:
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


def _check_spans(name: str, spans: Spans, rank: int) -> None:
    """Kernels follow these into memory."""
    if len(spans) != rank:
        raise ValueError(f"{name}: need {rank} spans, got {len(spans)}")
    for size, starts, stops, counts in spans:
        if any(t.ndim != 1 or t.dtype != np.int64 or len(t) != len(starts) for t in (starts, stops, counts)):
            raise ValueError(f"{name}: need starts, stops and counts as int64 arrays of one length")
        if len(starts) and not (starts.min() >= 0 and stops.max() <= size and (starts <= stops).all()):
            raise ValueError(f"{name}: need windows within [0, {size})")


def _max_family(rank: int) -> tuple[Op[Any], Op[Any], Op[Any]]:
    pool_name, unpool_name, pick_name = f"max_pool{rank}d", f"max_unpool{rank}d", f"max_pick{rank}d"

    @op(name=pool_name)
    def pool(x: Array, *, axes: Axes) -> Any:
        """(y, winners): the largest value of each window, and where it stood; the first one wins a tie, NaN wins all"""
        _check(pool_name, x, tuple(a.size for a in axes))
        _check_seen(pool_name, axes)
        planes, outs = _planes(x), tuple(a.out for a in axes)
        y = allocate((planes.shape[0], *(1,) * (2 - rank), *outs), x.dtype)
        winners = allocate(y.shape, np.int64)
        work = y.size * math.prod(a.window for a in axes)
        kernels.max_pool_forward(parts(planes.shape[0], work), planes.shape[0], planes, plane(axes), y, winners)
        y, winners = y.reshape(*x.shape[:2], *outs), winners.reshape(*x.shape[:2], *outs)
        return (y, winners), (winners, x.shape[2:])

    @pool.vjp
    def pool_vjp(dys: tuple[Array, ...], winners: Array, sizes: tuple[int, ...]) -> Any:
        return unpool(dys[0], winners, sizes=sizes)

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
        kernels.max_pool_backward(parts(len(flat), dx.size), len(flat), _flat(dy), _flat(winners), flat)
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
        _check_spans(pool_name, spans, rank)
        _check(pool_name, x, tuple(s.size for s in spans))
        planes, tables = _planes(x), _tables(spans, x.dtype)
        y = allocate((len(planes), tables[0].size, tables[3].size), x.dtype)
        kernels.average_pool_forward(parts(len(planes), x.size), len(planes), planes, *tables, y)
        return y.reshape(*x.shape[:2], *(len(s.starts) for s in spans)), (spans,)

    @pool.vjp
    def pool_vjp(dy: Array, spans: Spans) -> Any:
        return transpose(dy, spans=spans)

    @op(name=transpose_name)
    def transpose(dy: Array, *, spans: Spans) -> Any:
        """Each dy shared out evenly over its window: the transpose of average pooling"""
        _check_spans(transpose_name, spans, rank)
        _check(transpose_name, dy, tuple(len(s.starts) for s in spans))
        dx = allocate((*dy.shape[:2], *(s.size for s in spans)), dy.dtype)
        planes = _planes(dx)
        tables = _tables(spans, dy.dtype)
        kernels.average_pool_backward(parts(len(planes), dx.size), len(planes), _planes(dy), *tables, planes)
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
