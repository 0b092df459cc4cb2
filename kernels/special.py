"""The error function, which NumPy lacks."""

import math

from .jit import kernel, prange
from .threads import Launcher


@kernel
def erf_range(start, stop, part, x, y):
    for i in range(start, stop):
        y[i] = math.erf(x[i])


@kernel(parallel=True)
def erf_parallel(parts, n, x, y):
    for part in prange(parts):
        erf_range(part * n // parts, (part + 1) * n // parts, part, x, y)


erf_forward = Launcher(erf_range, erf_parallel)
"""y[i] = erf(x[i])"""
