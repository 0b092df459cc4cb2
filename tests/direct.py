"""Convolution and its gradients in float64, tap by tap over the padded image: fast enough for layers of real sizes.

reference.py goes cell by cell and leaves padding out; here its zeros take part, so 0 times infinity is NaN, unless
`skips` leaves them out as well.
"""

import itertools

import numpy as np

import minigrad as mg
from minigrad.ops.geometry import window_axes


def _taps(axes):
    """Each cell of the window, and the slices of the padded image that it meets over all outputs."""
    for cells in itertools.product(*(range(a.window) for a in axes)):
        starts = [f * a.dilation for f, a in zip(cells, axes, strict=True)]
        yield (
            cells,
            tuple(slice(s, s + (a.out - 1) * a.stride + 1, a.stride) for s, a in zip(starts, axes, strict=True)),
        )


def _padded(x, axes):
    return np.pad(x.astype(np.float64), [(0, 0), (0, 0), *((a.before, a.after) for a in axes)])


def _inside(axes, seen):
    """Where a tap sees the image and no padding."""
    return _padded(np.ones((1, 1, *(a.size for a in axes))), axes)[(0, 0, *seen)] > 0


def _grouped(x, groups, axis):
    """Channels as (groups, channels of a group)."""
    return x.reshape(*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])


def conv(x, w, b, axes, groups, skips=False):
    padded = _grouped(_padded(x, axes), groups, 1)
    filters = _grouped(w.astype(np.float64), groups, 0)
    y = np.zeros((len(x), *filters.shape[:2], *(a.out for a in axes)))
    for cells, seen in _taps(axes):
        term = np.einsum("ngc...,gkc->ngk...", padded[(..., *seen)], filters[(..., *cells)])
        y += np.where(_inside(axes, seen), term, 0) if skips else term
    return y.reshape(len(x), len(w), *y.shape[3:]) + b.astype(np.float64).reshape(-1, *(1,) * len(axes))


def input_gradient(dy, w, axes, groups):
    filters, dy = _grouped(w.astype(np.float64), groups, 0), _grouped(dy.astype(np.float64), groups, 1)
    sizes = tuple(a.before + a.size + a.after for a in axes)
    dx = np.zeros((len(dy), groups, w.shape[1], *sizes))
    for cells, seen in _taps(axes):
        dx[(..., *seen)] += np.einsum("ngk...,gkc->ngc...", dy, filters[(..., *cells)])
    inside = tuple(slice(a.before, a.before + a.size) for a in axes)
    return dx[(..., *inside)].reshape(len(dy), groups * w.shape[1], *(a.size for a in axes))


def weight_gradient(dy, x, axes, groups, skips=False):
    padded, dy = _grouped(_padded(x, axes), groups, 1), _grouped(dy.astype(np.float64), groups, 1)
    dw = np.zeros((groups, dy.shape[2], padded.shape[2], *(a.window for a in axes)))
    for cells, seen in _taps(axes):
        used = np.where(_inside(axes, seen), dy, 0) if skips else dy
        flat = [a.reshape(*a.shape[:3], -1) for a in (used, padded[(..., *seen)])]
        dw[(..., *cells)] = np.einsum("ngkp,ngcp->gkc", *flat)
    return dw.reshape(-1, *dw.shape[2:])


class Layer:
    """A convolution with values for everything, and what it gives: y, dx, dw and db."""

    def __init__(self, dtype, samples, channels, filters, sizes, window=3, stride=1, padding=1, dilation=1, groups=1):
        self.groups = groups
        self.axes = window_axes("test", sizes, window, stride, padding, dilation)
        rng = np.random.default_rng(7)
        shapes = (
            (samples, channels, *sizes),
            (filters, channels // groups, *(a.window for a in self.axes)),
            (filters,),
            (samples, filters, *(a.out for a in self.axes)),
        )
        self.x, self.w, self.b, self.dy = (rng.standard_normal(shape).astype(dtype) for shape in shapes)

    def run(self):
        xs = [mg.tensor(a, requires_grad=True) for a in (self.x, self.w, self.b)]
        y = mg.OPS[f"conv{len(self.axes)}d"](*xs, axes=self.axes, groups=self.groups)
        return [a.numpy() for a in (y.detach(), *mg.grad(y, xs, self.dy))]

    def directly(self):
        """The same in float64."""
        return [
            conv(self.x, self.w, self.b, self.axes, self.groups),
            input_gradient(self.dy, self.w, self.axes, self.groups),
            weight_gradient(self.dy, self.x, self.axes, self.groups),
            self.dy.astype(np.float64).sum((0, *range(2, self.dy.ndim))),
        ]


# (samples, channels, filters, sizes, window, stride, padding, dilation, groups); S is the number of lanes.
KERNELS = {
    "one filter": lambda s: (s + 1, 3, 1, (7, 5)),
    "depthwise": lambda s: (s + 1, 5, 5, (7, 5), 3, 1, 1, 1, 5),
    "depthwise, two filters a channel": lambda s: (s + 1, 5, 10, (7, 5), 3, 2, 1, 1, 5),
    "few filters of two blocks of images": lambda s: (2 * s + 3, 2, s // 2 + 1, (6, 7), 5, 1, 2),
    "one image": lambda s: (1, 3, 2, (9, 8)),
    "eight filters": lambda s: (3, 4, 8, (7, 6)),
    "sixteen filters": lambda s: (3, 4, 16, (7, 6)),
    "seventeen filters": lambda s: (3, 4, 17, (7, 6)),
    "thirty-three filters": lambda s: (3, 4, 33, (7, 6)),
    "more pixels than a strip": lambda s: (2, 2, 2 * s + 1, (13, 17)),
    "more pixels than are turned at once": lambda s: (9, 2, 2 * s + 1, (17, 13)),
    "stride and groups": lambda s: (3, 4, 2 * s, (9, 8), (3, 2), (3, 2), ((2, 0), (0, 1)), 1, 2),
    "stride larger than the window": lambda s: (3, 2, s, (9, 8), 2, 3, 0),
    "stride 2 over several strips": lambda s: (2, 3, 2 * s + 1, (21, 23), 3, 2, 1),
    "stride 3 over several strips of images": lambda s: (s + 1, 2, 3, (26, 23), 4, (3, 2), 1),
    "stride of depthwise filters over several strips": lambda s: (s + 1, 3, 3, (21, 23), 3, 2, 1, 1, 3),
    "dilation": lambda s: (3, 2, s, (9, 8), 3, 1, 2, (2, 3)),
    "1x1": lambda s: (3, 5, s + 3, (4, 5), 1, 1, 0),
    "1x1 of large images": lambda s: (3, 5, 7, (9, 11), 1, 1, 0),
    "1x1 of large images and many filters": lambda s: (2, s + 1, 2 * s, (14, 14), 1, 1, 0),
    "1x1 of long signals": lambda s: (3, 4, s + 1, (101,), 1, 1, 0),
    "1x1 at stride 2": lambda s: (3, 5, s + 3, (5, 4), 1, 2, 0),
    "a window as large as the image": lambda s: (s + 1, 2, s + 3, (5, 4), (5, 4), 1, 0),
    "a signal": lambda s: (3, 3, s + 1, (19,), 4, 2, 3),
    "a signal of many": lambda s: (2 * s + 1, 3, 2, (19,), 4, 1, 3, 2),
    "a signal by groups": lambda s: (3, 2 * s, 2 * s, (9,), 3, 1, 1, 1, 2),
}
