"""Convolution over images, for few filters: a tile is a few filters x a few pixels, an image in each lane of a vector.

The tables and `sizes` are those of conv.py; `taps`, `pixels`, `places` (there `rows`) and `where` (each pixel of an
image in its padding) are multiplied by the lanes. Filters come in panels (groups, panels, taps, rows). Items are as
many images as a vector has lanes, times groups.
"""

from typing import Any

from .conv import STRIP, pool_strip, seen_taps, strip_to_bytes, strip_to_planes
from .jit import kernel
from .reduce import CHUNK
from .simd import lane_sum, lanes, load, splat, store
from .threads import Launcher
from .tile import REGISTERS, clamped, floored, lanewise, listed, outer, spaced, store_tile, transpose_to, zeros

ROWS, COLUMNS = (6, 4) if REGISTERS == 32 else (6, 2)
FEW_ROWS, FEW_COLUMNS = 3, 3  # of a tile for up to so many filters
SINGLE_COLUMNS = 8  # of a tile of one filter, which is all that a group of a depthwise convolution has


@kernel
def to_lanes(x, first, row, present, pixels, where, lanes_of, start):
    """lanes_of[start + where[p] + r] = x[first + r * row + p] for r < present; what lies beside it stays."""
    step = lanes(x)
    if present == step and pixels >= step:
        for p in range(0, pixels, step):
            p = min(p, pixels - step)
            transpose_to(x, first + p, row, lanes_of, start, where, p)
        return
    for r in range(present):
        for p in range(pixels):
            lanes_of[start + where[p] + r] = x[first + r * row + p]


def image_tiles(rows, columns):
    @kernel(inline=True)
    def multiply(source, pixels, taps, reach, first, last, panels, at, bias, channel, ones, floor, strip, row, places):
        weights = spaced(0, 1, rows)
        for q in range(first, last, columns):
            starts, seen = listed(pixels, q, columns), seen_taps(reach, q, columns)
            tile = outer(zeros(source, rows, columns), bias, weights, channel, ones, spaced(0, 0, columns), 0)
            for t in range(seen[0], seen[1]):
                tile = outer(tile, panels, weights, at + t * rows, source, starts, taps[t])
            store_tile(floored(tile, floor), strip, spaced(0, row, rows), listed(places, q, columns))

    return multiply


whole_tiles, few_tiles = image_tiles(ROWS, COLUMNS), image_tiles(FEW_ROWS, FEW_COLUMNS)
single_tiles = image_tiles(1, SINGLE_COLUMNS)


def tile_for(filters: int) -> tuple[int, int]:
    """The filters of a tile, which are those of a panel, and its pixels."""
    return (1, SINGLE_COLUMNS) if filters == 1 else (FEW_ROWS, FEW_COLUMNS) if filters <= FEW_ROWS else (ROWS, COLUMNS)


@kernel
def correlate_range(
    start,
    stop,
    part,
    x,
    panels,
    bias,
    taps,
    pixels,
    reach,
    places,
    strips,
    where,
    sizes,
    samples,
    rows,
    floor,
    y,
    codes,
    scratch,
):
    groups, channels, filters, terms, outputs, plane = sizes[0], sizes[1], sizes[2], sizes[9], sizes[10], sizes[11]
    step, image, padded = lanes(x), sizes[3] * sizes[4], sizes[5] * sizes[6] * lanes(x)
    per_group, row = (filters + rows - 1) // rows, (STRIP + step) * step
    own = scratch[part]
    source, own = own[: channels * padded], own[channels * padded :]
    strip, own = own[: rows * row], own[rows * row :]
    choices, own = own[: STRIP // 4 * step], own[STRIP // 4 * step :]
    ones, corner = own[:step], own[step:]
    pooled = codes.size > 0
    source[:] = 0
    store(splat(x, x.dtype.type(1)), ones, 0)
    for item in range(start, stop):
        n, g = item // groups * step, item % groups
        present = min(step, samples - n)
        for c in range(channels):
            first = ((n * groups + g) * channels + c) * image
            to_lanes(x, first, groups * channels * image, present, image, where, source, c * padded)
        for panel in range(per_group):
            channel = (g * per_group + panel) * rows
            at = channel * terms
            for p in range(0, outputs, STRIP):
                count = min(STRIP, outputs - p)
                q, end = strips[p // STRIP], strips[p // STRIP + 1]
                if rows == ROWS:
                    whole_tiles(
                        source, pixels, taps, reach, q, end, panels, at, bias, channel, ones, floor, strip, row, places
                    )
                elif rows == FEW_ROWS:
                    few_tiles(
                        source, pixels, taps, reach, q, end, panels, at, bias, channel, ones, floor, strip, row, places
                    )
                else:
                    single_tiles(
                        source, pixels, taps, reach, q, end, panels, at, bias, channel, ones, floor, strip, row, places
                    )
                for k in range(min(rows, filters - panel * rows)):
                    # Of a strip the images are the columns: what conv.py calls a filter is here an image.
                    results, whole = strip[k * row : (k + 1) * row], groups * filters * plane
                    target = ((n * groups + g) * filters + panel * rows + k) * plane
                    if pooled:
                        pool_strip(results, step, count // 4, choices)
                        strip_to_planes(results, step, count // 4, present, y, target + p // 4, whole, corner)
                        strip_to_bytes(choices, step, count // 4, present, codes, target + p // 4, whole, corner)
                    else:
                        strip_to_planes(results, step, count, present, y, target + p, whole, corner)


correlate_images = Launcher(correlate_range, flushes=True)
"""As conv.correlate."""


@kernel(inline=True)
def dot_tile(dy, filters, source, cells, pixels, outputs):
    """The dot products of ROWS filters' gradients with what COLUMNS taps see, in each lane."""
    tile = zeros(dy, ROWS, COLUMNS)
    for p in range(outputs):
        tile = lanewise(tile, dy, filters, p * lanes(dy), source, cells, pixels[p])
    return tile


@kernel
def weight_gradient_range(start, stop, part, dy, x, taps, pixels, where, dy_where, sizes, samples, partial, scratch):
    groups, channels, filters, terms, outputs = sizes[0], sizes[1], sizes[2], sizes[9], sizes[10]
    step, image, padded = lanes(x), sizes[3] * sizes[4], sizes[5] * sizes[6] * lanes(x)
    together = max(step, CHUNK)
    own = scratch[part]
    source, own = own[: channels * padded], own[channels * padded :]
    turned, sums = own[: filters * outputs * step], own[filters * outputs * step :]
    source[:] = 0
    for item in range(start, stop):
        block, g = item // groups, item % groups
        target = partial[block, g * filters * terms : (g + 1) * filters * terms]
        target[:] = 0
        for n in range(block * together, min(samples, (block + 1) * together), step):
            present = min(step, samples - n)
            if present < step:
                source[:] = 0  # or lanes without an image would hold the one before
                turned[:] = 0
            for c in range(channels):
                first = ((n * groups + g) * channels + c) * image
                to_lanes(x, first, groups * channels * image, present, image, where, source, c * padded)
            for k in range(filters):
                first = ((n * groups + g) * filters + k) * outputs
                to_lanes(dy, first, groups * filters * outputs, present, outputs, dy_where, turned, k * outputs * step)
            for k in range(0, filters, ROWS):
                rows = clamped(k * outputs * step, outputs * step, (filters - 1) * outputs * step, ROWS)
                for t in range(0, terms, COLUMNS):
                    tile = dot_tile(turned, rows, source, listed(taps, t, COLUMNS), pixels, outputs)
                    store_tile(tile, sums, spaced(0, COLUMNS * step, ROWS), spaced(0, step, COLUMNS))
                    for i in range(min(ROWS, filters - k)):
                        for j in range(min(COLUMNS, terms - t)):
                            target[(k + i) * terms + t + j] += lane_sum(load(sums, (i * COLUMNS + j) * step))


image_weight_gradient = Launcher(weight_gradient_range, flushes=True)
"""partial (blocks of images, groups * filters * taps): dw of each chunk, or of as many as a vector's lanes hold."""


def correlate_scratch(sizes: Any, rows: int, step: int) -> int:
    """The scratch of one part of `correlate_images`, in values, for vectors of `step` of them."""
    strips = rows * (STRIP + step) + STRIP // 4 + 1
    return (int(sizes[1] * sizes[5] * sizes[6]) + strips + step) * step


def weight_scratch(sizes: Any, step: int) -> int:
    """The scratch of one part of `image_weight_gradient`, likewise."""
    return (int(sizes[1] * sizes[5] * sizes[6] + sizes[2] * sizes[10]) + ROWS * COLUMNS) * step
