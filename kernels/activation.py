"""Activations and their gradients, value by value.

Loops run over slices from 0 on: an index that may be negative to the compiler's knowledge keeps it from using vectors.
"""

import math

from .exponential import exp
from .jit import kernel
from .simd import first_lane, lanes, load, splat, store
from .threads import Launcher

ROOT, DENSITY = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)


@kernel
def relu_forward_range(start, stop, part, x, y):
    zero, source, target = x.dtype.type(0), x[start:stop], y[start:stop]
    for i in range(target.size):
        target[i] = zero if source[i] <= zero else source[i]


relu_forward = Launcher(relu_forward_range)
"""y = 0 where x <= 0, else x: a NaN stays."""


@kernel
def relu_backward_range(start, stop, part, dy, y, dx):
    zero, source, gate, target = dy.dtype.type(0), dy[start:stop], y[start:stop], dx[start:stop]
    for i in range(target.size):
        value = source[i]  # read in any case: a load that depends on the gate is not vectorised
        target[i] = zero if gate[i] <= zero else value


relu_backward = Launcher(relu_backward_range)
"""dx = 0 where y <= 0, else dy: where y is NaN, dy passes."""


@kernel
def leaky_forward_range(start, stop, part, x, slope, y):
    zero, source, target = x.dtype.type(0), x[start:stop], y[start:stop]
    for i in range(target.size):
        target[i] = source[i] if source[i] > zero else source[i] * slope


leaky_forward = Launcher(leaky_forward_range)
"""y = x where x > 0, else x slope, a number of the same dtype."""


@kernel
def leaky_backward_range(start, stop, part, dy, x, slope, dx):
    zero, source, gate, target = dy.dtype.type(0), dy[start:stop], x[start:stop], dx[start:stop]
    for i in range(target.size):
        value = source[i]
        target[i] = value if gate[i] > zero else value * slope


leaky_backward = Launcher(leaky_backward_range)
"""dx = dy where x > 0, else dy slope."""


@kernel
def _sigmoid(like, x):
    """1 / (1 + e^-x) of a vector of the dtype of `like`: where e^-x is infinite it is 0."""
    one, zero = splat(like, like.dtype.type(1)), splat(like, like.dtype.type(0))
    return one / (one + exp(zero - x))


@kernel
def sigmoid_forward_range(start, stop, part, x, y):
    count, i = lanes(x), start
    while i + count <= stop:
        store(_sigmoid(x, load(x, i)), y, i)
        i += count
    while i < stop:  # by the same instructions, so that a value's bits do not depend on where it stands
        y[i] = first_lane(_sigmoid(x, splat(x, x[i])))
        i += 1


sigmoid_forward = Launcher(sigmoid_forward_range)
"""y = 1 / (1 + e^-x)"""


@kernel
def sigmoid_backward_range(start, stop, part, dy, y, dx):
    one, source, value, target = dy.dtype.type(1), dy[start:stop], y[start:stop], dx[start:stop]
    for i in range(target.size):
        target[i] = source[i] * value[i] * (one - value[i])


sigmoid_backward = Launcher(sigmoid_backward_range)
"""dx = dy y (1 - y)"""


@kernel
def silu_forward_range(start, stop, part, x, y):
    count, i = lanes(x), start
    while i + count <= stop:
        store(load(x, i) * _sigmoid(x, load(x, i)), y, i)
        i += count
    while i < stop:
        value = splat(x, x[i])
        y[i] = first_lane(value * _sigmoid(x, value))
        i += 1


silu_forward = Launcher(silu_forward_range)
"""y = x / (1 + e^-x)"""


@kernel
def _silu_slope(like, x):
    share, one = _sigmoid(like, x), splat(like, like.dtype.type(1))
    return share * (x * (one - share) + one)


@kernel
def silu_backward_range(start, stop, part, dy, x, dx):
    count, i = lanes(x), start
    while i + count <= stop:
        store(load(dy, i) * _silu_slope(x, load(x, i)), dx, i)
        i += count
    while i < stop:
        dx[i] = first_lane(splat(x, dy[i]) * _silu_slope(x, splat(x, x[i])))
        i += 1


silu_backward = Launcher(silu_backward_range)
"""dx = dy s (1 + x (1 - s)) with s = 1 / (1 + e^-x)"""


@kernel
def gelu_forward_range(start, stop, part, x, y):
    half, root, source, target = x.dtype.type(0.5), x.dtype.type(ROOT), x[start:stop], y[start:stop]
    for i in range(target.size):
        target[i] = source[i] * (math.erf(source[i] * root) * half + half)


gelu_forward = Launcher(gelu_forward_range)
"""y = x Phi(x), with Phi(x) = (1 + erf(x / sqrt(2))) / 2"""


@kernel
def gelu_backward_range(start, stop, part, dy, x, dx):
    half, root, density = x.dtype.type(0.5), x.dtype.type(ROOT), x.dtype.type(DENSITY)
    by, source, target = dy[start:stop], x[start:stop], dx[start:stop]
    for i in range(target.size):
        value = source[i]
        bell = math.exp(-half * value * value) * density
        target[i] = by[i] * (math.erf(value * root) * half + half + value * bell)


gelu_backward = Launcher(gelu_backward_range)
"""dx = dy (Phi(x) + x phi(x)), with phi(x) = e^(-x^2 / 2) / sqrt(2 pi)"""
