"""The 1x1 convolution at stride 1: a tile is ROWS filters x COLUMNS vectors of pixels.

The pixels of all images are numbered through, n * pixels + p, so that no vector is left half empty at an image's end.
"""

from .jit import kernel
from .simd import lanes, load, prefetch, splat, store
from .threads import Launcher
from .tile import REGISTERS, clamped, floored, outer, spaced, store_tile, zeros

ROWS, COLUMNS = (8, 3) if REGISTERS == 32 else (4, 3)  # powers of two, as numbers of filters often are


@kernel
def gather_pixels(x, first, count, channels, pixels, block):
    """block[c, j] = x[n, c, p] of the pixels n * pixels + p from `first` on."""
    width, done = COLUMNS * lanes(x), 0
    while done < count:
        n, p = (first + done) // pixels, (first + done) % pixels
        some, at = min(count - done, pixels - p), n * channels * pixels + p
        if some == width:
            for c in range(channels):
                for j in range(0, width, lanes(x)):
                    store(load(x, at + c * pixels + j), block, c * width + j)
        else:
            for c in range(channels):
                for j in range(some):
                    block[c * width + done + j] = x[at + c * pixels + j]
        done += some


@kernel
def scatter_pixels(corner, y, first, count, filters, k, present, pixels):
    """y[n, k + i, p] = corner[i, j] for i < present, of the pixels n * pixels + p from `first` on."""
    width, done = COLUMNS * lanes(y), 0
    while done < count:
        n, p = (first + done) // pixels, (first + done) % pixels
        some, at = min(count - done, pixels - p), (n * filters + k) * pixels + p
        for i in range(present):
            for j in range(some):
                y[at + i * pixels + j] = corner[i * width + done + j]
        done += some


@kernel
def pointwise_range(start, stop, part, x, w, row, column, bias, samples, channels, filters, pixels, floor, y, scratch):
    step, width = lanes(x), COLUMNS * lanes(x)
    ones, own = scratch[part][:step], scratch[part][step:]
    block, corner = own[: channels * width], own[channels * width :]
    places = spaced(0, step, COLUMNS)
    store(splat(x, x.dtype.type(1)), ones, 0)
    fetched = (channels * ROWS + filters - 1) // filters  # channels of the next item for each tile of this one
    for item in range(start, stop):
        first = item * width
        count = min(width, samples * pixels - first)
        gather_pixels(x, first, count, channels, pixels, block)
        n, p = first // pixels, first % pixels
        following = (first + width) // pixels * channels * pixels + (first + width) % pixels
        for k in range(0, filters, ROWS):
            present = min(ROWS, filters - k)
            if item + 1 < stop:
                for c in range(k // ROWS * fetched, min(channels, (k // ROWS + 1) * fetched)):
                    for j in range(0, width, step):
                        prefetch(x, following + c * pixels + j)
            tile = outer(zeros(x, ROWS, COLUMNS), bias, spaced(k, 1, ROWS), 0, ones, spaced(0, 0, COLUMNS), 0)
            rows = clamped(k * row, row, (filters - 1) * row, ROWS)
            for c in range(channels):
                tile = outer(tile, w, rows, c * column, block, places, c * width)
            tile = floored(tile, floor)
            if p + width <= pixels and present == ROWS:
                store_tile(tile, y, spaced((n * filters + k) * pixels + p, pixels, ROWS), places)
            else:
                store_tile(tile, corner, spaced(0, width, ROWS), places)
                scatter_pixels(corner, y, first, count, filters, k, present, pixels)


pointwise_forward = Launcher(pointwise_range, flushes=True)
"""y[n, k, p] = max(bias[k] + sum over c of w[k * row + c * column] x[n, c, p], floor); bias is whole tiles long.

Items are COLUMNS vectors of pixels.
"""


def pointwise_scratch(channels: int, step: int) -> int:
    """The scratch of one part of `pointwise_forward`, in values, for vectors of `step` of them."""
    return ((channels + ROWS) * COLUMNS + 1) * step
