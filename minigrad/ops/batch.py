"""Sums over the batch: in order within chunks of 8 samples, then over the chunks by a balanced pairwise tree.

The promise, where the first dimension of whatever depends on a batch numbers its samples: cut the batch into runs of
8 2^k samples, of which the last may have fewer. Then each sample's outputs and input gradients have the bits that they
have in its run alone, and the gradient of a parameter that meets the batch once, as it is or moved (reshaped, permuted,
broadcast), those of the same tree over the runs' gradients.

It holds for every op but where values of several samples meet in forward (`sum` and `mean` over the batch, the mean of
a loss); for batch norm in training and for dropout, which counts values from the batch's first one, where they know
what run it is (`minigrad/shards.py`). A parameter that is used twice or computed with beforehand has no such gradient:
there the tree is over what each use sends back.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigrad.kernels.reduce import CHUNK, channel_sum, tree_sum
from minigrad.kernels.threads import parts
from minigrad.memory import added
from minigrad.ops.memory import allocate

GROUP = 64 * CHUNK  # samples at once: a power of two of chunks, whose sum is then a branch of the whole batch's tree


def chunk_and_group(rows: int) -> tuple[int, int]:
    """How many rows are a chunk, and how many are taken at once, where each sample has so many `rows`.

    A chunk is 8 samples, or half of them, a quarter ... as long as that is whole rows: the sum over 8 samples is then a
    branch of the tree, as it is where a sample is one row. A group is a power of two of chunks.
    """
    chunk = CHUNK * (rows // (rows & -rows))
    return chunk, chunk << max(0, (GROUP // chunk).bit_length() - 1)


def sum_over_batch(
    samples: int, shape: tuple[int, ...], dtype: Any, chunk_sums: Callable[[slice, np.ndarray], None],
    chunk: int = CHUNK, group: int = GROUP,
) -> np.ndarray:  # fmt: skip
    """The sum of what `chunk_sums(some, partial)` writes into partial (chunks, *shape) for slices `some` of the batch.

    Chunks are of `chunk` samples, `group` samples are taken at once, a power of two of chunks: so the memory it takes
    does not grow with the batch, and the order of summation does not depend on how it is cut.
    """
    if samples == 0:
        return np.zeros(shape, dtype)

    def branch(start: int) -> list[np.ndarray]:
        some = slice(start, min(start + group, samples))
        partial = allocate((-(-(some.stop - start) // chunk), *shape), dtype)
        chunk_sums(some, partial)
        return [_tree(partial)]

    return add_branches(map(branch, range(0, samples, group)))[0]


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


def batch_sum(x: np.ndarray, rows: int = 1) -> np.ndarray:
    """The sum of floats x (N, C, ...), which are not none, over all but the channels; a sample is `rows` of N."""
    (samples, channels), flat, sample = x.shape[:2], x.reshape(-1), x.size // len(x)
    chunk, group = chunk_and_group(rows)

    def chunk_sums(some: slice, partial: np.ndarray) -> None:
        values = flat[some.start * sample : some.stop * sample]
        threads = parts(len(partial), values.size // 4)
        channel_sum(threads, len(partial), values, some.stop - some.start, sample // channels, chunk, partial)

    narrow = max(0, (256 // channels).bit_length() - 1)  # more samples at once, or launching would take longest
    return sum_over_batch(samples, (channels,), x.dtype, chunk_sums, chunk, group << narrow)
