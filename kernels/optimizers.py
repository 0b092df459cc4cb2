"""Steps of optimisers in place, in one pass over a parameter, its gradient and its state; and norms of gradients.

All arrays are flat and of one float dtype, and so is `settings`, from which the numbers come: beside a float64 number
float32 arithmetic would become float64. An array of size 0 stands for a state that is not kept. The compiler
vectorises the loops. Which of two products it would fuse with their sum may differ between a vector and the numbers
left over, and so between numbers of parts: every sum says it itself, by `fma`.

States that decay, of weights whose gradient has become 0, end among the denormal numbers and would stay there: so
denormals count as 0. Only where eps is so small that a step could divide by one do the exact kernels run.
"""

from math import inf, sqrt

from .jit import kernel
from .simd import fma
from .threads import Launcher

CHUNK = 2048


@kernel
def decayed(d, decay, x):
    return fma(decay, x, d) if decay != 0 else d  # 0 times an infinite weight would be NaN


@kernel
def sgd_range(start, stop, part, p, g, velocity, settings):
    p, g, velocity = p[start:stop], g[start:stop], velocity[start:stop]
    decay, keep, gain, ahead, lr = settings[0], settings[1], settings[2], settings[3], settings[4]
    if velocity.size:
        for i in range(p.size):
            d = decayed(g[i], decay, p[i])
            v = fma(keep, velocity[i], gain * d)
            velocity[i] = v
            p[i] = fma(-lr, fma(ahead, v, d) if ahead != 0 else v, p[i])
    else:
        for i in range(p.size):
            p[i] = fma(-lr, decayed(g[i], decay, p[i]), p[i])


sgd_step = Launcher(sgd_range, flushes=True)
"""d = g + decay p; v = keep v + gain d; p -= lr v, or lr (d + ahead v) if ahead is not 0, or lr d if v is not kept.

Settings: decay, keep, gain, ahead, lr.
"""


@kernel
def adam_range(start, stop, part, p, g, mean, square, largest, settings):
    p, g, mean, square, largest = (
        p[start:stop],
        g[start:stop],
        mean[start:stop],
        square[start:stop],
        largest[start:stop],
    )
    decay, shrink, a1, b2, a2 = settings[0], settings[1], settings[2], settings[3], settings[4]
    eps, rate = settings[5], settings[6]
    if largest.size:
        for i in range(p.size):
            d = decayed(g[i], decay, p[i])
            m, v = fma(a1, d - mean[i], mean[i]), fma(b2, square[i], a2 * (d * d))
            most = largest[i] if largest[i] > v or largest[i] != largest[i] else v  # NaN wins
            mean[i], square[i], largest[i] = m, v, most
            p[i] = fma(shrink, p[i], -rate * (m / (sqrt(most) + eps)))
    else:
        for i in range(p.size):
            d = decayed(g[i], decay, p[i])
            m, v = fma(a1, d - mean[i], mean[i]), fma(b2, square[i], a2 * (d * d))
            mean[i], square[i] = m, v
            p[i] = fma(shrink, p[i], -rate * (m / (sqrt(v) + eps)))


adam_step, adam_step_exact = Launcher(adam_range, flushes=True), Launcher(adam_range)
"""d = g + decay p; m += a1 (d - m); v = b2 v + a2 d^2; p = shrink p - rate m / (sqrt(v) + eps).

Where the largest v so far is kept, it stands in place of v. Settings: decay, shrink, a1, b2, a2, eps, rate.
"""


@kernel
def deviation(square, mean):
    variance = fma(-mean, mean, square)
    return sqrt(variance - variance if variance < 0 else variance)  # below 0 by rounding, where g hardly changes


@kernel
def rmsprop_range(start, stop, part, p, g, square, mean, velocity, settings):
    p, g, square, mean, velocity = (
        p[start:stop],
        g[start:stop],
        square[start:stop],
        mean[start:stop],
        velocity[start:stop],
    )
    decay, alpha, gain, eps = settings[0], settings[1], settings[2], settings[3]
    momentum, lr = settings[4], settings[5]
    if mean.size and velocity.size:
        for i in range(p.size):
            d = decayed(g[i], decay, p[i])
            s, m = fma(alpha, square[i], gain * (d * d)), fma(gain, d - mean[i], mean[i])
            v = fma(momentum, velocity[i], d / (deviation(s, m) + eps))
            square[i], mean[i], velocity[i] = s, m, v
            p[i] = fma(-lr, v, p[i])
    elif mean.size:
        for i in range(p.size):
            d = decayed(g[i], decay, p[i])
            s, m = fma(alpha, square[i], gain * (d * d)), fma(gain, d - mean[i], mean[i])
            square[i], mean[i] = s, m
            p[i] = fma(-lr, d / (deviation(s, m) + eps), p[i])
    elif velocity.size:
        for i in range(p.size):
            d = decayed(g[i], decay, p[i])
            s = fma(alpha, square[i], gain * (d * d))
            v = fma(momentum, velocity[i], d / (sqrt(s) + eps))
            square[i], velocity[i] = s, v
            p[i] = fma(-lr, v, p[i])
    else:
        for i in range(p.size):
            d = decayed(g[i], decay, p[i])
            s = fma(alpha, square[i], gain * (d * d))
            square[i] = s
            p[i] = fma(-lr, d / (sqrt(s) + eps), p[i])


rmsprop_step, rmsprop_step_exact = Launcher(rmsprop_range, flushes=True), Launcher(rmsprop_range)
"""d = g + decay p; s = alpha s + gain d^2; m += gain (d - m); v = momentum v + d / (sqrt(s - m^2) + eps); p -= lr v.

m and v are left out where not kept. Settings: decay, alpha, gain, eps, momentum, lr.
"""


@kernel(reassociate=True)  # or the sum of squares would not be vectorised; its terms are those of one chunk
def power_sum_range(start, stop, part, x, order, partial):
    for chunk in range(start, stop):
        row = x[chunk * CHUNK : (chunk + 1) * CHUNK]
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
        partial[chunk] = total


power_sum = Launcher(power_sum_range)
"""partial[chunk] = sum of |x|^order over each CHUNK values of x, in float64; for the order infinity their largest."""
