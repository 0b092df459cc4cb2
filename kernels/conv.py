"""Convolution over channels: a tile is ROWS pixels x COLUMNS vectors of filters.

Arrays are flat. `taps` says where the cells of a window lie from its first one, `pixels` where the first cell of each
window lies in an image with its padding: so one kernel serves any window, stride, padding and dilation, and the input
gradient as well, which is the same sum over other cells. `reach` says which taps are a pixel's: those that lie within
the image's rows and, in the input gradient, those of its phase of the stride. Filters come in panels (groups, panels,
taps, width): at each tap the weights of as many filters as a tile is wide. `sizes` is told in `Sizes`.

Results are computed strip by strip. Within a strip tiles take `pixels` in order, a tile those of one phase; `rows` says
to which row of the strip each belongs, `strips` where each strip's begin.
"""

from typing import Any, NamedTuple

from .jit import kernel
from .simd import lanes, load, prefetch, splat, store, store_bytes, where_beats
from .threads import Launcher
from .tile import COLUMNS, ROWS, floored, listed, load_tile, outer, spaced, store_tile, transpose

STRIP = 192  # pixels that are computed before they are transposed to planes; they stay in a core's first cache
DEPTH = 256  # pixels whose gradients are transposed at once


class Sizes(NamedTuple):
    """The numbers a kernel gets, as an array in this order: of images, of their padding, and of what is computed."""

    groups: int
    channels: int  # of a group
    filters: int  # of a group
    height: int
    width: int
    rows: int  # of an image with its padding
    pitch: int  # from one of them to the next
    top: int
    left: int
    terms: int  # channels times the cells of a window
    outputs: int  # pixels computed per filter, before pooling
    plane: int  # values of y per filter


def kept_size(sizes):
    """The values kept for an image with its padding, in whole cache lines; 0 if it has none and is read where it is."""
    rows, pitch = sizes[5], sizes[6]
    return 0 if (sizes[3], sizes[4]) == (rows, pitch) else (sizes[0] * sizes[1] * rows * pitch + 15) // 16 * 16


padded_size = kernel(kept_size)


@kernel
def pad_image(x, first, sizes, padded):
    """An image's values amid the zeros of its padding, which are there already."""
    channels, height, width = sizes[0] * sizes[1], sizes[3], sizes[4]
    rows, pitch, top, left = sizes[5], sizes[6], sizes[7], sizes[8]
    for c in range(channels):
        for h in range(height):
            source = x[first + (c * height + h) * width : first + (c * height + h + 1) * width]
            start = (c * rows + top + h) * pitch + left
            target = padded[start : start + width]
            for i in range(width):
                target[i] = source[i]


@kernel(inline=True)
def seen_taps(reach, first, count):
    """The taps with which any of `count` pixels may see more than padding: those of the first and last hold all."""
    last = first + count - 1
    return min(reach[0, first], reach[0, last]), max(reach[1, first], reach[1, last])


def pixel_tile(columns):
    @kernel(inline=True)
    def multiply(source, starts, taps, seen, panels, at, width, bias, channel, floor, strip, rows):
        places = spaced(0, lanes(source), columns)
        tile = load_tile(bias, spaced(channel, 0, ROWS), places)
        for t in range(seen[0], seen[1]):
            tile = outer(tile, source, starts, taps[t], panels, places, at + t * width)
        store_tile(floored(tile, floor), strip, rows, places)

    return multiply


narrow_tile, wide_tile = pixel_tile(1), pixel_tile(COLUMNS)


@kernel
def pool_strip(strip, width, windows, codes):
    """Rows of `strip` four by four to their largest, and in `codes` which of the four it was: the first of equals."""
    for q in range(windows):
        for at in range(0, width, lanes(strip)):
            best, code = load(strip, 4 * q * width + at), splat(strip, 0)
            for j in range(1, 4):
                value = load(strip, (4 * q + j) * width + at)
                code = where_beats(value, best, splat(strip, j), code)
                best = where_beats(value, best, value, best)
            store(best, strip, q * width + at)
            store(code, codes, q * width + at)


@kernel
def strip_to_planes(strip, width, count, filters, y, first, plane, corner):
    """y[first + k * plane + p] = strip[p, k] for p < count, k < filters."""
    step = lanes(strip)
    for k in range(0, filters, step):
        for p in range(0, count, step):
            if k + step <= filters and p + step <= count:
                transpose(strip, p * width + k, width, y, first + k * plane + p, plane)
                continue
            transpose(strip, p * width + k, width, corner, 0, step)
            for j in range(min(step, filters - k)):
                for i in range(min(step, count - p)):
                    y[first + (k + j) * plane + p + i] = corner[j * step + i]


@kernel
def strip_to_bytes(strip, width, count, filters, codes, first, plane, corner):
    """codes[first + k * plane + p] = strip[p, k], as bytes."""
    step = lanes(strip)
    for k in range(0, filters, step):
        for p in range(0, count, step):
            transpose(strip, p * width + k, width, corner, 0, step)
            for j in range(min(step, filters - k)):
                start = first + (k + j) * plane + p
                if p + step <= count:
                    store_bytes(load(corner, j * step), codes, start)
                else:
                    for i in range(count - p):
                        codes[start + i] = int(corner[j * step + i])


@kernel
def correlate_range(
    start, stop, part, x, panels, bias, taps, pixels, reach, rows, strips, sizes, floor, y, codes, scratch
):
    groups, channels, filters, terms, outputs, plane = sizes[0], sizes[1], sizes[2], sizes[9], sizes[10], sizes[11]
    narrow, wide = lanes(x), COLUMNS * lanes(x)
    per_group = (filters + wide - 1) // wide
    rounded = per_group * wide
    image, padding = groups * channels * sizes[3] * sizes[4], padded_size(sizes)
    own = scratch[part]
    padded, strip = own[:padding], own[padding : padding + (STRIP + lanes(x)) * wide]
    choices = own[padding + strip.size : padding + strip.size + STRIP // 4 * wide]
    corner = own[padding + strip.size + choices.size :]
    pooled = codes.size > 0
    padded[:] = 0
    held = -1
    for item in range(start, stop):
        n, g, panel = item // (groups * per_group), item // per_group % groups, item % per_group
        if padding and n != held:
            pad_image(x, n * image, sizes, padded)
            held = n
        source = padded if padding else x[n * image : (n + 1) * image]
        source = source[g * channels * sizes[5] * sizes[6] :]
        first, at = panel * wide, (g * per_group + panel) * terms * wide
        present = min(wide, filters - first)
        target = ((n * groups + g) * filters + first) * plane
        for p in range(0, outputs, STRIP):
            count = min(STRIP, outputs - p)
            for q in range(strips[p // STRIP], strips[p // STRIP + 1], ROWS):
                starts, lines, channel = listed(pixels, q, ROWS), listed(rows, q, ROWS), g * rounded + first
                seen = seen_taps(reach, q, ROWS)
                if present <= narrow:
                    narrow_tile(source, starts, taps, seen, panels, at, wide, bias, channel, floor, strip, lines)
                else:
                    wide_tile(source, starts, taps, seen, panels, at, wide, bias, channel, floor, strip, lines)
            if pooled:
                pool_strip(strip, wide, count // 4, choices)
                strip_to_planes(strip, wide, count // 4, present, y, target + p // 4, plane, corner)
                strip_to_bytes(choices, wide, count // 4, present, codes, target + p // 4, plane, corner)
            else:
                strip_to_planes(strip, wide, count, present, y, target + p, plane, corner)


correlate = Launcher(correlate_range, flushes=True)
"""y[n, k] = max(bias[k] + sum over the taps t of panels[t, k] times the cell of x[n] at pixel + taps[t], floor).

Items are images times panels. `pixels` are whole tiles of ROWS, `rows` in values, `bias` is as long as the panels are
wide together. With `codes`, results come window by window, four each: y holds the largest of each and `codes` which it
was.
"""


def weight_tile(columns):
    @kernel(inline=True)
    def multiply(source, starts, pixels, p, count, dy, width, partial, rows):
        places = spaced(0, lanes(source), columns)
        tile = load_tile(partial, rows, places)
        for i in range(count):
            tile = outer(tile, source, starts, pixels[p + i], dy, places, i * width)
        store_tile(tile, partial, rows, places)

    return multiply


narrow_weight_tile, wide_weight_tile = weight_tile(1), weight_tile(COLUMNS)


@kernel
def planes_to_rows(dy, first, plane, p, count, filters, target, width):
    """target[i, k] = dy[first + k * plane + p + i] for i < count, k < filters."""
    step = lanes(dy)
    for k in range(0, filters, step):
        for i in range(0, count, step):
            source = first + k * plane + p + i
            if k + step <= filters and i + step <= count:
                transpose(dy, source, plane, target, i * width + k, width)
                continue
            for b in range(min(step, count - i)):
                for a in range(min(step, filters - k)):
                    target[(i + b) * width + k + a] = dy[source + a * plane + b]


@kernel
def weight_gradient_range(start, stop, part, dy, x, taps, pixels, sizes, samples, each, together, partial, scratch):
    groups, channels, filters, terms, outputs = sizes[0], sizes[1], sizes[2], sizes[9], sizes[10]
    rows, pitch = sizes[5], sizes[6]
    narrow, wide = lanes(x), COLUMNS * lanes(x)
    per_group = (filters + wide - 1) // wide
    per_item = (per_group + together - 1) // together
    rounded, line = (terms + ROWS - 1) // ROWS * ROWS, 64 // x.itemsize
    image, padding = groups * channels * sizes[3] * sizes[4], padded_size(sizes)
    own = scratch[part]
    padded, turned = own[:padding], own[padding:]
    padded[:] = 0
    for item in range(start, stop):
        chunk, g, panel = item // (groups * per_item), item // per_item % groups, item % per_item * together
        panels = range(panel, min(per_group, panel + together))
        for panel in panels:
            partial[(chunk * groups + g) * per_group + panel, :] = 0
        for n in range(chunk * each, min(samples, (chunk + 1) * each)):
            if padding:
                pad_image(x, n * image, sizes, padded)
            source = padded if padding else x[n * image : (n + 1) * image]
            source = source[g * channels * rows * pitch :]
            for panel in panels:  # the image stays in the cache meanwhile
                sums, present = partial[(chunk * groups + g) * per_group + panel], min(wide, filters - panel * wide)
                origin = ((n * groups + g) * filters + panel * wide) * outputs
                for p in range(0, outputs, DEPTH):
                    count = min(DEPTH, outputs - p)
                    planes_to_rows(dy, origin, outputs, p, count, present, turned, wide)
                    share = (count * wide // line * ROWS // rounded + 1) * line  # of the next panel, for each tile
                    following = origin + (outputs + p) * wide
                    for t in range(0, rounded, ROWS):
                        for i in range(following, following + share, line):
                            prefetch(dy, i)
                        following += share
                        starts, places = listed(taps, t, ROWS), spaced(t * wide, wide, ROWS)
                        if present <= narrow:
                            narrow_weight_tile(source, starts, pixels, p, count, turned, wide, sums, places)
                        else:
                            wide_weight_tile(source, starts, pixels, p, count, turned, wide, sums, places)


conv_weight_gradient = Launcher(weight_gradient_range, flushes=True)
"""partial (chunks * groups * panels, taps rounded to ROWS times width): dw of each chunk of the batch, for tree_sum.

A chunk is `each` samples. Items are chunks times groups times as many panels as are taken `together`; filters that
fill up a panel get any values.
"""


def correlate_scratch(sizes: Any, step: int) -> int:
    """The scratch of one part of `correlate`, in values, for vectors of `step` of them."""
    strips = (STRIP + step + STRIP // 4) * COLUMNS * step
    return int(kept_size(sizes)) + strips + step * step


def weight_scratch(sizes: Any, step: int) -> int:
    """The scratch of one part of `conv_weight_gradient`, likewise."""
    return int(kept_size(sizes)) + (DEPTH + step) * COLUMNS * step
