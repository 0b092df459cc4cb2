"""Activations and their gradients, value by value."""

from .jit import kernel
from .threads import Launcher


@kernel
def relu_forward_range(start, stop, part, x, y):
    zero = x.dtype.type(0)
    for i in range(start, stop):
        y[i] = zero if x[i] <= zero else x[i]


relu_forward = Launcher(relu_forward_range)
"""y = 0 where x <= 0, else x: a NaN stays."""


@kernel
def relu_backward_range(start, stop, part, dy, y, dx):
    zero = dy.dtype.type(0)
    for i in range(start, stop):
        dx[i] = zero if y[i] <= zero else dy[i]


relu_backward = Launcher(relu_backward_range)
"""dx = 0 where y <= 0, else dy: where y is NaN, dy passes."""


@kernel
def leaky_forward_range(start, stop, part, x, slope, y):
    zero = x.dtype.type(0)
    for i in range(start, stop):
        y[i] = x[i] if x[i] > zero else x[i] * slope


leaky_forward = Launcher(leaky_forward_range)
"""y = x where x > 0, else x slope, a number of the same dtype."""


@kernel
def leaky_backward_range(start, stop, part, dy, x, slope, dx):
    zero = dy.dtype.type(0)
    for i in range(start, stop):
        dx[i] = dy[i] if x[i] > zero else dy[i] * slope


leaky_backward = Launcher(leaky_backward_range)
"""dx = dy where x > 0, else dy slope."""
