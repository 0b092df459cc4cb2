"""Activations and their gradients, value by value.

Loops run over slices from 0 on: an index that may be negative to the compiler's knowledge keeps it from using vectors.
"""

from .jit import kernel
from .threads import Launcher


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
        target[i] = zero if gate[i] <= zero else source[i]


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
        target[i] = source[i] if gate[i] > zero else source[i] * slope


leaky_backward = Launcher(leaky_backward_range)
"""dx = dy where x > 0, else dy slope."""
