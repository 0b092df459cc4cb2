"""Steps of optimisers in place, one pass over all parameters, their gradients and states; and norms of gradients.

Arrays come as addresses (rows, arrays): row 0 has the gradients, row 1 the parameters, the others the states, where 0
stands for one that is not kept. All are flat, one behind the other as far as items go: array k has the items from
bounds[k] to bounds[k + 1]. They are of one float dtype, that of `settings`, from which the numbers come: beside a
float64 number float32 arithmetic would become float64. Arrays share no memory.

The compiler vectorises the loops. Which of two products it would fuse with their sum may differ between a vector and
the numbers left over, and so between numbers of parts: every sum says it itself, by `fma`.

States that decay, of weights whose gradient has become 0, end among the denormal numbers and would stay there: so
denormals count as 0. Only where eps is so small that a step could divide by one do the exact kernels run.
"""

from math import inf, sqrt

import numpy as np

from .addresses import data_address, values_at
from .jit import kernel
from .simd import fma
from .threads import Launcher

CHUNK = 2048


@kernel
def locate(identities: np.ndarray, addresses: np.ndarray) -> None:
    """Where the data of arrays are, from their ids."""
    for k in range(identities.size):
        addresses[k] = data_address(identities[k])


@kernel
def first_shared(addresses: np.ndarray, sizes: np.ndarray, itemsize: int) -> int:
    """The first gradient that has memory in common with what is written, of the same sizes; -1 if there is none."""
    for k in range(sizes.size):
        start = addresses[0, k]
        stop, meets = start + sizes[k] * itemsize, False
        for row in range(1, addresses.shape[0]):
            for j in range(sizes.size):
                other = addresses[row, j]
                meets |= (other < stop) & (start < other + sizes[j] * itemsize)
        if meets:
            return k
    return -1


@kernel
def cut(bounds, k, start, stop):
    """The values of array k that are among the items from start to stop: from first to last."""
    first = max(start, bounds[k]) - bounds[k]
    return first, max(first, min(stop, bounds[k + 1]) - bounds[k])


@kernel
def five_at(like, addresses, k, first, last):
    """The values of array k in each of five rows."""
    return (
        values_at(like, addresses[0, k], first, last),
        values_at(like, addresses[1, k], first, last),
        values_at(like, addresses[2, k], first, last),
        values_at(like, addresses[3, k], first, last),
        values_at(like, addresses[4, k], first, last),
    )


@kernel
def decayed(sign, g, decay, x):
    return fma(decay, x, sign * g) if decay != 0 else sign * g  # 0 times an infinite weight would be NaN


@kernel
def sgd_values(g, p, velocity, settings):
    sign, decay, keep, gain, ahead, lr = settings[0], settings[1], settings[2], settings[3], settings[4], settings[5]
    if velocity.size:
        for i in range(p.size):
            d = decayed(sign, g[i], decay, p[i])
            v = fma(keep, velocity[i], gain * d)
            velocity[i] = v
            p[i] = fma(-lr, fma(ahead, v, d) if ahead != 0 else v, p[i])
    else:
        for i in range(p.size):
            p[i] = fma(-lr, decayed(sign, g[i], decay, p[i]), p[i])


@kernel
def sgd_range(start, stop, part, addresses, bounds, settings):
    for k in range(addresses.shape[1]):
        first, last = cut(bounds, k, start, stop)
        sgd_values(
            values_at(settings, addresses[0, k], first, last),
            values_at(settings, addresses[1, k], first, last),
            values_at(settings, addresses[2, k], first, last),
            settings,
        )


sgd_step = Launcher(sgd_range, flushes=True)
"""d = sign g + decay p; v = keep v + gain d; p -= lr v, or lr (d + ahead v) where ahead is not 0.

Where v is not kept, p -= lr d. Settings: sign, decay, keep, gain, ahead, lr.
"""


@kernel
def adam_values(views, settings):
    g, p, mean, square, largest = views
    sign, decay, shrink, a1, b2 = settings[0], settings[1], settings[2], settings[3], settings[4]
    a2, eps, rate = settings[5], settings[6], settings[7]
    if largest.size:
        for i in range(p.size):
            d = decayed(sign, g[i], decay, p[i])
            m, v = fma(a1, d - mean[i], mean[i]), fma(b2, square[i], a2 * (d * d))
            most = largest[i] if largest[i] > v or largest[i] != largest[i] else v  # NaN wins
            mean[i], square[i], largest[i] = m, v, most
            p[i] = fma(shrink, p[i], -rate * (m / (sqrt(most) + eps)))
    else:
        for i in range(p.size):
            d = decayed(sign, g[i], decay, p[i])
            m, v = fma(a1, d - mean[i], mean[i]), fma(b2, square[i], a2 * (d * d))
            mean[i], square[i] = m, v
            p[i] = fma(shrink, p[i], -rate * (m / (sqrt(v) + eps)))


@kernel
def adam_range(start, stop, part, addresses, bounds, settings):
    for k in range(addresses.shape[1]):
        first, last = cut(bounds, k, start, stop)
        adam_values(five_at(settings, addresses, k, first, last), settings)


adam_step, adam_step_exact = Launcher(adam_range, flushes=True), Launcher(adam_range)
"""d = sign g + decay p; m += a1 (d - m); v = b2 v + a2 d^2; p = shrink p - rate m / (sqrt(v) + eps).

Where the largest v so far is kept, it stands in place of v. Settings: sign, decay, shrink, a1, b2, a2, eps, rate.
"""


@kernel
def deviation(square, mean):
    variance = fma(-mean, mean, square)
    return sqrt(variance - variance if variance < 0 else variance)  # below 0 by rounding, where g hardly changes


@kernel
def rmsprop_values(views, settings):
    g, p, square, mean, velocity = views
    sign, decay, alpha, gain = settings[0], settings[1], settings[2], settings[3]
    eps, momentum, lr = settings[4], settings[5], settings[6]
    if mean.size and velocity.size:
        for i in range(p.size):
            d = decayed(sign, g[i], decay, p[i])
            s, m = fma(alpha, square[i], gain * (d * d)), fma(gain, d - mean[i], mean[i])
            v = fma(momentum, velocity[i], d / (deviation(s, m) + eps))
            square[i], mean[i], velocity[i] = s, m, v
            p[i] = fma(-lr, v, p[i])
    elif mean.size:
        for i in range(p.size):
            d = decayed(sign, g[i], decay, p[i])
            s, m = fma(alpha, square[i], gain * (d * d)), fma(gain, d - mean[i], mean[i])
            square[i], mean[i] = s, m
            p[i] = fma(-lr, d / (deviation(s, m) + eps), p[i])
    elif velocity.size:
        for i in range(p.size):
            d = decayed(sign, g[i], decay, p[i])
            s = fma(alpha, square[i], gain * (d * d))
            v = fma(momentum, velocity[i], d / (sqrt(s) + eps))
            square[i], velocity[i] = s, v
            p[i] = fma(-lr, v, p[i])
    else:
        for i in range(p.size):
            d = decayed(sign, g[i], decay, p[i])
            s = fma(alpha, square[i], gain * (d * d))
            square[i] = s
            p[i] = fma(-lr, d / (sqrt(s) + eps), p[i])


@kernel
def rmsprop_range(start, stop, part, addresses, bounds, settings):
    for k in range(addresses.shape[1]):
        first, last = cut(bounds, k, start, stop)
        rmsprop_values(five_at(settings, addresses, k, first, last), settings)


rmsprop_step, rmsprop_step_exact = Launcher(rmsprop_range, flushes=True), Launcher(rmsprop_range)
"""d = sign g + decay p; s = alpha s + gain d^2; m += gain (d - m); v = momentum v + d / (sqrt(s - m^2) + eps).

Then p -= lr v. m and v are left out where not kept. Settings: sign, decay, alpha, gain, eps, momentum, lr.
"""


@kernel(reassociate=True)  # or the sum of squares would not be vectorised; its terms are those of one chunk
def chunk_sum(row, order):
    total = 0.0
    if order == 2:
        for i in range(row.size):
            size = 1.0 * row[i]  # squares of float32 would overflow from 1e19 on
            total += size * size
    elif order == 1:
        for i in range(row.size):
            total += abs(row[i])
    elif order == inf:
        for i in range(row.size):
            size = 1.0 * abs(row[i])
            if size > total or size != size:  # NaN wins
                total = size
    else:
        for i in range(row.size):
            total += (1.0 * abs(row[i])) ** order
    return total


@kernel
def power_sum_range(start, stop, part, addresses, bounds, like, chunks, order, partial):
    for k in range(addresses.shape[1]):
        for chunk in range(max(start, chunks[k]), min(stop, chunks[k + 1])):
            at = bounds[k] + (chunk - chunks[k]) * CHUNK
            first, last = cut(bounds, k, at, at + CHUNK)
            partial[chunk] = chunk_sum(values_at(like, addresses[0, k], first, last), order)


power_sum = Launcher(power_sum_range)
"""partial[chunk] = sum of |x|^order over each CHUNK values of one array, in float64; for infinity their largest.

Array k has the chunks from chunks[k] to chunks[k + 1]. The arrays' dtype is that of `like`.
"""
