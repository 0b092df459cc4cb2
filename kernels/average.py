"""Average pooling over windows that are given one by one, plane by plane, and the sharing out of its gradient.

Window (oh, ow) covers rows [top[oh], bottom[oh]) and columns [left[ow], right[ow]) of its plane and counts for
rows[oh] * columns[ow]. `shape` is (H, W, first, last, step, width): windows [first, last) of a row are `step` apart
and `width` wide. `columns` goes on for a vector behind its last window.
"""

from .jit import kernel
from .reduce import run_sum
from .simd import lanes, load, load_even, splat, store, store_pairs
from .threads import Launcher

WIDE = 16  # from here on a window's row is summed by vectors of its own


@kernel
def _window_sum(x, corner, size_w, height, left, right):
    total = x.dtype.type(0)
    for i in range(height):
        row = corner + i * size_w
        if right - left >= WIDE:
            total += run_sum(x, row + left, row + right)
        else:
            for w in range(row + left, row + right):
                total += x[w]
    return total


@kernel
def _window_sums(x, corner, size_w, height, step, width):
    """As `_window_sum`, in its order, for as many windows side by side as a vector has lanes."""
    total = splat(x, x.dtype.type(0))
    if step == 2 and width == 2 and height == 2:  # the loops below, unrolled: they take a fifth longer
        top = total + load_even(x, corner) + load_even(x, corner + 1)
        return top + load_even(x, corner + size_w) + load_even(x, corner + size_w + 1)
    for i in range(height):
        for w in range(corner + i * size_w, corner + i * size_w + width):
            total = total + (load(x, w) if step == 1 else load_even(x, w))
    return total


@kernel
def average_forward_range(start, stop, part, x, shape, top, bottom, rows, left, right, columns, y):
    size_h, size_w, first, last, step, width = shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]
    out_h, out_w, count = top.size, left.size, lanes(x)
    if not 1 <= step <= 2 or width >= WIDE:
        last = first
    for plane in range(start, stop):
        for oh in range(out_h):
            row, corner, height = (
                (plane * out_h + oh) * out_w,
                (plane * size_h + top[oh]) * size_w,
                bottom[oh] - top[oh],
            )
            ow = first
            while ow < last:
                if ow + count > last:
                    if last - first >= count:
                        ow = last - count  # some windows are looked at twice
                    elif (
                        row + ow + count > stop * out_h * out_w
                        or corner + (height - 1) * size_w + left[ow] + width - 1 + (count - 1) * step >= x.size
                    ):
                        break  # else what runs over into the next row is put right with that row
                total = _window_sums(x, corner + left[ow], size_w, height, step, width)
                store(total / (splat(x, rows[oh]) * load(columns, ow)), y, row + ow)
                ow += count
            done = min(ow, last)
            for k in range(out_w - (done - first)):  # the windows left of the vectors and right of them
                o = k if k < first else k + done - first
                y[row + o] = _window_sum(x, corner, size_w, height, left[o], right[o]) / (rows[oh] * columns[o])


average_pool_forward = Launcher(average_forward_range)
"""y (planes * OH * OW): the sum of x (planes * H * W) over each window, divided by what the window counts for."""


@kernel
def _share_pairs(start, stop, dy, size_h, size_w, top, bottom, rows, left, columns, dx):
    """Windows two cells wide side by side, and rows of windows that do not overlap: each row of dx is written once."""
    out_w, count = left.size, lanes(dx)
    edge = left[0] + 2 * out_w
    for plane in range(start, stop):
        oh = 0
        for h in range(size_h):
            row = (plane * size_h + h) * size_w
            while oh < top.size and h >= bottom[oh]:
                oh += 1
            if oh == top.size or h < top[oh]:
                dx[row : row + size_w] = 0
                continue
            source, at, ow = (plane * top.size + oh) * out_w, row + left[0], 0
            for w in range(row, at):
                dx[w] = 0
            while ow < out_w:
                if ow + count > out_w:
                    if out_w >= count:
                        ow = out_w - count
                    elif at + 2 * (ow + count) > stop * size_h * size_w or source + ow + count > dy.size:
                        break  # else what runs over into the next rows is put right with those
                share = load(dy, source + ow) / (splat(dx, rows[oh]) * load(columns, ow))
                store_pairs(share, share, dx, at + 2 * ow)
                ow += count
            for o in range(min(ow, out_w), out_w):
                share = dy[source + o] / (rows[oh] * columns[o])
                dx[at + 2 * o], dx[at + 2 * o + 1] = share, share
            for w in range(row + edge, row + size_w):
                dx[w] = 0


@kernel
def _share_cells(start, stop, dy, size_h, size_w, top, bottom, rows, left, right, columns, dx):
    """Any windows: where they overlap their shares add up."""
    for plane in range(start, stop):
        dx[plane * size_h * size_w : (plane + 1) * size_h * size_w] = 0
        for oh in range(top.size):
            for ow in range(left.size):
                share = dy[(plane * top.size + oh) * left.size + ow] / (rows[oh] * columns[ow])
                for h in range(top[oh], bottom[oh]):
                    row = (plane * size_h + h) * size_w
                    covered = dx[row + left[ow] : row + right[ow]]
                    for w in range(covered.size):
                        covered[w] += share


@kernel
def _overlap(starts, stops):
    crossings = 0
    for o in range(starts.size - 1):
        crossings += stops[o] > starts[o + 1]
    return crossings > 0


@kernel
def average_backward_range(start, stop, part, dy, shape, top, bottom, rows, left, right, columns, dx):
    size_h, size_w, first, last, step, width = shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]
    pairs = step == 2 and width == 2 and last - first == left.size
    if top.size == 1 and left.size == 1 and bottom[0] - top[0] == size_h and right[0] - left[0] == size_w:
        for plane in range(start, stop):
            share = dy[plane] / (rows[0] * columns[0])
            dx[plane * size_h * size_w : (plane + 1) * size_h * size_w] = share
    elif pairs and not _overlap(top, bottom):
        _share_pairs(start, stop, dy, size_h, size_w, top, bottom, rows, left, columns, dx)
    else:
        _share_cells(start, stop, dy, size_h, size_w, top, bottom, rows, left, right, columns, dx)


average_pool_backward = Launcher(average_backward_range)
"""dx (planes * H * W): each dy (planes * OH * OW) is shared out evenly over its window; overlapping shares add up."""
