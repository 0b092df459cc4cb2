"""Pairs of kernels with one mistake each, at the top level of a module, from where another process imports them."""

import os
import signal

import numba
import numpy as np
from numba import njit

import minigrad as mg
from minigrad import nn


@njit
def same_backward(dy, x):
    return dy.copy()


def right_forward(x):
    y = np.empty_like(x)
    fill_twice(x, y)
    return y


@njit
def fill_twice(x, y):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = 2 * x[i, j]


def right_backward(dy, x):
    dx = np.empty_like(dy)
    fill_twice(dy, dx)
    return dx


right = mg.op.pair(right_forward, right_backward, name="right")


@njit
def one_too_far(x, y):
    for k in range(x.size + 1):
        y[k] = x[min(k, x.size - 1)]


def overrun_forward(x):
    y = np.empty_like(x)
    one_too_far(x.reshape(-1), y.reshape(-1))
    return y


overrun = mg.op.pair(overrun_forward, same_backward, name="overrun")


@njit(parallel=True)
def one_too_far_in_parallel(x, y):
    for k in numba.prange(x.size + 1):
        y[k] = x[k % x.size]


def hidden_overrun_forward(x):
    y = np.empty_like(x)
    one_too_far_in_parallel(x.reshape(-1), y.reshape(-1))
    return y


hidden_overrun = mg.op.pair(hidden_overrun_forward, same_backward, name="hidden_overrun")


@njit(boundscheck=False)
def reads_beyond_forward(x):
    y = x.copy()
    flat = x.reshape(-1)
    y[0, 0] += flat[flat.size]
    return y


reads_beyond = mg.op.pair(reads_beyond_forward, same_backward, name="reads_beyond")


@njit
def gap_forward(x):
    y = np.empty_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1] - (i == 1)):
            y[i, j] = x[i, j]
    return y


gap = mg.op.pair(gap_forward, same_backward, name="gap")


def gap_backward(dy, x):
    dx = np.empty_like(dy)
    dx[:, 1:] = dy[:, 1:]
    return dx


gap_on_the_way_back = mg.op.pair(lambda x: x.copy(), gap_backward, name="gap_on_the_way_back")


@njit
def clearing_backward(dy, x):
    x[1, 0] = 0
    return dy.copy()


clearing = mg.op.pair(lambda x: x.copy(), clearing_backward, name="clearing")


@njit(parallel=True)
def racing_backward(dy, x):
    total = np.zeros(1, dy.dtype)
    for i in numba.prange(2_000_000):
        total[0] += x[0, i % x.shape[1]] + 1
    return dy + total[0]


racing = mg.op.pair(lambda x: x.copy(), racing_backward, name="racing")


def uneven_forward(x):
    return x + np.random.default_rng().random()


uneven = mg.op.pair(uneven_forward, same_backward, name="uneven")


def dying_forward(x):
    os.kill(os.getpid(), signal.SIGKILL)


dying = mg.op.pair(dying_forward, same_backward, name="dying")


def beyond(x):
    """Three ops that leave their arrays."""
    return overrun(x) + hidden_overrun(x) + reads_beyond(x)


def several(x):
    """A right op and the ones that stay within their arrays and yet are wrong."""
    for op in (right, gap, gap_on_the_way_back, clearing, racing, uneven):
        x = op(x)
    return x


def idle(x):
    """No op at all."""
    return x


class Twice(nn.Module):
    """A layer around a right pair."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return right(self.inner(x))
