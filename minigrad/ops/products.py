"""Products of arrays on our own kernels: of stacks of matrices, and over the batch.

No bit of a row depends on how many rows there are, and sums over the batch go by chunks of samples and the tree.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from minigrad.kernels import matmul as kernels
from minigrad.kernels.reduce import CHUNK
from minigrad.kernels.threads import parts
from minigrad.kernels.tile import COLUMNS, ROWS
from minigrad.ops.batch import add_branches, chunk_and_group, sum_over_batch
from minigrad.ops.correlation import lanes
from minigrad.ops.memory import allocate
from minigrad.ops.reduce import channel_sum

_NOTHING = {np.dtype(t): np.zeros(0, t) for t in (np.float32, np.float64)}
_LEAST_ROWS, _ITEMS = 16 * ROWS, 64  # of a chunk of rows; so many items keep many threads busy


def _nothing(dtype: np.dtype) -> np.ndarray:
    """What a kernel takes for an array that is not there."""
    return _NOTHING[dtype]


def multiply_stacks(
    a: np.ndarray,
    b: np.ndarray,
    transpose_a: bool,
    transpose_b: bool,
    bias: np.ndarray | None = None,
    floor: float = -math.inf,
) -> np.ndarray:
    """Products of stacks of matrices (..., I, R) and (..., R, J), each transposed first if asked, plus a bias (J).

    Of floats no value is below `floor`.
    """
    if a.dtype.kind != "f":
        left, right = (x.swapaxes(-1, -2) if flip else x for x, flip in ((a, transpose_a), (b, transpose_b)))
        return np.matmul(left, right) if bias is None else np.matmul(left, right) + bias
    plan = _plan(a.shape, b.shape, transpose_a, transpose_b, lanes(a.dtype))
    y = allocate(plan.shape, a.dtype)
    if not y.size:
        return y
    if not plan.inner:
        y[...] = np.maximum(np.zeros(1, y.dtype) if bias is None else bias, floor)
        return y
    n_parts = parts(plan.items, y.size * plan.inner // 30)
    scratch = allocate((n_parts, plan.scratch), a.dtype)
    kernels.matmul_forward(
        n_parts, plan.items, a.reshape(-1), b.reshape(-1), _nothing(a.dtype) if bias is None else bias,
        plan.a_starts, plan.b_starts, plan.sizes, a.dtype.type(floor), y.reshape(-1), scratch,
    )  # fmt: skip
    return y


class Plan(NamedTuple):
    """What a product's shapes say: of its result, and what its kernel takes."""

    shape: tuple[int, ...]
    inner: int
    items: int
    a_starts: np.ndarray
    b_starts: np.ndarray
    sizes: np.ndarray
    scratch: int


@functools.lru_cache(maxsize=256)
def _plan(a: tuple[int, ...], b: tuple[int, ...], transpose_a: bool, transpose_b: bool, step: int) -> Plan:
    (rows, inner), a_steps = _steps(a, transpose_a)
    (_, columns), b_steps = _steps(b, transpose_b)
    lead = np.broadcast_shapes(a[:-2], b[:-2])
    width = COLUMNS * step
    count, panels = math.prod(lead), -(-columns // width)
    chunk = -(-max(_LEAST_ROWS, rows * count * panels // _ITEMS) // ROWS) * ROWS
    return Plan(
        (*lead, rows, columns),
        inner,
        count * panels * -(-rows // chunk),
        _starts(a, lead),
        _starts(b, lead),
        np.array((rows, inner, columns, *a_steps, *b_steps, chunk), np.int64),
        kernels.matmul_scratch(step),
    )


def _steps(shape: tuple[int, ...], is_transposed: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """The sizes of a matrix of the stack, transposed if asked, and its steps from row to row and column to column."""
    rows, columns = shape[-2:]
    return ((columns, rows), (1, columns)) if is_transposed else ((rows, columns), (columns, 1))


def _starts(shape: tuple[int, ...], lead: tuple[int, ...]) -> np.ndarray:
    """Where the matrix for each result starts in a stack."""
    places = np.arange(math.prod(shape[:-2])).reshape(shape[:-2]) * (shape[-2] * shape[-1])
    return np.array(np.broadcast_to(places, lead).reshape(-1))


class _Task(NamedTuple):
    """What the shapes of so many samples say: of the kernel's items, and what it takes."""

    items: int
    work: int
    counts: np.ndarray
    product: Plan
    sizes: np.ndarray
    scratch: int


@functools.lru_cache(maxsize=256)
def _task(samples: int, filters: int, columns: int, chunk: int, with_input: bool, with_bias: bool, step: int) -> _Task:
    plan = _plan((samples, filters), (filters, columns), False, False, step)
    tiles, width = -(-filters // ROWS), COLUMNS * step
    counts = plan.items if with_input else 0, tiles * -(-columns // width) + (-(-filters // width) if with_bias else 0)
    return _Task(
        max(counts),
        samples * filters * columns * (1 + with_input) // 30,
        np.array(counts, np.int64),
        plan,
        np.array((samples, filters, columns, kernels.block_of(samples), chunk), np.int64),
        kernels.backward_scratch(samples, filters, step),
    )


def batch_products(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray | None, with_bias: bool, rows: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """dw = dy' x, with w also dx = dy w, and db, the sum of dy, if asked; a sample is `rows` of dy (N, K) and x (N, C).

    Group after group of samples, whose sums are branches of the batch's tree.
    """
    shape = dy.shape[1], x.shape[1]
    if not (dy.size and x.size):
        dx = None if w is None else multiply_stacks(dy, w, False, False)
        return np.zeros(shape, dy.dtype), dx, channel_sum(dy) if with_bias else None
    dx = None if w is None else allocate(x.shape, x.dtype)
    chunk, group = chunk_and_group(rows)

    def branch(start: int) -> list[np.ndarray]:
        some = slice(start, start + group)
        return _launch(dy[some], x[some], w, None if dx is None else dx[some], with_bias, chunk)

    total = add_branches(map(branch, range(0, len(dy), group)))
    return total[0], dx, total[1] if with_bias else None


def _launch(
    dy: np.ndarray, x: np.ndarray, w: np.ndarray | None, dx: np.ndarray | None, with_bias: bool, chunk: int
) -> list[np.ndarray]:
    """dw, and db if asked, of the samples; their rows of dx are written where it is given."""
    (samples, filters), columns, dtype = dy.shape, x.shape[1], dy.dtype
    task = _task(samples, filters, columns, chunk, w is not None, with_bias, lanes(dtype))
    dw, none = allocate((filters, columns), dtype), _nothing(dtype)
    db = allocate((filters,), dtype) if with_bias else none
    n_parts = parts(task.items, task.work)
    kernels.linear_backward(
        n_parts, n_parts, n_parts, task.counts, dy.reshape(-1), x.reshape(-1), none if w is None else w.reshape(-1),
        none, task.product.a_starts, task.product.sizes, dtype.type(-math.inf), task.sizes,
        none if dx is None else dx.reshape(-1), dw.reshape(-1), db, allocate((n_parts, task.scratch), dtype),
    )  # fmt: skip
    return [dw, db] if with_bias else [dw]


def multiply_samples(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a' b for each of a stack, (S, I, J) from floats a (N, S, R, I) and b (N, S, R, J), summed over the samples, N."""
    samples, stack, rows, height = a.shape
    shape = stack, height, b.shape[3]
    if not (a.size and b.size):
        return np.zeros(shape, a.dtype)
    if stack == 1:
        left, right = (x.reshape(samples * rows, x.shape[3]) for x in (a, b))
        return batch_products(left, right, None, False, rows)[0].reshape(shape)

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        partial[...] = multiply_stacks(_in_chunks(a[some]), _in_chunks(b[some]), True, False)

    return sum_over_batch(samples, shape, a.dtype, chunk_sums)


def _in_chunks(x: np.ndarray) -> np.ndarray:
    """(N, S, R, J) as (chunks, S, rows of a chunk, J), with zeros for the samples that the last chunk lacks."""
    chunks = -(-len(x) // CHUNK)
    whole = np.zeros((chunks * CHUNK, *x.shape[1:]), x.dtype)
    whole[: len(x)] = x
    stacks = np.ascontiguousarray(whole.reshape(chunks, CHUNK, *x.shape[1:]).swapaxes(1, 2))
    return stacks.reshape(chunks, x.shape[1], CHUNK * x.shape[2], x.shape[3])
