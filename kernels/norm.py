"""Batch norm: mean and variance of each channel, and its gradient.

Statistics go by chunks of 8 samples, about each chunk's own mean, and are merged by the pairwise tree.
Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
"""

from .jit import kernel
from .reduce import CHUNK, run_sum
from .simd import fma, lane_sum, lanes, load, splat
from .threads import Launcher


@kernel
def _square_sum(x, start, stop, mean):
    """The sum of (x - mean)^2 over x[start:stop]."""
    count, middle = lanes(x), splat(x, mean)
    a, b, i = splat(x, x.dtype.type(0)), splat(x, x.dtype.type(0)), start
    while i + 2 * count <= stop:
        p, q = load(x, i) - middle, load(x, i + count) - middle
        a, b, i = fma(p, p, a), fma(q, q, b), i + 2 * count
    total = lane_sum(a + b)
    while i < stop:
        total += (x[i] - mean) * (x[i] - mean)
        i += 1
    return total


@kernel
def _product_sum(dy, x, start, stop, mean):
    """The sum of dy (x - mean) over [start:stop]."""
    count, middle = lanes(x), splat(x, mean)
    a, b, i = splat(x, x.dtype.type(0)), splat(x, x.dtype.type(0)), start
    while i + 2 * count <= stop:
        a = fma(load(dy, i), load(x, i) - middle, a)
        b = fma(load(dy, i + count), load(x, i + count) - middle, b)
        i += 2 * count
    total = lane_sum(a + b)
    while i < stop:
        total += dy[i] * (x[i] - mean)
        i += 1
    return total


@kernel
def _column_moments(x, first, last, channels, mean, spread):
    """Moments where a channel is a single value of each sample: along rows, all channels at once."""
    mean[:] = 0
    spread[:] = 0
    for n in range(first, last):
        row = x[n * channels : (n + 1) * channels]
        for c in range(channels):
            mean[c] += row[c]
    for c in range(channels):
        mean[c] /= last - first
    for n in range(first, last):
        row = x[n * channels : (n + 1) * channels]
        for c in range(channels):
            spread[c] += (row[c] - mean[c]) * (row[c] - mean[c])


@kernel
def moments_range(start, stop, part, x, samples, area, means, spreads):
    channels = means.shape[1]
    for chunk in range(start, stop):
        first, last = chunk * CHUNK, min(samples, (chunk + 1) * CHUNK)
        mean, spread = means[chunk], spreads[chunk]
        if area == 1:
            _column_moments(x, first, last, channels, mean, spread)
            continue
        for c in range(channels):
            total, squares = x.dtype.type(0), x.dtype.type(0)
            for n in range(first, last):
                at = (n * channels + c) * area
                total += run_sum(x, at, at + area)
            middle = x.dtype.type(total / ((last - first) * area))
            for n in range(first, last):
                at = (n * channels + c) * area
                squares += _square_sum(x, at, at + area, middle)
            mean[c], spread[c] = middle, squares


chunk_moments = Launcher(moments_range)
"""means and spreads (chunks, C) of x (N * C * P) over each chunk; a spread is the sum of (x - mean)^2."""


@kernel
def merge_range(start, stop, part, means, spreads, samples, each, area):
    chunks, step = means.shape[0], 1
    one = means.dtype.type(1)
    while step < chunks:
        for i in range(0, chunks - step, 2 * step):
            left = step * each
            right = min(samples, (i + 2 * step) * each) - (i + step) * each
            share = one * right / (left + right)
            weight = share * left * area
            for c in range(start, stop):
                delta = means[i + step, c] - means[i, c]
                means[i, c] += delta * share
                spreads[i, c] += spreads[i + step, c] + delta * delta * weight
        step *= 2


merge_moments = Launcher(merge_range)
"""means[0] and spreads[0] become those of all chunks, of `each` samples; the other rows are used up."""


@kernel
def scale_range(start, stop, part, x, area, mean, scale, shift, y):
    channels = mean.size
    for n in range(start, stop):
        if area == 1:
            source, target = x[n * channels : (n + 1) * channels], y[n * channels : (n + 1) * channels]
            for c in range(channels):
                target[c] = (source[c] - mean[c]) * scale[c] + shift[c]
            continue
        for c in range(channels):
            at = (n * channels + c) * area
            source, target = x[at : at + area], y[at : at + area]
            middle, factor, offset = mean[c], scale[c], shift[c]
            for i in range(area):
                target[i] = (source[i] - middle) * factor + offset


batch_norm_forward = Launcher(scale_range)
"""y = (x - mean) scale + shift, with these (C) and x (N * C * P)."""


@kernel
def gradient_sums_range(start, stop, part, dy, x, samples, area, mean, partial):
    channels = mean.size
    for chunk in range(start, stop):
        first, last = chunk * CHUNK, min(samples, (chunk + 1) * CHUNK)
        plain, weighted = partial[chunk, 0], partial[chunk, 1]
        plain[:] = 0
        weighted[:] = 0
        for n in range(first, last):
            if area == 1:
                row, source = dy[n * channels : (n + 1) * channels], x[n * channels : (n + 1) * channels]
                for c in range(channels):
                    plain[c] += row[c]
                    weighted[c] += row[c] * (source[c] - mean[c])
                continue
            for c in range(channels):
                at = (n * channels + c) * area
                plain[c] += run_sum(dy, at, at + area)
                weighted[c] += _product_sum(dy, x, at, at + area, mean[c])


gradient_sums = Launcher(gradient_sums_range)
"""partial (chunks, 2, C): sums over each chunk of dy and of dy (x - mean)."""


@kernel
def batch_norm_backward_range(start, stop, part, dy, x, area, mean, scale, slope, offset, dx):
    channels = mean.size
    for n in range(start, stop):
        if area == 1:
            row, source = dy[n * channels : (n + 1) * channels], x[n * channels : (n + 1) * channels]
            target = dx[n * channels : (n + 1) * channels]
            for c in range(channels):
                target[c] = row[c] * scale[c] - (source[c] - mean[c]) * slope[c] - offset[c]
            continue
        for c in range(channels):
            at = (n * channels + c) * area
            row, source, target = dy[at : at + area], x[at : at + area], dx[at : at + area]
            middle, factor, tilt, lift = mean[c], scale[c], slope[c], offset[c]
            for i in range(area):
                target[i] = row[i] * factor - (source[i] - middle) * tilt - lift


batch_norm_backward = Launcher(batch_norm_backward_range)
"""dx = dy scale - (x - mean) slope - offset, with these (C)."""
