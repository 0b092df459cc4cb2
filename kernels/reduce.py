"""Sums over the batch: in order within chunks of 8 samples, then over the chunks by a balanced pairwise tree.

The tree is a matter of the batch alone, so a sum has the same bits at any number of threads.
"""

from .jit import kernel
from .threads import Launcher

CHUNK = 8


@kernel
def tree_range(start, stop, part, partial):
    chunks = partial.shape[0]
    step = 1
    while step < chunks:
        for i in range(0, chunks - step, 2 * step):
            left, right = partial[i, start:stop], partial[i + step, start:stop]
            for j in range(stop - start):
                left[j] += right[j]
        step *= 2


tree_sum = Launcher(tree_range)
"""partial[0] becomes the sum of partial (chunks, n) over its chunks; the other rows are used up."""


@kernel(reassociate=True)  # a sum along a row is vectorised only if its terms may be added in another order
def _row_sum(row):
    total = row.dtype.type(0)
    for i in range(row.size):
        total += row[i]
    return total


@kernel
def channel_sum_range(start, stop, part, x, partial):
    samples, channels, _ = x.shape
    for chunk in range(start, stop):
        sums = partial[chunk]
        sums[:] = 0
        for n in range(chunk * CHUNK, min(samples, (chunk + 1) * CHUNK)):
            for c in range(channels):
                sums[c] += _row_sum(x[n, c])


channel_sum = Launcher(channel_sum_range)
"""partial[chunk, c] = sum of x (N, C, P) over the chunk's samples and over P."""
