"""Softmax cross-entropy of class numbers, and its gradient, sample by sample."""

from .exponential import exp, log
from .jit import kernel
from .reduce import CHUNK
from .simd import lanes, load, splat, store, where_at_most
from .threads import Launcher
from .tile import transpose


@kernel
def _to_columns(x, at, classes, block):
    """block (classes, lanes) = as many rows of classes from x, by squares of which the last overlaps another."""
    count = lanes(x)
    for c in range(0, classes, count):
        c = min(c, classes - count)
        transpose(x, at + c, classes, block, c * count, count)


@kernel
def _from_columns(block, p, at, classes):
    """The way back."""
    count = lanes(p)
    for c in range(0, classes, count):
        c = min(c, classes - count)
        transpose(block, c * count, count, p, at + c, classes)


@kernel
def _softmax_of_columns(block, classes, spread):
    """Softmax over the classes of block (classes, lanes), one pixel in each lane.

    Behind it the largest value and the logarithm of the sum of the powers that are over it, and if labels are smoothed,
    the sum of spread times -log of the softmax.
    """
    count, zero = lanes(block), splat(block, block.dtype.type(0))
    top = load(block, 0)
    for c in range(1, classes):
        value = load(block, c * count)
        top = where_at_most(value, top, top, value)  # if it forgets a NaN, the sum does not
    total = zero
    for c in range(classes):
        power = exp(load(block, c * count) - top)
        total = total + power
        store(power, block, (classes + 3 + c) * count)
    rest = log(total)
    if spread.size:
        smooth = zero
        for c in range(classes):
            smooth = smooth + splat(block, spread[c]) * (rest - (load(block, c * count) - top))
        store(smooth, block, (classes + 2) * count)
    store(top, block, classes * count)
    store(rest, block, (classes + 1) * count)
    share = splat(block, block.dtype.type(1)) / total
    for c in range(classes):
        store(load(block, (classes + 3 + c) * count) * share, block, c * count)


@kernel
def _add_losses(block, x, labels, weights, is_smooth, keep, ignored, first, last, i, area, classes, p, sums):
    """Add up the samples from first to last, which are the block's first lanes, at pixel i; take back p of the ignored.

    To sums = (loss, weight, number of unknown labels).
    """
    count, zero = lanes(x), x.dtype.type(0)
    loss, weight, refused = zero, zero, zero
    for k in range(last - first):
        label, at = labels[(first + k) * area + i], (first + k) * classes * area + i
        if label != ignored and 0 <= label < classes:
            share = weights[label] if weights.size else x.dtype.type(1)
            top, rest = block[classes * count + k], block[(classes + 1) * count + k]
            loss += (rest - (x[at + label * area] - top)) * (keep * share)
            if is_smooth:
                loss += block[(classes + 2) * count + k]
            weight += share
        else:
            for c in range(classes):
                p[at + c * area] = 0
            refused += label != ignored
    sums[0] += loss
    sums[1] += weight
    sums[2] += refused


@kernel
def cross_entropy_forward_range(
    start, stop, part, x, labels, weights, spread, keep, ignored, samples, classes, p, sums, scratch
):
    area, block, count, smooth = labels.size // samples, scratch[part], lanes(x), spread.size > 0
    for chunk in range(start, stop):
        first, last, total = chunk * CHUNK, min(samples, (chunk + 1) * CHUNK), sums[chunk]
        total[:] = 0
        while area == 1 and classes >= count and first + count <= last:
            stop_at = first + count
            _to_columns(x, first * classes, classes, block)
            _softmax_of_columns(block, classes, spread)
            _from_columns(block, p, first * classes, classes)
            _add_losses(block, x, labels, weights, smooth, keep, ignored, first, stop_at, 0, area, classes, p, total)
            first = stop_at
        while first < last:
            stop_at = min(first + count, last)
            for i in range(area):
                for k in range(count):  # lanes without a sample repeat the last one
                    at = min(first + k, last - 1) * classes * area + i
                    for c in range(classes):
                        block[c * count + k] = x[at + c * area]
                _softmax_of_columns(block, classes, spread)
                for k in range(stop_at - first):
                    at = (first + k) * classes * area + i
                    for c in range(classes):
                        p[at + c * area] = block[c * count + k]
                _add_losses(
                    block, x, labels, weights, smooth, keep, ignored, first, stop_at, i, area, classes, p, total
                )
            first = stop_at


cross_entropy_forward = Launcher(cross_entropy_forward_range)
"""p = softmax(x) (N * C * P), 0 where the label is ignored; each chunk's loss, weight, and number of unknown labels.

Labels (N * P) are int64; `weights` has one for each class, or none at all. The target is keep weight at the label and,
if labels are smoothed, `spread` of the class everywhere. Scratch is (parts, (2 C + 3) * lanes).
"""


@kernel
def _scaled(p, at, share, classes, spread, scale, dx):
    """dx = p * share - spread * scale for one pixel's classes side by side."""
    count, vector, tail = lanes(p), splat(p, share), classes
    if classes >= count:
        for c in range(0, classes, count):
            c = min(c, classes - count)  # some values are written twice
            value = load(p, at + c) * vector
            store(value - load(spread, c) * splat(p, scale) if spread.size else value, dx, at + c)
        tail = 0
    for c in range(tail):
        dx[at + c] = p[at + c] * share - (spread[c] * scale if spread.size else p.dtype.type(0))


@kernel
def cross_entropy_backward_range(
    start, stop, part, scale, p, labels, weights, spread, keep, ignored, samples, classes, dx
):
    area, whole = labels.size // samples, p.dtype.type(0)
    for c in range(spread.size):
        whole += spread[c]
    for n in range(start, stop):
        for i in range(area):
            label, at = labels[n * area + i], n * classes * area + i
            if label == ignored or not 0 <= label < classes:
                for c in range(classes):
                    dx[at + c * area] = 0
                continue
            hit = scale * (keep * (weights[label] if weights.size else p.dtype.type(1)))
            share = hit + scale * whole
            if area == 1:
                _scaled(p, at, share, classes, spread, scale, dx)
            else:
                for c in range(classes):
                    dx[at + c * area] = p[at + c * area] * share
                for c in range(spread.size):
                    dx[at + c * area] -= spread[c] * scale
            dx[at + label * area] -= hit


cross_entropy_backward = Launcher(cross_entropy_backward_range)
"""dx = (p times the target's sum - target) * scale, 0 where the label is ignored; the target as above."""
