"""Dropout by counter: whether a value is kept depends on a key and on its position, so that no mask need be stored."""

import numpy as np

from .jit import kernel
from .threads import Launcher

GAMMA, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@kernel
def mixed(z):
    """64 bits, each of which depends on each bit of z.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014 (SplitMix64).
    """
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


@kernel
def dropout_range(start, stop, part, x, key, threshold, scale, inner, y):
    zero, base = x.dtype.type(0), key + np.uint64(start) * GAMMA
    source, target = x[start * inner : stop * inner], y[start * inner : stop * inner]
    for i in range(stop - start):
        number = mixed(base + np.uint64(i) * GAMMA) >> np.uint64(32)
        factor = scale if number >= threshold else zero
        if inner == 1:
            target[i] = source[i] * factor
        else:
            for j in range(i * inner, (i + 1) * inner):
                target[j] = source[j] * factor


dropout_forward = Launcher(dropout_range, flushes=True)
"""y = x scale where the position's number, of 32 bits, is at least the threshold, else x 0.

`inner` values side by side (N * inner) share a number.
"""
