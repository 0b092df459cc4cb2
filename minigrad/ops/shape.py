"""Ops that move values without changing them: shapes, order, padding, joining, indexing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.dtypes import refuse_mask
from minigrad.kinds import several
from minigrad.op import Array, op
from minigrad.ops.batch import batch_sum
from minigrad.ops.checks import check_arrays
from minigrad.ops.dims import Dims, normal_dim, normal_dims
from minigrad.ops.geometry import LARGEST, integer
from minigrad.ops.scatter import add_over_batch, picks_samples
from minigrad.tape import Variable
from minigrad.trail import begin, notes

_MOST_DIMENSIONS = 32  # with which `np.add.at` does not crash


@op
def reshape(x: Array, *, shape: Sequence[int]) -> Any:
    """The same values in another shape, in row-major order; one size may be -1"""
    if x.ndim > 2 and len(shape) < x.ndim:
        (notes.get() or begin()).append((None, x.shape))
    try:
        return x.reshape(tuple(shape)), (x.shape,)
    except ValueError:
        raise ValueError(f"reshape: {x.size} values of shape {x.shape} do not fit shape {tuple(shape)}") from None


@reshape.vjp
def reshape_vjp(dy: Array, shape: tuple[int, ...]) -> Any:
    return reshape(dy, shape=shape)


@op
def permute(x: Array, *, dims: Sequence[int]) -> Any:
    """Dimension i of the result is dimension dims[i] of x"""
    order = tuple(normal_dim("permute", dim, x.ndim) for dim in dims)
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"permute: need each of {x.ndim} dimensions once, got {tuple(dims)}")
    return x.transpose(order), (order,)


@permute.vjp
def permute_vjp(dy: Array, order: tuple[int, ...]) -> Any:
    return permute(dy, dims=tuple(int(i) for i in np.argsort(order)))


@op
def expand(x: Array, *, shape: Sequence[int]) -> Any:
    """x broadcast to a larger shape; -1 keeps a size"""
    extra = len(shape) - x.ndim
    target = tuple(x.shape[i - extra] if size == -1 and i >= extra else size for i, size in enumerate(shape))
    try:
        return np.broadcast_to(x, target), (x.shape,)
    except ValueError:
        raise ValueError(f"expand: shape {x.shape} does not broadcast to {target}") from None


@expand.vjp
def expand_vjp(dy: Array, shape: tuple[int, ...]) -> Any:
    return sum_to(dy, shape=shape)


@op
def sum_to(x: Array, *, shape: tuple[int, ...]) -> Any:
    """The sum over the dimensions along which an array of `shape` was broadcast to x's: the transpose of `expand`"""
    extra = x.ndim - len(shape)
    stretched = tuple(i + extra for i, size in enumerate(shape) if size == 1 and x.shape[i + extra] != 1)
    if extra < 0 or any(size != 1 and size != x.shape[i + extra] for i, size in enumerate(shape)):
        raise ValueError(f"sum_to: shape {tuple(shape)} does not broadcast to {x.shape}")
    dims = (*range(extra), *stretched)
    if dims[:1] == (0,) and x.dtype.kind == "f" and x.size:  # the first dimension may be the batch
        rows = np.sum(x, axis=dims[1:]) if dims[1:] else x
        y = batch_sum(rows.reshape(len(x), -1))
    else:
        y = np.sum(x, axis=dims)
    return y.reshape(shape), (x.shape,)


@sum_to.vjp
def sum_to_vjp(dy: Array, shape: tuple[int, ...]) -> Any:
    return expand(dy, shape=shape)


@op
def pad(x: Array, *, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    """x with (before, after) values added to each dimension, or cut off where negative"""
    if len(widths) != x.ndim:
        raise ValueError(f"pad: need {x.ndim} pairs of widths, got {len(widths)}")
    shape = tuple(before + size + after for (before, after), size in zip(widths, x.shape, strict=True))
    if min(shape, default=0) < 0:
        raise ValueError(f"pad: widths {tuple(widths)} cut off more than there is in shape {x.shape}")
    y = np.full(shape, value, dtype=x.dtype)
    y[_within(widths, shape)] = x[_within([(-before, -after) for before, after in widths], x.shape)]
    return y, (tuple((-before, -after) for before, after in widths),)


def _within(widths: Sequence[tuple[int, int]], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part that is left of a shape when the positive widths are taken off its ends."""
    return tuple(slice(max(b, 0), max(size - max(a, 0), max(b, 0))) for (b, a), size in zip(widths, shape, strict=True))


@pad.vjp
def pad_vjp(dy: Array, opposite: tuple[tuple[int, int], ...]) -> Any:
    return pad(dy, widths=opposite)


@op
def flip(x: Array, *, dims: Dims) -> Any:
    """x in reverse order along some dimensions"""
    dims = normal_dims("flip", dims, x.ndim)
    return np.flip(x, dims), (dims,)


@flip.vjp
def flip_vjp(dy: Array, dims: tuple[int, ...]) -> Any:
    return flip(dy, dims=dims)


@op
def roll(x: Array, *, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Any:
    """x moved on by `shifts` along some dimensions; what leaves at the end comes in at the start"""
    moves = [integer("roll", "shifts", s, -LARGEST) for s in several("roll", "shifts", shifts)]
    if dims is None:
        if len(moves) != 1:
            raise ValueError(f"roll: need one shift where dims are not given, got {shifts}")
        return np.roll(x, moves[0]), (-moves[0], None)
    along = [normal_dim("roll", dim, x.ndim) for dim in several("roll", "dims", dims)]
    if len(along) != len(moves):
        raise ValueError(f"roll: need a shift for each of dims, got {shifts} and {dims}")
    return np.roll(x, moves, along), ([-s for s in moves], along)


@roll.vjp
def roll_vjp(dy: Array, shifts: Any, dims: Any) -> Any:
    return roll(dy, shifts=shifts, dims=dims)


@op(name="concatenate")
def join(*xs: Array, dim: int) -> Any:
    """Arrays joined along a dimension that they have; see `concatenate`"""
    dim = normal_dim("concatenate", dim, xs[0].ndim)
    others = {(x.dtype, x.shape[:dim], x.shape[dim + 1 :], x.ndim) for x in xs}
    if len(others) != 1:
        got = ", ".join(f"{x.shape} {x.dtype}" for x in xs)
        raise ValueError(f"concatenate: need one dtype and shapes that differ in dim {dim} only, got {got}")
    return np.concatenate(xs, axis=dim), (dim, tuple(x.shape[dim] for x in xs))


@join.vjp
def join_vjp(dy: Array, dim: int, sizes: tuple[int, ...]) -> Any:
    return tuple(split(dy, sizes, dim))


def concatenate(tensors: Sequence[Array], dim: int = 0) -> Any:
    """Tensors joined along a dimension that they have: shapes differ in `dim` only."""
    if not len(tensors):
        raise ValueError("concatenate: need at least one tensor")
    check_arrays("concatenate", *tensors)
    return join(*tensors, dim=dim)


def stack(tensors: Sequence[Array], dim: int = 0) -> Any:
    """Tensors of one shape joined along a new dimension."""
    check_arrays("stack", *tensors)
    if len({tuple(x.shape) for x in tensors}) != 1:
        raise ValueError(f"stack: need tensors of one shape, got {[tuple(x.shape) for x in tensors]}")
    return concatenate([unsqueeze(x, dim) for x in tensors], dim)


def split(x: Array, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """x cut along a dimension: into pieces of one size (the last may be smaller), or of the sizes given."""
    check_arrays("split", x)
    dim = normal_dim("split", dim, len(x.shape))
    size = x.shape[dim]
    if isinstance(split_size_or_sections, (int, np.integer)):
        step = int(split_size_or_sections)
        if step < 1:
            raise ValueError(f"split: need a size of at least 1, got {step}")
        sections = [min(step, size - start) for start in range(0, size, step)] or [0]
    else:
        sections = [integer("split", "sizes", n, 0) for n in several("split", "sizes", split_size_or_sections)]
    if sum(sections) != size:
        raise ValueError(f"split: need sizes that add up to {size}, got {sections}")
    ends = np.cumsum(sections).tolist()
    before = (slice(None),) * dim
    return tuple(x[(*before, slice(end - n, end))] for n, end in zip(sections, ends, strict=True))


def squeeze(x: Array, dim: Dims = None) -> Any:
    """x without dimensions of size 1: all of them, or those of `dim` that have it."""
    dims = normal_dims("squeeze", dim, len(x.shape))
    return reshape(x, shape=tuple(size for i, size in enumerate(x.shape) if size != 1 or i not in dims))


def unsqueeze(x: Array, dim: int) -> Any:
    """x with a new dimension of size 1 at `dim`."""
    dim = normal_dim("unsqueeze", dim, len(x.shape) + 1)
    return reshape(x, shape=(*x.shape[:dim], 1, *x.shape[dim:]))


def transpose(x: Array, dim0: int, dim1: int) -> Any:
    """x with two of its dimensions exchanged."""
    order = list(range(len(x.shape)))
    i, j = normal_dim("transpose", dim0, len(order)), normal_dim("transpose", dim1, len(order))
    order[i], order[j] = j, i
    return permute(x, dims=order)


def flatten(x: Array, start_dim: int = 0, end_dim: int = -1) -> Any:
    """x with the dimensions from start_dim to end_dim, both included, made one."""
    check_arrays("flatten", x)
    ndim = max(len(x.shape), 1)
    start, end = normal_dim("flatten", start_dim, ndim), normal_dim("flatten", end_dim, ndim)
    if start > end:
        raise ValueError(f"flatten: need start_dim at or before end_dim, got {start_dim} and {end_dim}")
    merged = int(np.prod(x.shape[start : end + 1], dtype=np.int64))
    return reshape(x, shape=(*x.shape[:start], merged, *x.shape[end + 1 :]))


def plain_index(index: Any) -> Any:
    """An index without tensors in it, as NumPy understands it."""
    if isinstance(index, tuple):
        return tuple(plain_index(i) for i in index)
    if isinstance(index, Variable):
        index = index._array
    if isinstance(index, list):
        try:
            index = np.asarray(index, dtype=None if index else np.int64)
        except ValueError as error:
            raise ValueError(f"index: {error}") from None
    if not isinstance(index, np.ndarray):
        return index
    refuse_mask("index", index)
    if index.dtype.kind not in "biu":
        raise TypeError(f"index: need integers or booleans, got {index.dtype}")
    return index.copy()  # the rule needs it as it was


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return not any(isinstance(part, (np.ndarray, bool)) for part in parts)


@op
def getitem(x: Array, *, index: Any) -> Any:
    """x[index], basic or advanced; values that are picked several times get the sum of their gradients"""
    return x[index], (index, x.shape)


@getitem.vjp
def getitem_vjp(dy: Array, index: Any, shape: tuple[int, ...]) -> Any:
    return scatter_add(dy, index=index, shape=shape)


@op
def scatter_add(x: Array, *, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape`, with x added at `index`: the transpose of indexing"""
    if picks_samples(index, shape, x):
        return add_over_batch(x, index, shape), (index,)
    y = np.zeros(shape, dtype=x.dtype)
    if _is_basic(index):
        y[index] = x
    elif max(x.ndim, y.ndim) <= _MOST_DIMENSIONS:
        np.add.at(y, index, x)
    else:
        places = np.arange(y.size).reshape(shape)[index]
        np.add.at(y.reshape(-1), places.reshape(-1), np.broadcast_to(x, places.shape).reshape(-1))
    return y, (index,)


@scatter_add.vjp
def scatter_add_vjp(dy: Array, index: Any) -> Any:
    return getitem(dy, index=index)


@op
def take(x: Array, indices: Array) -> Any:
    """x[indices]: the rows of x that integers choose"""
    return x[indices], (indices, x.shape)


@take.vjp
def take_vjp(dy: Array, indices: np.ndarray, shape: tuple[int, ...]) -> Any:
    return scatter_add(dy, index=indices, shape=shape), None


@op
def take_along(x: Array, indices: Array, *, dim: int) -> Any:
    """y[i, j] = x[indices[i, j], j] for dim 0, and so on: one pick per place of `indices`"""
    dim = normal_dim("take_along", dim, x.ndim)
    return x[_along(indices, dim)], (indices, dim, x.shape)


@take_along.vjp
def take_along_vjp(dy: Array, indices: np.ndarray, dim: int, shape: tuple[int, ...]) -> Any:
    return scatter_add(dy, index=_along(indices, dim), shape=shape), None


def _along(indices: np.ndarray, dim: int) -> tuple[np.ndarray, ...]:
    """The full index of a pick along one dimension: `indices` there, each place's own number elsewhere."""
    grid = np.ogrid[tuple(slice(0, size) for size in indices.shape)]
    return tuple(indices if i == dim else numbers for i, numbers in enumerate(grid))
