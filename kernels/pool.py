"""Max pooling, plane by plane (one plane is one channel of one image), and where its gradient goes.

A winner is known by its place in the window, fh * FW + fw: a byte, unless windows have more cells than bytes can count.
"""

import math

from .jit import kernel
from .simd import lanes, load, load_bytes, load_even, splat, store, store_bytes, store_pairs, where_beats, where_equal
from .threads import Launcher
from .windows import axis_of, inside

MOST_PLACES = 256


@kernel
def cells_inside(axis, o):
    """The cells [first, last) of window o that lie in the input rather than in its padding."""
    size, window, stride, before, dilation, _ = axis
    start = o * stride - before
    first = max(0, (dilation - 1 - start) // dilation)
    return first, min(window, (size - 1 - start) // dilation + 1)


@kernel
def _best_of_window(x, corner, row_length, rows, columns, dh, dw, fw):
    """The largest value of a window's cells rows x columns, and its place: the first of equals stays, a NaN wins."""
    place = rows[0] * fw + columns[0]
    best = x[corner + rows[0] * dh * row_length + columns[0] * dw]
    for i in range(rows[0], rows[1]):
        for j in range(columns[0], columns[1]):
            value = x[corner + i * dh * row_length + j * dw]
            if value > best or (math.isnan(value) and not math.isnan(best)):
                best, place = value, i * fw + j
    return best, place


@kernel
def _best_of_windows(x, corner, row_length, rows, step, dh, dw, fw):
    """As `_best_of_window`, for as many windows side by side as a vector has lanes, all their columns inside."""
    at = corner + rows[0] * dh * row_length
    best = load(x, at) if step == 1 else load_even(x, at)
    here = place = splat(x, x.dtype.type(rows[0] * fw))
    one, j = splat(x, x.dtype.type(1)), 1
    for i in range(rows[0], rows[1]):
        at = corner + i * dh * row_length
        while j < fw:
            value, here = load(x, at + j * dw) if step == 1 else load_even(x, at + j * dw), here + one
            best, place = where_beats(value, best, value, best), where_beats(value, best, here, place)
            j += 1
        j = 0
    return best, place


@kernel
def _best_of_fours(x, top, bottom):
    """As `_best_of_windows`, for windows of 2 x 2 cells that are two cells apart."""
    best, place = load_even(x, top), splat(x, x.dtype.type(0))
    value, here = load_even(x, top + 1), splat(x, x.dtype.type(1))
    best, place = where_beats(value, best, value, best), where_beats(value, best, here, place)
    value, here = load_even(x, bottom), splat(x, x.dtype.type(2))
    best, place = where_beats(value, best, value, best), where_beats(value, best, here, place)
    value, here = load_even(x, bottom + 1), splat(x, x.dtype.type(3))
    return where_beats(value, best, value, best), where_beats(value, best, here, place)


@kernel
def max_forward_range(start, stop, part, x, axes, y, places):
    height, width = axis_of(axes, 0), axis_of(axes, 1)
    size_h, _, sh, ph, dh, out_h = height
    size_w, fw, sw, pw, dw, out_w = width
    first = inside(width, 0)[0]
    last = max(first, inside(width, fw - 1)[1])  # the windows that no padding reaches into, if there are any
    count, bytewise = lanes(x), places.itemsize == 1
    fours = height[1] == 2 and fw == 2 and sw == 2 and dw == 1
    for plane in range(start, stop):
        for oh in range(out_h):
            rows = cells_inside(height, oh)
            row = (plane * out_h + oh) * out_w
            corner = (plane * size_h + oh * sh - ph) * size_w - pw
            reach = (rows[1] - 1) * dh * size_w + (fw - 1) * dw + (count - 1) * sw  # from a vector's corner to its end
            ow = first
            while sw <= 2 and bytewise and ow < last:
                if ow + count > last:
                    if last - first >= count:
                        ow = last - count  # some windows are looked at twice
                    elif row + ow + count > stop * out_h * out_w or corner + ow * sw + reach >= x.size:
                        break  # else what runs over into the next row is put right with that row
                at = corner + ow * sw
                if fours and rows[0] == 0 and rows[1] == 2:
                    best, place = _best_of_fours(x, at, at + dh * size_w)
                else:
                    best, place = _best_of_windows(x, at, size_w, rows, sw, dh, dw, fw)
                store(best, y, row + ow)
                store_bytes(place, places, row + ow)
                ow += count
            done = min(ow, last)
            for k in range(out_w - (done - first)):  # the windows left of the vectors and right of them
                o = k if k < first else k + done - first
                columns = cells_inside(width, o)
                y[row + o], places[row + o] = _best_of_window(x, corner + o * sw, size_w, rows, columns, dh, dw, fw)


max_pool_forward = Launcher(max_forward_range)
"""y (planes * OH * OW) from x (planes * H * W), and in which of its window's places each winner stands."""


def _unpool_rows(rows):
    @kernel
    def unpool(start, stop, dy, axes, places, dx):
        size_h, _, sh, _, _, out_h = axis_of(axes, 0)
        size_w, _, _, _, _, out_w = axis_of(axes, 1)
        count, zero = lanes(dx), splat(dx, dx.dtype.type(0))
        for plane in range(start, stop):
            for oh in range(out_h):
                row, source = (plane * size_h + oh * sh) * size_w, (plane * out_h + oh) * out_w
                ow = 0
                while ow < out_w:
                    if ow + count > out_w:
                        end = row + (rows - 1) * size_w + 2 * (ow + count)
                        if out_w >= count:
                            ow = out_w - count
                        elif end > stop * size_h * size_w or source + ow + count > dy.size:
                            break  # else what runs over into the next rows is put right with those
                    value, place = load(dy, source + ow), load_bytes(zero, places, source + ow)
                    for i in range(rows):
                        left, right = splat(dx, dx.dtype.type(2 * i)), splat(dx, dx.dtype.type(2 * i + 1))
                        left, right = where_equal(place, left, value, zero), where_equal(place, right, value, zero)
                        store_pairs(left, right, dx, row + i * size_w + 2 * ow)
                    ow += count
                for i in range(rows):
                    for w in range(2 * min(ow, out_w), 2 * out_w):
                        is_winner = places[source + w // 2] == 2 * i + w % 2
                        dx[row + i * size_w + w] = dy[source + w // 2] if is_winner else 0
                    for w in range(2 * out_w, size_w):
                        dx[row + i * size_w + w] = 0
                dx[row + rows * size_w : row + min(sh, size_h - oh * sh) * size_w] = 0
            dx[(plane * size_h + min(size_h, out_h * sh)) * size_w : (plane + 1) * size_h * size_w] = 0

    return unpool


_unpool_row, _unpool_two_rows = _unpool_rows(1), _unpool_rows(2)
"""Windows of so many rows and two columns that tile the input from its first cell on: dx is written once."""


@kernel
def _unpool_cells(start, stop, dy, axes, places, dx):
    """Any windows; a place in the padding, or in no window, goes nowhere."""
    size_h, fh, sh, ph, dh, out_h = axis_of(axes, 0)
    size_w, fw, sw, pw, dw, out_w = axis_of(axes, 1)
    dx[start * size_h * size_w : stop * size_h * size_w] = 0
    for plane in range(start, stop):
        for oh in range(out_h):
            for ow in range(out_w):
                o = (plane * out_h + oh) * out_w + ow
                i = places[o] // fw
                h, w = oh * sh - ph + i * dh, ow * sw - pw + (places[o] - i * fw) * dw
                if 0 <= i < fh and 0 <= h < size_h and 0 <= w < size_w:
                    dx[(plane * size_h + h) * size_w + w] += dy[o]


@kernel
def max_backward_range(start, stop, part, dy, axes, places, dx):
    size_h, fh, sh, ph, dh, out_h = axis_of(axes, 0)
    size_w, fw, sw, pw, dw, out_w = axis_of(axes, 1)
    tiled = fw == 2 and sw == 2 and dw == 1 and pw == 0 and 2 * out_w <= size_w and places.itemsize == 1
    tiled = tiled and fh <= sh and ph == 0 and dh == 1 and (out_h - 1) * sh + fh <= size_h
    if tiled and fh == 1:
        _unpool_row(start, stop, dy, axes, places, dx)
    elif tiled and fh == 2:
        _unpool_two_rows(start, stop, dy, axes, places, dx)
    else:
        _unpool_cells(start, stop, dy, axes, places, dx)


max_pool_backward = Launcher(max_backward_range)
"""dx (planes * H * W): each dy (planes * OH * OW) goes to its winner; where windows overlap they add up."""


@kernel
def scatter_range(start, stop, part, dy, winners, dx):
    for plane in range(start, stop):
        dx[plane, :] = 0
        for p in range(dy.shape[1]):
            dx[plane, winners[plane, p]] += dy[plane, p]


unpool_winners = Launcher(scatter_range)
"""dx (planes, H * W): each dy (planes, OH * OW) is added at its index into the plane."""


@kernel
def gather_range(start, stop, part, x, winners, y):
    for plane in range(start, stop):
        for p in range(y.shape[1]):
            y[plane, p] = x[plane, winners[plane, p]]


pick_winners = Launcher(gather_range)
"""y (planes, OH * OW) = the values of x (planes, H * W) at the winners."""
