"""Sums over the batch: in order within chunks of 8 samples, then over the chunks by a balanced pairwise tree."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigrad.kernels.reduce import CHUNK, channel_sum as channel_sum_kernel, tree_sum
from minigrad.kernels.threads import parts
from minigrad.memory import added
from minigrad.op import Array, op
from minigrad.ops.checks import one_float_dtype
from minigrad.ops.memory import allocate
from minigrad.ops.shape import expand, reshape

GROUP = 64 * CHUNK  # samples at once: a power of two of chunks, whose sum is then a branch of the whole batch's tree


def sum_over_batch(
    samples: int, shape: tuple[int, ...], dtype: Any, chunk_sums: Callable[[slice, np.ndarray], None],
    chunk: int = CHUNK,
) -> np.ndarray:  # fmt: skip
    """The sum of what `chunk_sums(some, partial)` writes into partial (chunks, *shape) for slices `some` of the batch.

    The memory it takes does not grow with the batch, the order of summation does not depend on how it is cut.
    """
    if samples == 0:
        return np.zeros(shape, dtype)

    def branch(start: int) -> list[np.ndarray]:
        some = slice(start, min(start + GROUP, samples))
        partial = allocate((-(-(some.stop - start) // chunk), *shape), dtype)
        chunk_sums(some, partial)
        return [_tree(partial)]

    return add_branches(map(branch, range(0, samples, GROUP)))[0]


def add_branches(branches: Iterable[list[np.ndarray]]) -> list[np.ndarray]:
    """The sums, array by array, over one or more branches of the tree, of which no more are held than it has levels."""
    held: list[list[np.ndarray]] = []
    for number, sums in enumerate(branches):
        while number & 1:  # as one counts in binary: two sums of equally many become one of twice as many
            sums = list(map(added, held.pop(), sums))
            number >>= 1
        held.append(sums)
    total = held.pop()
    while held:
        total = list(map(added, held.pop(), total))
    return total


def _tree(partial: np.ndarray) -> np.ndarray:
    """The sum over the first dimension, which is used up."""
    flat = partial.reshape(len(partial), -1)
    tree_sum(parts(flat.shape[1], flat.size), flat.shape[1], flat)
    return partial[0] if len(partial) == 1 else partial[0].copy()  # or the other chunks would live as long as the sum


@op
def channel_sum(x: Array) -> Any:
    """The sum of x (N, C, ...) over all but its channels: a bias's gradient"""
    one_float_dtype("channel_sum", x)
    if x.ndim < 2:
        raise ValueError(f"channel_sum: need x (N, C, ...), got {x.shape}")
    if not x.size:
        return np.zeros(x.shape[1], x.dtype), (x.shape,)
    flat, sample = x.reshape(-1), x.size // len(x)

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        samples, values = some.stop - some.start, flat[some.start * sample : some.stop * sample]
        threads = parts(len(partial), values.size // 4)
        channel_sum_kernel(threads, len(partial), values, samples, sample // x.shape[1], partial)

    return sum_over_batch(len(x), x.shape[1:2], x.dtype, chunk_sums), (x.shape,)


@channel_sum.vjp
def channel_sum_vjp(dy: Array, shape: tuple[int, ...]) -> Any:
    return expand(reshape(dy, shape=(shape[1], *(1,) * (len(shape) - 2))), shape=shape)
