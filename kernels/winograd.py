"""3x3 convolution at stride 1 by Winograd's F(4x4, 3x3): a quarter of the multiplications.

The output is cut into tiles of 4 x 4, each of which sees 6 x 6 of the input. Every tile is transformed, at each of the
36 places of the transform its channels are multiplied with the filters, and the products are transformed back. Images
are held in blocks of as many channels as a vector has lanes, one vector per pixel, so that a transform is arithmetic on
vectors. `sizes` is told in `TileSizes`.
"""

from typing import Any, NamedTuple

from .conv import pool_strip, strip_to_bytes, strip_to_planes
from .images import to_lanes
from .jit import kernel
from .reduce import CHUNK
from .simd import lanes, load, splat, store, where_at_most
from .threads import Launcher
from .tile import COLUMNS, ROWS, load_tile, outer, spaced, store_tile, zeros
from .transforms import filter_gradient_lines, filter_lines, gradient_lines, input_lines, output_lines

PLACES = 36  # of a transform
# Tiles at a time: what they are transformed to stays in a core's second cache.
BLOCK = 8 * ROWS if ROWS < 8 else 4 * ROWS
LINE = 16  # values by which places are parted beyond their size: powers of two apart, they would share a cache's sets


class TileSizes(NamedTuple):
    """The numbers a kernel gets, as an array in this order."""

    samples: int
    channels: int
    filters: int
    height: int  # of the input
    width: int
    out_height: int
    out_width: int
    down: int  # tiles in a column
    across: int  # tiles in a row
    rows: int  # of tiles that are computed at a time


@kernel
def whole(count, step):
    """`count` rounded up to a multiple of `step`."""
    return (count + step - 1) // step * step


@kernel
def to_blocks(x, first, channels, pixels, where, size, blocks):
    """An image's channels side by side, `lanes` of them in a block of `size`; what lies beside it stays."""
    step = lanes(x)
    for c in range(0, channels, step):
        to_lanes(x, first + c * pixels, pixels, min(step, channels - c), pixels, where, blocks, c // step * size)


def product_tile(columns):
    @kernel(inline=True)
    def multiply(v, starts, channels, u, at, width, m, rows):
        places = spaced(0, lanes(v), columns)
        tile = zeros(v, ROWS, columns)
        for c in range(channels):
            tile = outer(tile, v, starts, c, u, places, at + c * width)
        store_tile(tile, m, rows, places)

    return multiply


narrow_product, wide_product = product_tile(1), product_tile(COLUMNS)


@kernel
def filters_range(start, stop, part, panels, channels, u, scratch):
    width = COLUMNS * lanes(panels)
    own = scratch[part]
    for item in range(start, stop):
        panel, c = item // channels, item % channels
        source, target = (panel * 9 * channels + 3 * c) * width, (panel * PLACES * channels + c) * width
        place = channels * width
        for at in range(0, width, lanes(panels)):
            filter_lines(panels, source + at, 3 * place, width, 3, own, 0, 3 * lanes(panels), lanes(panels))
            filter_lines(own, 0, lanes(panels), 3 * lanes(panels), 6, u, target + at, place, 6 * place)


transform_filters = Launcher(filters_range, flushes=True)
"""u (panels, 36, C, width) from panels (panels, 3, C, 3, width). Items are panels times channels."""


@kernel
def transform_inputs(blocks, size, base, pitch, channels, v, at, place, square):
    """A tile of every block of channels, seen from `base`, to its 36 places in v."""
    step = lanes(v)
    for c in range(0, channels, step):
        source = c // step * size + base
        input_lines(blocks, source, pitch * step, step, 6, square, 0, 6 * step, step)
        input_lines(square, 0, step, 6 * step, 6, v, at + c, place, 6 * place)


@kernel
def transform_gradients(blocks, size, base, pitch, filters, d, at, place, square):
    """A tile of dy, 4 x 4, to its 36 places in d."""
    step = lanes(d)
    for k in range(0, filters, step):
        source = k // step * size + base
        gradient_lines(blocks, source, pitch * step, step, 4, square, 0, 4 * step, step)
        gradient_lines(square, 0, step, 4 * step, 6, d, at + k, place, 6 * place)


@kernel(inline=True)
def finish_tile(m, at, place, shift, least, square, strip, tile, across, columns, pooled):
    """The products of one tile to its 4 x 4 outputs, in a strip of four rows of outputs, or of their windows."""
    step = lanes(m)
    output_lines(m, at, 6 * place, place, 6, square, 0, 6 * step, step)
    output_lines(square, 0, step, 6 * step, 4, square, 24 * step, step, 4 * step)
    for i in range(4):
        for j in range(columns):
            value = load(square, (24 + 4 * i + j) * step) + shift
            plain = i * across + 4 * tile + j
            window = 4 * (i // 2 * across + 2 * tile + j // 2) + i % 2 * 2 + j % 2
            store(where_at_most(value, least, least, value), strip, (window if pooled else plain) * step)


@kernel
def forward_range(start, stop, part, x, u, bias, where, sizes, floor, y, codes, scratch):
    samples, channels, filters = sizes[0], sizes[1], sizes[2]
    out_height, out_width, down, across, rows = sizes[5], sizes[6], sizes[7], sizes[8], sizes[9]
    step, width, pixels, pooled = lanes(x), COLUMNS * lanes(x), sizes[3] * sizes[4], codes.size > 0
    all_channels, all_filters, block = whole(channels, step), whole(filters, width), whole(rows * across, ROWS)
    pitch, size = 4 * across + 2, (4 * down + 2) * (4 * across + 2) * step
    v_place, m_place = block * all_channels + LINE, block * all_filters + LINE
    own = scratch[part]
    blocks, own = own[: all_channels // step * size], own[all_channels // step * size :]
    v, own = own[: PLACES * v_place], own[PLACES * v_place :]
    m, own = own[: PLACES * m_place], own[PLACES * m_place :]
    square, own = own[: 40 * step], own[40 * step :]
    strip, own = own[: 16 * across * step], own[16 * across * step :]
    choices, corner = own[: 4 * across * step], own[4 * across * step :]
    blocks[:] = 0
    held = -1
    scale = 2 if pooled else 1
    high, wide, side = out_height // scale, out_width // scale, 4 // scale
    for item in range(start, stop):
        first, last = item * rows, min((item + 1) * rows, samples * down)
        count = (last - first) * across
        for t in range(count):
            n, i, j = (first + t // across) // down, (first + t // across) % down, t % across
            if n != held:
                to_blocks(x, n * channels * pixels, channels, pixels, where, size, blocks)
                held = n
            base = (4 * i * pitch + 4 * j) * step
            transform_inputs(blocks, size, base, pitch, channels, v, t * all_channels, v_place, square)
        for panel in range(all_filters // width):
            for place in range(PLACES):
                at = (panel * PLACES + place) * channels * width
                for t in range(0, count, ROWS):
                    starts = spaced(place * v_place + t * all_channels, all_channels, ROWS)
                    targets = spaced(place * m_place + t * all_filters + panel * width, all_filters, ROWS)
                    if filters - panel * width <= step:
                        narrow_product(v, starts, channels, u, at, width, m, targets)
                    else:
                        wide_product(v, starts, channels, u, at, width, m, targets)
        for row in range(first, last):
            n, i = row // down, row % down
            results = min(side, high - side * i) * wide
            for k in range(0, filters, step):
                shift, least = load(bias, k), splat(m, floor)
                for j in range(across):
                    at, columns = ((row - first) * across + j) * all_filters + k, min(4, scale * wide - 4 * j)
                    finish_tile(m, at, m_place, shift, least, square, strip, j, wide, columns, pooled)
                present, target = min(step, filters - k), (n * filters + k) * high * wide + side * i * wide
                if pooled:
                    pool_strip(strip, step, results, choices)
                    strip_to_bytes(choices, step, results, present, codes, target, high * wide, corner)
                strip_to_planes(strip, step, results, present, y, target, high * wide, corner)


winograd_forward = Launcher(forward_range, flushes=True)
"""y = max(x * w + bias, floor), with w as `u`; with `codes`, the largest of each 2 x 2 and which it was.

Items are rows of tiles, a few at a time, over all images. `where` says where each pixel of an image lies in its block.
"""


def sum_tile(columns):
    @kernel(inline=True)
    def multiply(v, starts, v_step, d, at, d_step, count, sums, rows):
        places = spaced(0, lanes(v), columns)
        tile = load_tile(sums, rows, places)
        for t in range(count):
            tile = outer(tile, v, starts, t * v_step, d, places, at + t * d_step)
        store_tile(tile, sums, rows, places)

    return multiply


narrow_sum, wide_sum = sum_tile(1), sum_tile(COLUMNS)


@kernel
def weight_gradient_range(start, stop, part, dy, x, where, dy_where, sizes, partial, scratch):
    samples, channels, filters = sizes[0], sizes[1], sizes[2]
    down, across, rows = sizes[7], sizes[8], sizes[9]
    step, width, pixels, outputs = lanes(x), COLUMNS * lanes(x), sizes[3] * sizes[4], sizes[5] * sizes[6]
    all_channels, all_filters, summed = whole(channels, step), whole(filters, width), whole(channels, ROWS)
    pitch, size = 4 * across + 2, (4 * down + 2) * (4 * across + 2) * step
    dy_pitch, dy_size = 4 * across, 16 * down * across * step
    block, sum_place = rows * across, summed * width
    v_place, d_place = block * all_channels + LINE, block * all_filters + LINE
    own = scratch[part]
    blocks, own = own[: all_channels // step * size], own[all_channels // step * size :]
    dy_blocks, own = own[: all_filters // step * dy_size], own[all_filters // step * dy_size :]
    v, own = own[: PLACES * v_place], own[PLACES * v_place :]
    d, own = own[: PLACES * d_place], own[PLACES * d_place :]
    sums, square = own[: all_filters * PLACES * summed], own[all_filters * PLACES * summed :]
    blocks[:] = 0
    dy_blocks[:] = 0
    d[:] = 0  # of a last panel that is not full, what lies beyond the last block of filters
    for chunk in range(start, stop):
        sums[:] = 0
        held = -1
        end = min(samples, (chunk + 1) * CHUNK) * down * across
        for origin in range(chunk * CHUNK * down * across, end, block):
            count = min(block, end - origin)
            for t in range(count):
                n, i, j = (origin + t) // (down * across), (origin + t) // across % down, (origin + t) % across
                if n != held:
                    to_blocks(x, n * channels * pixels, channels, pixels, where, size, blocks)
                    to_blocks(dy, n * filters * outputs, filters, outputs, dy_where, dy_size, dy_blocks)
                    held = n
                base, dy_base = (4 * i * pitch + 4 * j) * step, (4 * i * dy_pitch + 4 * j) * step
                transform_inputs(blocks, size, base, pitch, channels, v, t * all_channels, v_place, square)
                transform_gradients(dy_blocks, dy_size, dy_base, dy_pitch, filters, d, t * all_filters, d_place, square)
            for panel in range(all_filters // width):
                for place in range(PLACES):
                    at = place * d_place + panel * width
                    for c in range(0, summed, ROWS):
                        starts = spaced(place * v_place + c, 1, ROWS)
                        targets = spaced(((panel * PLACES + place) * summed + c) * width, width, ROWS)
                        if filters - panel * width <= step:
                            narrow_sum(v, starts, all_channels, d, at, all_filters, count, sums, targets)
                        else:
                            wide_sum(v, starts, all_channels, d, at, all_filters, count, sums, targets)
        for item in range(all_filters // width * channels):
            panel, c = item // channels, item % channels
            source, target = (panel * PLACES * summed + c) * width, (panel * 9 * channels + 3 * c) * width
            dw, line = partial[chunk], 3 * channels * width
            for at in range(0, width, step):
                filter_gradient_lines(sums, source + at, 6 * sum_place, sum_place, 6, square, 0, 6 * step, step)
                filter_gradient_lines(square, 0, step, 6 * step, 3, dw, target + at, width, line)


winograd_weight_gradient = Launcher(weight_gradient_range, flushes=True)
"""partial (chunks, panels, 3, C, 3, width): dw of each chunk of the batch, for tree_sum."""


def forward_scratch(sizes: Any, step: int) -> int:
    """The scratch of one part of `winograd_forward`, in values, for vectors of `step` of them."""
    across, blocks, v, m = _scratch(sizes, step)
    return blocks + v + m + (40 + 20 * across + step) * step


def weight_scratch(sizes: Any, step: int) -> int:
    """The scratch of one part of `winograd_weight_gradient`, likewise."""
    across, blocks, v, d = _scratch(sizes, step)
    filters, summed = _up(sizes[2], COLUMNS * step), _up(sizes[1], ROWS)
    return blocks + filters * 16 * int(sizes[7]) * across + v + d + PLACES * filters * summed + PLACES * step


def _scratch(sizes: Any, step: int) -> tuple[int, ...]:
    down, across, rows = (int(size) for size in sizes[7:])
    channels, filters = _up(sizes[1], step), _up(sizes[2], COLUMNS * step)
    places = (PLACES * (_up(rows * across, ROWS) * count + LINE) for count in (channels, filters))
    return across, channels * (4 * down + 2) * (4 * across + 2), *places


def _up(count: int, step: int) -> int:
    return -(-int(count) // step) * step
