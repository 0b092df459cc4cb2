"""Pooling: the largest or the mean value of each window, plane by plane (one plane is one channel of one image)."""

import math

from .jit import kernel
from .threads import Launcher
from .windows import axis_of


@kernel
def max_forward_range(start, stop, part, x, axes, y, winners):
    height, width = axis_of(axes, 0), axis_of(axes, 1)
    size_h, fh, sh, ph, dh, out_h = height
    size_w, fw, sw, pw, dw, out_w = width
    for plane in range(start, stop):
        image = x[plane]
        for oh in range(out_h):
            for ow in range(out_w):
                winner = -1
                best = x.dtype.type(-math.inf)
                for i in range(fh):
                    h = oh * sh - ph + i * dh
                    for j in range(fw):
                        w = ow * sw - pw + j * dw
                        if 0 <= h < size_h and 0 <= w < size_w:
                            value = image[h, w]
                            # The first of equals stays, a NaN beats every number, all -inf leaves the first cell.
                            if winner < 0 or value > best or (math.isnan(value) and not math.isnan(best)):
                                best, winner = value, h * size_w + w
                y[plane, oh, ow] = best
                winners[plane, oh, ow] = winner


max_pool_forward = Launcher(max_forward_range)
"""y (planes, OH, OW) from x (planes, H, W), and where in its plane each winner stands."""


@kernel
def scatter_range(start, stop, part, dy, winners, dx):
    for plane in range(start, stop):
        dx[plane, :] = 0
        for p in range(dy.shape[1]):
            dx[plane, winners[plane, p]] += dy[plane, p]


max_pool_backward = Launcher(scatter_range)
"""dx (planes, H * W): each dy (planes, OH * OW) goes to its winner; where windows overlap they add up."""


@kernel
def gather_range(start, stop, part, x, winners, y):
    for plane in range(start, stop):
        for p in range(y.shape[1]):
            y[plane, p] = x[plane, winners[plane, p]]


pick_winners = Launcher(gather_range)
"""y (planes, OH * OW) = the values of x (planes, H * W) at the winners."""


@kernel
def average_forward_range(start, stop, part, x, top, bottom, rows, left, right, columns, y):
    for plane in range(start, stop):
        image = x[plane]
        for oh in range(top.size):
            for ow in range(left.size):
                total = x.dtype.type(0)
                for h in range(top[oh], bottom[oh]):
                    for w in range(left[ow], right[ow]):
                        total += image[h, w]
                y[plane, oh, ow] = total / (rows[oh] * columns[ow])


average_pool_forward = Launcher(average_forward_range)
"""y[oh, ow] = sum of x[top:bottom, left:right] / (rows columns), with each of these given per output row or column."""


@kernel
def average_backward_range(start, stop, part, dy, top, bottom, rows, left, right, columns, dx):
    for plane in range(start, stop):
        image = dx[plane]
        image[:] = 0
        for oh in range(top.size):
            for ow in range(left.size):
                share = dy[plane, oh, ow] / (rows[oh] * columns[ow])
                for h in range(top[oh], bottom[oh]):
                    for w in range(left[ow], right[ow]):
                        image[h, w] += share


average_pool_backward = Launcher(average_backward_range)
"""dx: each dy is shared out evenly over its window; where windows overlap they add up."""
