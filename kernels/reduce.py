"""Sums over the batch: in order within chunks of 8 samples, then over the chunks by a balanced pairwise tree.

The tree is a matter of the batch alone, so a sum has the same bits at any number of threads.
"""

from .jit import kernel
from .simd import lane_sum, lanes, load, splat
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


@kernel
def run_sum(x, start, stop):
    """The sum of x[start:stop]: by four vectors side by side, whose lanes are added at the end."""
    count, zero = lanes(x), splat(x, x.dtype.type(0))
    a, b, c, d, i = zero, zero, zero, zero, start
    while i + 4 * count <= stop:
        a, b = a + load(x, i), b + load(x, i + count)
        c, d = c + load(x, i + 2 * count), d + load(x, i + 3 * count)
        i += 4 * count
    while i + count <= stop:
        a, i = a + load(x, i), i + count
    total = lane_sum((a + b) + (c + d))
    while i < stop:
        total, i = total + x[i], i + 1
    return total


@kernel
def channel_sum_range(start, stop, part, x, samples, area, each, partial):
    channels = partial.shape[1]
    for chunk in range(start, stop):
        sums = partial[chunk]
        sums[:] = 0
        for n in range(chunk * each, min(samples, (chunk + 1) * each)):
            if area == 1:
                row = x[n * channels : (n + 1) * channels]
                for c in range(channels):
                    sums[c] += row[c]
            else:
                for c in range(channels):
                    at = (n * channels + c) * area
                    sums[c] += run_sum(x, at, at + area)


channel_sum = Launcher(channel_sum_range)
"""partial[chunk, c] = sum of x (N * C * P) over the chunk's samples, of `each`, and over P, the area."""
