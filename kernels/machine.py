"""Loops that find out what the machine can do at most, for profiles to compare with."""

from .jit import kernel
from .simd import fma, lane_sum, lanes, load, splat

CHAINS = 10  # a multiply-add takes four or five cycles, and two begin in each


@kernel
def multiply_add(x, factor, term, rounds):
    """`CHAINS` vectors in registers, each multiplied and added to in turn: nothing is loaded or stored in the loop."""
    a, b, n = splat(x, factor), splat(x, term), lanes(x)
    p0, p1, p2, p3, p4 = load(x, 0), load(x, n), load(x, 2 * n), load(x, 3 * n), load(x, 4 * n)
    p5, p6, p7, p8, p9 = load(x, 5 * n), load(x, 6 * n), load(x, 7 * n), load(x, 8 * n), load(x, 9 * n)
    for _ in range(rounds):
        p0, p1, p2, p3, p4 = fma(p0, a, b), fma(p1, a, b), fma(p2, a, b), fma(p3, a, b), fma(p4, a, b)
        p5, p6, p7, p8, p9 = fma(p5, a, b), fma(p6, a, b), fma(p7, a, b), fma(p8, a, b), fma(p9, a, b)
    return lane_sum(p0 + p1 + p2 + p3 + p4 + p5 + p6 + p7 + p8 + p9)  # all of them, or LLVM would leave some out


@kernel
def copy(x, y):
    """y = x"""
    for i in range(x.size):
        y[i] = x[i]
