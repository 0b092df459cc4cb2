"""Products of matrices: a tile is ROWS rows of a x COLUMNS vectors of b.

Matrices are flat, with a step from row to row and one from column to column: so a transposed one is read where it is.
Columns of b go through a panel, in which a tile's columns are neighbours. Every sum runs over the inner index in
order, however the work is cut, or over chunks of the batch by the tree of reduce.py. A tile at the lower edge computes
its last row several times and stores it so; one at the right edge stores the columns that are there.
"""

from .edges import load_some, load_some_tile, store_some_tile
from .jit import kernel
from .simd import lanes, load, store
from .threads import Launcher
from .tile import (
    COLUMNS,
    ROWS,
    add_tiles,
    clamped,
    floored,
    load_tile,
    outer,
    spaced,
    store_tile,
    transpose_some,
    zeros,
)  # fmt: skip

DEPTH = 256  # terms at a time: a panel of them stays in a core's first cache
HALF = ROWS // 2  # rows of two tiles that are summed side by side
LEVELS = 32  # of the tree: more than any batch has


@kernel
def pack_panel(b, start, row, column, depth, present, panel):
    """panel[r, j] = b[start + r * row + j * column] for r < depth, j < present; what is beside them is not used."""
    step = lanes(b)
    width = COLUMNS * step
    done = 0
    if column == 1 and present == width:
        for r in range(depth):
            for j in range(0, width, step):
                store(load(b, start + r * row + j), panel, r * width + j)
        done = depth
    elif column == 1:
        for r in range(depth):
            for j in range(0, width, step):
                store(load_some(b, start + r * row + j, present - j), panel, r * width + j)
        done = depth
    elif row == 1:
        done = depth // step * step
        for r in range(0, done, step):
            last = start + r + (present - 1) * column
            for j in range(0, present, step):
                transpose_some(b, start + r + j * column, column, last, panel, r * width + j, width)
    for r in range(done, depth):
        for j in range(present):
            panel[r * width + j] = b[start + r * row + j * column]


@kernel(inline=True)
def multiply_tile(tile, a, rows, a_step, panel, depth):
    columns = spaced(0, lanes(a), COLUMNS)
    for r in range(depth):
        tile = outer(tile, a, rows, r * a_step, panel, columns, r * COLUMNS * lanes(a))
    return tile


@kernel
def matmul_range(start, stop, part, a, b, bias, a_starts, b_starts, sizes, floor, c, scratch):
    rows, inner, columns = sizes[0], sizes[1], sizes[2]
    a_row, a_step, b_row, b_step, chunk = sizes[3], sizes[4], sizes[5], sizes[6], sizes[7]
    step = lanes(a)
    width = COLUMNS * step
    panels, chunks = (columns + width - 1) // width, (rows + chunk - 1) // chunk
    places = spaced(0, step, COLUMNS)
    panel = scratch[part]
    for item in range(start, stop):
        matrix, left = item // (panels * chunks), item // chunks % panels * width
        top = item % chunks * chunk
        bottom, present = min(rows, top + chunk), min(width, columns - left)
        for r in range(0, inner, DEPTH):
            depth = min(DEPTH, inner - r)
            pack_panel(b, b_starts[matrix] + r * b_row + left * b_step, b_row, b_step, depth, present, panel)
            first, target = a_starts[matrix] + r * a_step, matrix * rows * columns + left
            for i in range(top, bottom, ROWS):
                targets = clamped(target + i * columns, columns, target + (bottom - 1) * columns, ROWS)
                if r > 0:
                    if present == width:
                        tile = load_tile(c, targets, places)
                    else:
                        tile = load_some_tile(c, targets, places, present)
                elif bias.size > 0:
                    tile = load_some_tile(bias, spaced(left, 0, ROWS), places, present)
                else:
                    tile = zeros(a, ROWS, COLUMNS)
                starts = clamped(first + i * a_row, a_row, first + (bottom - 1) * a_row, ROWS)
                tile = multiply_tile(tile, a, starts, a_step, panel, depth)
                if r + depth == inner:
                    tile = floored(tile, floor)
                if present == width:
                    store_tile(tile, c, targets, places)
                else:
                    store_some_tile(tile, c, targets, places, present)


matmul_forward = Launcher(matmul_range, flushes=True)
"""c[i] = max(a[i] b[i] + bias, floor). Items are matrices times panels of columns times chunks of rows.

`sizes` is (rows, inner, columns, step from row to row of a, from column to column, the same two of b, rows of a chunk).
`bias` has a value for each column, or none.
"""


@kernel
def pack_rows(a, start, row, height, samples, packed, to):
    """packed[to + n * ROWS + m] = a[start + n * row + m] for m < height, and the last of them again up to ROWS."""
    for n in range(samples):
        source, target = start + n * row, to + n * ROWS
        if height == ROWS:
            for m in range(ROWS):
                packed[target + m] = a[source + m]
        else:
            for m in range(height):
                packed[target + m] = a[source + m]
            for m in range(height, ROWS):
                packed[target + m] = a[source + height - 1]


@kernel(inline=True)
def sum_pair(packed, rows, panel, n, first, second):
    """Of two chunks the sums, added: of `first` samples from n on, and of `second`, no more than those, behind them."""
    step = lanes(panel)
    width, columns = COLUMNS * step, spaced(0, step, COLUMNS)
    one, other = zeros(panel, HALF, COLUMNS), zeros(panel, HALF, COLUMNS)
    for r in range(n, n + second):
        one = outer(one, packed, rows, r * ROWS, panel, columns, r * width)
        other = outer(other, packed, rows, (r + first) * ROWS, panel, columns, (r + first) * width)
    for r in range(n + second, n + first):
        one = outer(one, packed, rows, r * ROWS, panel, columns, r * width)
    return add_tiles(one, other)


@kernel(inline=True)
def sum_samples(packed, rows, panel, samples, chunk, levels):
    """The tree over pairs of chunks, as one counts in binary: two sums of equally many become one of twice that."""
    step = lanes(panel)
    width, columns = COLUMNS * step, spaced(0, step, COLUMNS)
    size, pairs, n = HALF * width, 0, 0
    while n + 2 * chunk < samples:
        tile = sum_pair(packed, rows, panel, n, chunk, chunk)
        level = 0
        while pairs >> level & 1:
            tile = add_tiles(load_tile(levels, spaced(level * size, width, HALF), columns), tile)
            level += 1
        store_tile(tile, levels, spaced(level * size, width, HALF), columns)
        pairs, n = pairs + 1, n + 2 * chunk
    tile = sum_pair(packed, rows, panel, n, min(chunk, samples - n), max(0, samples - n - chunk))
    level = 0
    while pairs >> level:
        if pairs >> level & 1:
            tile = add_tiles(load_tile(levels, spaced(level * size, width, HALF), columns), tile)
        level += 1
    return tile


@kernel
def batch_product_range(start, stop, part, a, b, sizes, c, sums, scratch):
    samples, rows, columns, block, chunk = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    step = lanes(a)
    width = COLUMNS * step
    tiles, panels = (rows + ROWS - 1) // ROWS, (columns + width - 1) // width
    places, depth = spaced(0, step, COLUMNS), samples * ROWS
    own, size = scratch[part], LEVELS * HALF * width
    levels, panel, packed = own[:size], own[size : size + samples * width], own[size + samples * width :]
    held = -1
    for item in range(start, stop):
        if item < tiles * panels:
            first = item // (block * panels) * block
            count = min(block, tiles - first)
            number = item - first * panels
            slot, left = number % count, number // count * width
            i = (first + slot) * ROWS
            height, present = min(ROWS, rows - i), min(width, columns - left)
            if left != held:
                pack_panel(b, left, columns, 1, samples, present, panel)
                held = left
            if item - max(start, first * panels) < count:
                pack_rows(a, i, rows, height, samples, packed, slot * depth)
            target, at = c, i * columns + left
        else:
            left, slot, height = (item - tiles * panels) * width, 0, 1
            present = min(width, rows - left)
            pack_panel(a, left, rows, 1, samples, present, panel)
            packed[:depth] = 1
            target, at = sums, left
        for h in range(0, height, HALF):
            tile = sum_samples(packed, spaced(slot * depth + h, 1, HALF), panel, samples, chunk, levels)
            targets = clamped(at + h * columns, columns, at + (height - 1) * columns, HALF)
            if present == width:
                store_tile(tile, target, targets, places)
            else:
                store_some_tile(tile, target, targets, places, present)


@kernel
def linear_backward_range(
    start, stop, part, parts, counts, dy, x, w, bias, starts, sizes, floor, batch_sizes, dx, dw, db, scratch
):
    for p in range(start, stop):
        first, last = p * counts[0] // parts, (p + 1) * counts[0] // parts
        matmul_range(first, last, part, dy, w, bias, starts, starts, sizes, floor, dx, scratch)
        first, last = p * counts[1] // parts, (p + 1) * counts[1] // parts
        batch_product_range(first, last, part, dy, x, batch_sizes, dw, db, scratch)


linear_backward = Launcher(linear_backward_range, flushes=True)
"""dx = dy w, dw = dy' x and db, the sum of dy: the latter two over the rows of dy (N, K) and x (N, C), by chunks.

Its items are its parts, of `parts`, so that each has its share of every product: of counts[0] items of dx, and of
counts[1] of dw and db, which are tiles of dw, in blocks of rows, then panels of db. Where they are 0 nothing is stored.
`sizes` is that of `matmul_forward` for dx, `batch_sizes` (N, K, C, tiles of a block, rows of a chunk).
"""


def matmul_scratch(step: int) -> int:
    """The scratch of one part of `matmul_forward`, in values, for vectors of `step` of them."""
    return DEPTH * COLUMNS * step


def block_of(samples: int) -> int:
    """How many tiles of dw have rows that are packed at once, to be held by a core's second cache."""
    return max(8, (1 << 15) // (samples * ROWS))


def backward_scratch(samples: int, rows: int, step: int) -> int:
    """The scratch of one part of `linear_backward`, likewise."""
    packed = samples * ROWS * max(1, min(block_of(samples), -(-rows // ROWS)))
    return max(matmul_scratch(step), (LEVELS * HALF + samples) * COLUMNS * step + packed)
