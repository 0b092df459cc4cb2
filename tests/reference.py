"""Slow and obvious: what kernels compute, as loops one can check by eye. Nothing here is shared with minigrad.

An axis is (size, window, stride, before, dilation, out); cell f of window o lies at o * stride - before + f * dilation.
"""

import itertools
import math

import numpy as np


def cells(axes, windows):
    """The window offsets and input cell of one window, for those of its cells that lie in the input."""
    for offsets in itertools.product(*(range(a[1]) for a in axes)):
        place = tuple(o * a[2] - a[3] + f * a[4] for o, f, a in zip(windows, offsets, axes, strict=True))
        if all(0 <= p < a[0] for p, a in zip(place, axes, strict=True)):
            yield offsets, place


def windows(axes):
    return itertools.product(*(range(a[5]) for a in axes))


def output_size(size, window, stride, before, after, dilation, ceil_mode=False):
    """Count the windows one by one: those that fit, and in ceil mode those that overhang by less than a stride.

    In ceil mode a window must start in the input or in the padding before it.
    """
    count = 0
    while True:
        first = count * stride - before
        overhang = first + (window - 1) * dilation + 1 - (size + after)
        if not (overhang < stride and first < size if ceil_mode else overhang <= 0):
            return count
        count += 1


def conv(x, w, b=None, *, axes, groups=1):
    samples, filters, per_group = x.shape[0], w.shape[0], w.shape[1]
    y = np.zeros((samples, filters, *(a[5] for a in axes)), x.dtype)
    for n, k in np.ndindex(samples, filters):
        first = k // (filters // groups) * per_group
        for place in windows(axes):
            total = 0.0 if b is None else float(b[k])
            for c in range(per_group):
                for f, cell in cells(axes, place):
                    total += float(w[(k, c, *f)]) * float(x[(n, first + c, *cell)])
            y[(n, k, *place)] = total
    return y


def conv_transpose(dy, w, *, axes, groups=1):
    samples, filters, per_group = dy.shape[0], w.shape[0], w.shape[1]
    dx = np.zeros((samples, per_group * groups, *(a[0] for a in axes)))
    for n, k in np.ndindex(samples, filters):
        first = k // (filters // groups) * per_group
        for place in windows(axes):
            for c in range(per_group):
                for f, cell in cells(axes, place):
                    dx[(n, first + c, *cell)] += float(w[(k, c, *f)]) * float(dy[(n, k, *place)])
    return dx.astype(dy.dtype)


def conv_weight_gradient(dy, x, *, axes, groups=1):
    filters, per_group = dy.shape[1], x.shape[1] // groups
    dw = np.zeros((filters, per_group, *(a[1] for a in axes)))
    for n, k in np.ndindex(*dy.shape[:2]):
        first = k // (filters // groups) * per_group
        for place in windows(axes):
            for c in range(per_group):
                for f, cell in cells(axes, place):
                    dw[(k, c, *f)] += float(dy[(n, k, *place)]) * float(x[(n, first + c, *cell)])
    return dw.astype(dy.dtype)


def convolve(x, w, *, axes):
    return conv(x, w[(slice(None), slice(None), *(slice(None, None, -1),) * len(axes))], axes=axes)


def local(x, w, *, axes):
    y = np.zeros((x.shape[0], w.shape[len(axes)], *(a[5] for a in axes)), x.dtype)
    for n, k in np.ndindex(*y.shape[:2]):
        for place in windows(axes):
            pairs = itertools.product(range(x.shape[1]), cells(axes, place))
            y[(n, k, *place)] = sum(float(w[(*place, k, c, *f)]) * float(x[(n, c, *cell)]) for c, (f, cell) in pairs)
    return y


def local_input_gradient(dy, w, *, axes):
    rank = len(axes)
    dx = np.zeros((dy.shape[0], w.shape[rank + 1], *(a[0] for a in axes)))
    for n, k in np.ndindex(*dy.shape[:2]):
        for place in windows(axes):
            for c, (f, cell) in itertools.product(range(dx.shape[1]), cells(axes, place)):
                dx[(n, c, *cell)] += float(w[(*place, k, c, *f)]) * float(dy[(n, k, *place)])
    return dx.astype(dy.dtype)


def local_weight_gradient(dy, x, *, axes):
    dw = np.zeros((*(a[5] for a in axes), dy.shape[1], x.shape[1], *(a[1] for a in axes)))
    for n, k in np.ndindex(*dy.shape[:2]):
        for place in windows(axes):
            for c, (f, cell) in itertools.product(range(x.shape[1]), cells(axes, place)):
                dw[(*place, k, c, *f)] += float(dy[(n, k, *place)]) * float(x[(n, c, *cell)])
    return dw.astype(dy.dtype)


def max_pool(x, *, axes):
    """(y, winners): the first of the largest, a NaN before any number."""
    shape = (*x.shape[:2], *(a[5] for a in axes))
    y, winners = np.empty(shape, x.dtype), np.empty(shape, int)
    sizes = tuple(a[0] for a in axes)
    for n, c in np.ndindex(*x.shape[:2]):
        for place in windows(axes):
            seen = [(x[(n, c, *cell)], int(np.ravel_multi_index(cell, sizes))) for _, cell in cells(axes, place)]
            nans = [s for s in seen if math.isnan(s[0])]
            y[(n, c, *place)], winners[(n, c, *place)] = nans[0] if nans else max(seen, key=lambda s: (s[0], -s[1]))
    return y, winners


def max_unpool(dy, winners, *, sizes):
    dx = np.zeros((*dy.shape[:2], int(np.prod(sizes))), dy.dtype)
    for index in np.ndindex(*dy.shape):
        dx[(*index[:2], winners[index])] += dy[index]
    return dx.reshape(*dy.shape[:2], *sizes)


def max_pick(x, winners):
    flat = x.reshape(*x.shape[:2], int(np.prod(x.shape[2:])))
    y = np.zeros(winners.shape, x.dtype)
    for index in np.ndindex(*winners.shape):
        y[index] = flat[(*index[:2], winners[index])]
    return y


def avg_pool(x, *, spans):
    """Means of x over [start, stop) of every axis, divided by the product of the counts."""
    y = np.zeros((*x.shape[:2], *(len(s.starts) for s in spans)), x.dtype)
    for index in np.ndindex(*y.shape):
        region = tuple(slice(s.starts[o], s.stops[o]) for o, s in zip(index[2:], spans, strict=True))
        y[index] = x[(*index[:2], *region)].sum() / math.prod(
            s.counts[o] for o, s in zip(index[2:], spans, strict=True)
        )
    return y


def avg_pool_transpose(dy, *, spans):
    dx = np.zeros((*dy.shape[:2], *(s.size for s in spans)), dy.dtype)
    for index in np.ndindex(*dy.shape):
        region = tuple(slice(s.starts[o], s.stops[o]) for o, s in zip(index[2:], spans, strict=True))
        dx[(*index[:2], *region)] += dy[index] / math.prod(s.counts[o] for o, s in zip(index[2:], spans, strict=True))
    return dx


def max_pool_places(x, *, axes):
    """(y, places): as max_pool, with each winner's place in its window."""
    y, winners = max_pool(x, axes=axes)
    places, sizes, windows_of = np.empty(y.shape, int), tuple(a[0] for a in axes), tuple(a[1] for a in axes)
    for index in np.ndindex(*y.shape):
        found = {int(np.ravel_multi_index(cell, sizes)): f for f, cell in cells(axes, index[2:])}
        places[index] = np.ravel_multi_index(found[winners[index]], windows_of)
    return y, places


def winner_gradients(dy, y, x, w, axes, groups=1):
    """(dx, dw, db) of relu(y) pooled by 2 x 2, for a convolution y: only winners above 0 count."""
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(len(w))
    channels, filters = w.shape[1], len(w) // groups
    for n, k, i, j in np.ndindex(*dy.shape):
        four = y[n, k, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        best, g = int(np.argmax(four)), float(dy[n, k, i, j])  # a NaN is the largest to argmax
        if four.flat[best] <= 0 or g == 0:
            continue
        own = slice(k // filters * channels, (k // filters + 1) * channels)
        db[k] += g
        for f, cell in cells(axes, (2 * i + best // 2, 2 * j + best % 2)):
            dw[(k, slice(None), *f)] += g * x[(n, own, *cell)].astype(np.float64)
            dx[(n, own, *cell)] += g * w[(k, slice(None), *f)].astype(np.float64)
    return [a.astype(dy.dtype) for a in (dx, dw, db)]
