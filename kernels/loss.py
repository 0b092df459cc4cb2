"""Softmax cross-entropy of class numbers, and its gradient, sample by sample."""

import math

from .jit import kernel
from .reduce import CHUNK
from .threads import Launcher


@kernel
def _softmax(x, p, at, classes, area):
    """p = e^x / sum(e^x) over the classes of one pixel; log(sum(e^x)) and the greatest x that it is relative to."""
    top = x[at]
    for c in range(1, classes):
        value = x[at + c * area]
        if value > top or math.isnan(value):
            top = value
    total = x.dtype.type(0)
    for c in range(classes):
        power = math.exp(x[at + c * area] - top)
        p[at + c * area] = power
        total += power
    share = x.dtype.type(1) / total
    for c in range(classes):
        p[at + c * area] *= share
    return math.log(total), top


@kernel
def cross_entropy_forward_range(start, stop, part, x, labels, weights, ignored, samples, classes, p, sums):
    area = labels.size // samples
    for chunk in range(start, stop):
        loss, weight, refused = x.dtype.type(0), x.dtype.type(0), x.dtype.type(0)
        for n in range(chunk * CHUNK, min(samples, (chunk + 1) * CHUNK)):
            for i in range(area):
                label, at = labels[n * area + i], n * classes * area + i
                if 0 <= label < classes and label != ignored:
                    log_total, top = _softmax(x, p, at, classes, area)
                    share = weights[label] if weights.size else x.dtype.type(1)
                    loss += (log_total - (x[at + label * area] - top)) * share
                    weight += share
                else:
                    for c in range(classes):
                        p[at + c * area] = 0
                    if label != ignored:
                        refused += 1
        sums[chunk, 0], sums[chunk, 1], sums[chunk, 2] = loss, weight, refused


cross_entropy_forward = Launcher(cross_entropy_forward_range)
"""p = softmax(x) (N * C * P), 0 where the label is ignored; each chunk's loss, weight, and number of unknown labels.

Labels (N * P) are int64; `weights` has one for each class, or none at all.
"""


@kernel
def cross_entropy_backward_range(start, stop, part, scale, p, labels, weights, ignored, samples, classes, dx):
    area = labels.size // samples
    for n in range(start, stop):
        for i in range(area):
            label, at = labels[n * area + i], n * classes * area + i
            share = p.dtype.type(0)
            if label != ignored:
                share = scale * (weights[label] if weights.size else p.dtype.type(1))
            for c in range(classes):
                dx[at + c * area] = p[at + c * area] * share
            if label != ignored:
                dx[at + label * area] -= share


cross_entropy_backward = Launcher(cross_entropy_backward_range)
"""dx = (p - 1 at the label) * weight of the label * scale, 0 where the label is ignored."""
